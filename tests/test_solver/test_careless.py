"""Runs started without care: the same prefix, a copied folder, the same log.  Nothing is lost, and each is known."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demitasse.solver.__main__ import main
from demitasse.solver.identity import run_of_log, run_of_snapshot
from tests.test_solver import small

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX systems")
FIELDS = "snapshot: 3 test_iter: 1 test_interval: 2 test_initialization: false display: 1"


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """train(words...) -> (exit status, the last line on stderr) of nine iterations, in an empty folder a/."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    small.write(tmp_path / "a", FIELDS, base=small.SOLVER.replace("20", "9"))

    def run(*words):
        status = main(["train", "solver.prototxt", "--device", "generic", *words])
        return status, capsys.readouterr().err.splitlines()[-1]

    return run


def contents(folder="."):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_copied_folder_is_refused_until_it_is_said_what_is_meant(train, tmp_path, monkeypatch):
    train("--log", "log.jsonl")
    original = contents()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    status, line = train("--log", "log.jsonl", "--set", "base_lr=0.01")
    assert status == 2 and "set another snapshot_prefix" in line and contents() == original
    status, line = train("--log", "log.jsonl", "--set", "snapshot_prefix=other")
    assert status == 2 and "the log log.jsonl holds the events of run" in line and contents() == original
    status, _ = train("--log", "second/log.jsonl", "--set", "snapshot_prefix=second/s")
    assert status == 0 and contents(tmp_path / "a") == original
    first, second = run_of_log("log.jsonl"), run_of_log("second/log.jsonl")
    assert first.id != second.id and run_of_snapshot("second/s_iter_9.solverstate") == second
    assert run_of_snapshot("snap_iter_9.solverstate") == first


WAITS = """
import sys
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
solver = Solver("solver.prototxt", device="generic", log=Silent())
solver.step(1)
print(solver.run.id, flush=True)
sys.stdin.read()
"""


def test_two_at_the_same_time_do_not_write_over_each_other(train):
    """The second is told before its first iteration, and may begin as soon as the first has ended, killed or not."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=small.environment())
    with subprocess.Popen([sys.executable, "-c", WAITS], **pipes) as first:
        run = first.stdout.readline().strip()
        status, line = train()
        assert status == 2 and f"snap is being written to by run {run}, begun " in line, line
        assert f"(process {first.pid}): wait for its end, or set another snapshot_prefix" in line
        assert train("--set", "snapshot_prefix=other")[0] == 0
        first.send_signal(signal.SIGKILL)
    assert train()[0] == 0 and not Path(".snap.writing").exists()


KILLED = """
import os, signal, sys
from demitasse.solver import snapshots
from demitasse.solver.retention import Keep
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
at, when = int(sys.argv[1]), sys.argv[2]
solver = Solver("solver.prototxt", device="generic", log=Silent(), keep=Keep("loss", last=2, patience=3))
whole = snapshots.write_state
def write(path, state):
    if when == "before its state is there" and state.iter == at:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path, state)
    if when == "after a snapshot" and state.iter == at:
        os.kill(os.getpid(), signal.SIGKILL)
snapshots.write_state = write
if when == "between":
    solver.callbacks.append((lambda: solver.iter == at and os.kill(os.getpid(), signal.SIGKILL), lambda: None))
solver.solve()
"""
KEEP = ("--keep-best", "loss", "--keep-last", "2", "--stop-after", "3", "--log", "log.jsonl")


def trained(folder="."):
    """The snapshots, and the losses that their side files hold, without the runs' names."""
    found = {}
    for path in sorted(Path(folder).glob("*_iter_*")):
        found[path.name] = path.read_bytes()
        if path.suffix == ".json":
            side = json.loads(path.read_text())
            found[path.name] = side["losses"], side["kept"], [(rank["net"], rank["tests"]) for rank in side["ranks"]]
    return found


@pytest.mark.parametrize(
    "at, when", [(8, "between"), (4, "after a snapshot"), (6, "before its state is there")], ids=lambda x: str(x)
)
def test_best_keeping_and_early_stopping_resume_from_kill_9_with_the_same_bits(train, tmp_path, at, when):
    assert train(*KEEP)[0] == 0
    expected = trained()
    for name in expected:
        os.unlink(name)
    os.unlink("log.jsonl")
    done = subprocess.run([sys.executable, "-c", KILLED, str(at), when], env=small.environment(), timeout=60)
    assert done.returncode == -signal.SIGKILL
    status, line = train(*KEEP, "--resume")
    assert status == 0, line
    assert trained() == expected
