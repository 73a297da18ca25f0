"""Step 6: the demo net trains with its loss curve; a run that is killed goes on with the same bits."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.gpu_day.report import Record
from demitasse.layers.backend.options import BackendOptions
from demitasse.models.data import scenes
from demitasse.solver.solver import Solver

MODELS = Path(__file__).resolve().parents[2] / "models"
TRAIN_NET = "fcn8s_train.prototxt"
SCENES, SIZE = 160, (96, 96)
CURVE = 40  # points that are told
KILLED_AT = 5  # iterations: the snapshot that is gone on from; as many follow


def solver(folder: Path, rehearse: bool, exact: bool = False) -> Solver:
    """The demo's solver without its tests, at the demo's rate, on the scenes that lie in the folder."""
    net = f'train_net: "{folder / TRAIN_NET}"'
    if rehearse:
        from benchmarks.gpu_day.rehearsal import TRAINED

        net = f"net_param {{ {TRAINED} }}"
    text = f"""{net}
base_lr: 0.002 lr_policy: "fixed" type: "Adam" momentum: 0.9 momentum2: 0.999 max_iter: 100000 random_seed: 1
display: 0 snapshot_after_train: false snapshot_prefix: "{folder}/demo"
"""
    return Solver(text, device=BackendOptions("gpu", exact=exact))


def _draw(folder: Path) -> dict:
    """A few scenes, and the demo's net that reads them: the demo itself draws ten times as many first."""
    scenes.write(folder / "scenes", SCENES, 1, SIZE)
    text = (MODELS / "demo" / TRAIN_NET).read_text()
    options = f"'voc_dir': '{folder / 'scenes'}', 'train': {SCENES}, 'val': 1, 'split'"
    (folder / TRAIN_NET).write_text(text.replace("\\'split\\'", options).replace("\\'", "'"))
    return {"scenes": SCENES}


def training(record: Record, rehearse: bool) -> None:
    """Same bits first (seconds), then as many iterations as the time allows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {
            "scenes": lambda: _draw(folder),
            "killed and gone on": lambda: _same_bits(folder, rehearse),
            "curve": lambda: _curve(record, folder, rehearse),
        }
        if "scenes" in record.items:  # of a process before this one
            _draw(folder)
        record.attempt(list(kinds)[1 if rehearse else 0 :], lambda kind: kinds[kind]())


def _same_bits(folder: Path, rehearse: bool) -> dict:
    """A process is killed after its snapshot; whether resuming from that gives the bits of an undisturbed run."""
    command = [sys.executable, "-m", "benchmarks.gpu_day.training", str(folder)] + ["--rehearse"] * rehearse
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        state = process.stdout.readline().strip()  # it goes on training until it is killed
        process.kill()
        if not state:
            raise RuntimeError(f"the run to be killed ended first: {process.stderr.read()[-400:]}")
    whole = solver(folder, rehearse, exact=True)
    whole.step(2 * KILLED_AT)
    resumed = solver(folder, rehearse, exact=True)
    resumed.restore(state)
    resumed.step(2 * KILLED_AT - resumed.iter)
    apart = [
        float(np.abs(whole.backend.to_host(a.data) - resumed.backend.to_host(b.data)).max())
        for a, b in zip(whole.net.learnable, resumed.net.learnable, strict=True)
    ]
    found = {"same bits": not any(apart), "largest difference": max(apart), "losses": [whole.net.loss]}
    found["losses"].append(resumed.net.loss)
    for made in (whole, resumed):
        made.close()
    return found


def _curve(record: Record, folder: Path, rehearse: bool) -> dict:
    """Losses (means of stretches) at tf32, and iterations a second."""
    trained = solver(folder, rehearse)
    losses, start = [], time.monotonic()
    while record.left > 0 and len(losses) < (6 if rehearse else 1000):
        trained.step(1)
        losses.append(trained.losses[-1])
    seconds = time.monotonic() - start
    trained.close()
    parts = np.array_split(losses, min(CURVE, len(losses)))
    return {
        "iterations": len(losses),
        "iterations a second": len(losses) / seconds,
        "first and last stretch": [float(parts[0].mean()), float(parts[-1].mean())],
        "losses": [round(float(part.mean()), 4) for part in parts],
    }


def _to_be_killed(folder: Path, rehearse: bool) -> None:
    if rehearse:
        from benchmarks.gpu_day import rehearsal

        rehearsal.pretend()
    run = solver(folder, rehearse, exact=True)
    run.step(KILLED_AT)
    print(run.snapshot(), flush=True)
    run.step(10**6)


if __name__ == "__main__":
    _to_be_killed(Path(sys.argv[1]), "--rehearse" in sys.argv)
