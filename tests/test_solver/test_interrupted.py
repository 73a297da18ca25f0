"""Runs that are killed or sent a signal: what they leave, and that they resume with the same bits."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from demitasse.proto.weights import read_weights
from tests.test_solver import small

KILLED = """
import os, signal
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
solver = Solver("solver.prototxt", device="generic", log=Silent())
solver.callbacks.append((lambda: solver.iter == 13 and os.kill(os.getpid(), signal.SIGKILL), lambda: None))
solver.solve()
"""


def shuffled(folder):
    """A net with every kind of state: shuffled data, drawn data, dropout, running means."""
    h5py = pytest.importorskip("h5py", reason="the data are in HDF5")
    import numpy as np

    rng = np.random.default_rng(5)
    with h5py.File(folder / "data.h5", "w") as file:
        file["rows"], file["label"] = rng.normal(size=(11, 3, 5, 5)), rng.integers(0, 3, 11)
    (folder / "data.txt").write_text("data.h5\n")
    net = (
        small.NET.replace('"data" top: "label"', '"noise" top: "unused"')
        + """
layer { name: "silence" type: "Silence" bottom: "unused" }"""
    )
    data = """
layer { name: "rows" type: "HDF5Data" top: "rows" top: "label"
  hdf5_data_param { source: "data.txt" batch_size: 4 shuffle: true } }
"""
    sum_ = """
layer { name: "sum" type: "Eltwise" bottom: "rows" bottom: "noise" top: "sum" }
layer { name: "norm" type: "BatchNorm" bottom: "sum" top: "data" }
"""
    split = net.index('layer { name: "conv"')
    small.write(
        folder,
        'snapshot: 10 average_loss: 4 type: "Adam"',
        net[:split] + data + sum_ + net[split:],
        small.SOLVER.replace("0.05", "0.01"),
    )


def test_a_run_that_is_killed_goes_on_with_the_same_bits(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    shuffled(tmp_path / "whole")
    shuffled(tmp_path / "killed")
    assert small.run("train", "solver.prototxt", "--device", "generic", cwd=tmp_path / "whole").returncode == 0
    killed = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=killed, env=small.environment(), timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.name for path in killed.glob("*.solverstate")) == ["snap_iter_10.solverstate"]
    assert (
        small.run(
            "train", "solver.prototxt", "--device", "generic", "--snapshot", "snap_iter_10.solverstate", cwd=killed
        ).returncode
        == 0
    )
    for name in ("snap_iter_20.caffemodel", "snap_iter_20.solverstate"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    sides = [json.loads((tmp_path / run / "snap_iter_20.solverstate.json").read_text()) for run in ("whole", "killed")]
    assert sides[0]["losses"] == sides[1]["losses"] and sides[0]["ranks"][0]["net"] == sides[1]["ranks"][0]["net"]


def test_ctrl_c_snapshots_and_stops(tmp_path):
    small.write(tmp_path, "display: 1", base=small.SOLVER.replace("max_iter: 20", "max_iter: 100000000"))
    process = subprocess.Popen(
        small.command("train", "solver.prototxt", "--device", "generic"),
        cwd=tmp_path,
        env=small.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        for line in process.stderr:
            if "Iteration 3, lr" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Optimization stopped early." in rest
    states = list(tmp_path.glob("*.solverstate"))
    assert len(states) == 1 and read_weights(str(states[0]).replace("solverstate", "caffemodel"))
    iteration = int(re.search(r"iter_(\d+)", states[0].name)[1])
    done = small.run(
        "train", "solver.prototxt", "--device", "generic", "--snapshot", states[0].name, "--iterations", 2, cwd=tmp_path
    )
    assert done.returncode == 0 and (tmp_path / f"snap_iter_{iteration + 2}.caffemodel").exists()


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP is a signal of POSIX systems")
def test_sighup_snapshots_and_goes_on(tmp_path):
    small.write(tmp_path, "display: 1", base=small.SOLVER.replace("max_iter: 20", "max_iter: 100000000"))
    process = subprocess.Popen(
        small.command("train", "solver.prototxt", "--device", "generic"),
        cwd=tmp_path,
        env=small.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        sent = 0
        for line in process.stderr:
            if "Iteration 3, lr" in line:
                process.send_signal(signal.SIGHUP)
            if "Snapshotting solver state" in line:
                sent = int(re.search(r"iter_(\d+)", line)[1])
            if sent and f"Iteration {sent + 3}, lr" in line:
                break
        assert sent and (tmp_path / f"snap_iter_{sent}.solverstate").exists() and process.poll() is None
        process.kill()
        process.communicate(timeout=30)
