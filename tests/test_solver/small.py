"""A small net on random data, and its solver, written into a folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DATA = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 dim: 5 dim: 5 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
NET = 'name: "small"\n' + DATA + BODY
SOLVER = 'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 20 random_seed: 7 snapshot_prefix: "snap"\n'


def write(folder: Path, fields: str = "", net: str = NET, base: str = SOLVER, which='net: "net.prototxt"') -> str:
    """Write net.prototxt and solver.prototxt (with more fields) there; the solver's path."""
    (folder / "net.prototxt").write_text(net)
    path = folder / "solver.prototxt"
    path.write_text(f"{which}\n{base}{fields}\n")
    return str(path)


def environment() -> dict:
    """For subprocesses: the project importable, no launcher's variables, few threads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PMI_", "OMPI_", "MPI_"))}
    return {**kept, "PYTHONPATH": str(ROOT)}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "solver", *map(str, arguments)]


def run(*arguments, cwd, timeout=60) -> subprocess.CompletedProcess:
    """python -m solver ... in a folder."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout
    )


class Lines:
    """A log that keeps what it is told."""

    records = False
    pictures_wanted = 0

    def __init__(self):
        self.lines, self.warnings, self.points, self.tests, self.heads = [], [], [], [], []

    def begin(self, run, ours, overwrite, iteration):
        pass

    def info(self, text):
        self.lines.append(text)

    detail = info

    def warn(self, text):
        self.warnings.append(text)

    def progress(self, iteration, end, loss, rate):
        pass

    def point(self, iteration, loss, rate, outputs, per_label):
        self.points.append((iteration, loss, rate))

    def test(self, iteration, index, outputs, loss):
        self.tests.append((iteration, index, {output.name: output for output in outputs}, loss))

    def scores(self, iteration, index, head, result, names):
        self.heads.append((iteration, index, head, result, names))

    def event(self, kind, **values):
        pass

    def pictures(self, iteration, index, head, rows):
        pass

    def path_in_events(self, path):
        return path

    def close(self):
        pass
