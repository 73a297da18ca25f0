"""One framework and net in a process of its own: runs once for every line read, and answers with JSON.

A line "layers" has ours tell the time of each layer, which takes a little itself.

A process each: no framework's threads spin beside another's, and its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from benchmarks.nets import net_message
from benchmarks.peers import make_runner


def main(framework: str, name: str, mode: str, threads: str) -> None:
    start = time.perf_counter()
    run = make_runner(framework, net_message(name, mode == "train"), mode == "train", int(threads))
    _answer(ready=time.perf_counter() - start)
    for line in sys.stdin:
        options = {"each_layer": True} if line.strip() == "layers" else {}
        start = time.perf_counter()
        layers = run(**options)
        seconds = time.perf_counter() - start
        _answer(seconds=seconds, peak_mb=_peak_mb(), layers=layers if options else {})


def _peak_mb():
    """The most memory this process has had (getrusage counts what the parent had before it started us)."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _answer(**values):
    print("answer " + json.dumps(values), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
