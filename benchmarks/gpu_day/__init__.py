"""The first minutes on a GPU: python -m benchmarks.gpu_day [--only STEP ...] [--out FOLDER] [--minutes M].

Steps, the most telling first, each in a process of its own that is killed at its limit: environment, layers, nets,
speed, sizes, training, engines, tests, compile, others.  After every item FOLDER/gpu_day.json and gpu_day.md are
rewritten, so that a run cut short has told what it found.  --rehearse runs all of it small, on a pretend device.

report.py    what has been found, on disk        __main__.py   the steps' processes and their limits
checks.py    environment, layers, nets, tests    speed.py      speed, sizes, compile
engines.py   engines                             training.py   training
others.py    others                              rehearsal.py  the pretend device
"""
