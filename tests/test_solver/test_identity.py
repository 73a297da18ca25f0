"""Whose files they are: a run's snapshots and logs are neither mixed with another's nor replaced unasked."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demitasse.models.report import log_of
from demitasse.proto.errors import SolverFault
from demitasse.solver import snapshots
from demitasse.solver.__main__ import main
from demitasse.solver.identity import new_run, run_of_log, run_of_snapshot
from demitasse.solver.log import Log
from demitasse.solver.solver import Solver
from tests.test_solver import small


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def build(fields="", **options):
        return Solver(small.write(tmp_path, fields), device="generic", log=small.Lines(), **options)

    return build


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """train(words...) -> (exit status, the last line on stderr), of five iterations with a snapshot each two."""
    monkeypatch.chdir(tmp_path)
    small.write(tmp_path, "snapshot: 2 snapshot_after_train: false", base=small.SOLVER.replace("20", "5"))

    def run(*words):
        return main(["train", "solver.prototxt", "--device", "generic", *words]), capsys.readouterr().err.splitlines()

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def events(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_run_tells_its_identity_everywhere(train):
    status, lines = train("--log", "run.jsonl")
    run = run_of_log("run.jsonl")
    assert status == 0 and f"This is {run}" in "\n".join(lines)
    assert run_of_snapshot("snap_iter_4.solverstate") == run_of_snapshot("snap_iter_2.caffemodel") == run
    assert re.fullmatch("[0-9a-f]{8}", run.id) and events("run.jsonl")[0]["event"] == "run"
    assert run_of_snapshot("net.prototxt") is None and run_of_snapshot("none.caffemodel") is None


def test_a_second_run_of_the_same_prefix_is_refused_and_changes_nothing(train, tmp_path):
    train()
    before = contents(tmp_path)
    status, lines = train()
    run = run_of_snapshot("snap_iter_4.solverstate")
    assert status == 2 and contents(tmp_path) == before
    for words in (
        "solver.prototxt:2:",
        f"snapshot_prefix: snap holds 6 files of {run}, the newest snap_iter_4.solverstate",
        "--snapshot snap_iter_4.solverstate, set another snapshot_prefix, or replace them with --overwrite",
    ):
        assert words in lines[-1]


def test_a_run_that_writes_only_when_asked_is_refused_too(train, make, tmp_path):
    """Ctrl-C asks for a snapshot: that it would be refused is no news for the end of a run."""
    train()
    with pytest.raises(SolverFault, match="snapshot_prefix: snap holds 6 files of run"):
        make("snapshot_after_train: false", existing="refuse", requests=lambda: 0).solve(1)
    make("snapshot_after_train: false", existing="refuse").solve(1)  # a script that asks for none


def test_with_overwrite_the_earlier_runs_files_go_when_there_is_a_snapshot(train, make, tmp_path):
    train("--log", "run.jsonl")
    old = run_of_log("run.jsonl")
    solver = make("snapshot: 3", existing="replace")
    solver.step(2)
    assert sorted(path.name for path in tmp_path.glob("*.solverstate")) == [
        "snap_iter_2.solverstate",
        "snap_iter_4.solverstate",
    ]
    solver.step(2)
    assert sorted(path.name for path in tmp_path.glob("snap_*")) == [
        "snap_iter_3.caffemodel",
        "snap_iter_3.solverstate",
        "snap_iter_3.solverstate.json",
    ]
    small.write(tmp_path, base=small.SOLVER.replace("20", "5"))
    status, _ = train("--overwrite", "--log", "run.jsonl")
    assert status == 0 and run_of_log("run.jsonl").id not in (old.id, solver.run.id)
    assert [event["event"] for event in events("run.jsonl")].count("run") == 1
    assert sorted(path.name for path in tmp_path.glob("*.solverstate")) == ["snap_iter_5.solverstate"]


def test_who_resumes_goes_on_as_the_same_run(train):
    train("--log", "run.jsonl", "--iterations", "3")
    status, _ = train("--log", "run.jsonl", "--snapshot", "snap_iter_2.solverstate")
    assert status == 0 and run_of_snapshot("snap_iter_4.solverstate") == run_of_snapshot("snap_iter_2.solverstate")
    begun = [event for event in events("run.jsonl") if event["event"] == "run"]
    assert [event["iteration"] for event in begun] == [0, 2] and begun[0]["run"] == begun[1]["run"]


def test_a_log_of_another_run_is_refused(train, tmp_path):
    train("--log", "run.jsonl")
    log = (tmp_path / "run.jsonl").read_bytes()
    for path in tmp_path.glob("snap_*"):
        path.unlink()
    status, lines = train("--log", "run.jsonl")
    assert status == 2 and f"the log run.jsonl holds the events of {run_of_log('run.jsonl')}: give an" in lines[-1]
    assert (tmp_path / "run.jsonl").read_bytes() == log and not list(tmp_path.glob("snap_*"))
    (tmp_path / "run.jsonl").write_text('{"event": "train", "iteration": 0, "loss": 1}\n')  # of an older version
    status, lines = train("--log", "run.jsonl")
    assert status == 2 and "events of a run that left no identity in it" in lines[-1]


@pytest.mark.parametrize("text", ["not a log\n", '{"an": "object"}\n', "[" * 100000])
def test_a_file_that_is_no_log_stays_whatever_is_asked(train, tmp_path, text):
    (tmp_path / "notes.txt").write_text(text)
    status, lines = train("--log", "notes.txt", "--overwrite")
    assert status == 2 and "notes.txt is a file of another kind, and stays as it is" in lines[-1]
    assert (tmp_path / "notes.txt").read_text() == text


def test_a_log_may_be_a_device():
    log, run = Log(io.StringIO(), jsonl="/dev/null"), new_run()
    log.begin(run, {run.id}, False, 0)
    log.close()


def test_files_without_an_identity_are_of_whom_resumes_them(make, tmp_path):
    """Caffe's snapshots have none, nor have those of old, nor weights whose side file is gone."""
    solver = make()
    solver.step(1)
    solver.snapshot()
    (tmp_path / "snap_iter_1.solverstate.json").unlink()
    with pytest.raises(SolverFault, match="2 files of a run that left no identity"):
        make("snapshot: 5").step(1)
    resumed = make("snapshot: 2", snapshot="snap_iter_1.solverstate")
    resumed.step(1)
    assert run_of_snapshot("snap_iter_2.solverstate") == resumed.run
    again = make("snapshot: 2", snapshot="snap_iter_2.solverstate")
    again.step(2)
    assert run_of_snapshot("snap_iter_4.solverstate") == resumed.run


def test_a_script_of_pycaffe_is_told_and_goes_on_as_in_caffe(make, monkeypatch):
    make("snapshot: 2").step(2)
    solver = make("snapshot: 2", existing="warn")
    solver.step(2)
    assert (
        "snap holds 3 files of run " in solver.log.warnings[0]
        and run_of_snapshot("snap_iter_2.caffemodel") == solver.run
    )


def test_other_names_in_the_folder_are_nobodys_business(make, tmp_path):
    for name in ("snap2_iter_1.caffemodel", "snap_iter_x.solverstate", "snap_iter_1.solverstate.bak", "snap_iter_1"):
        (tmp_path / name).write_text("")
    make("snapshot: 1").step(1)
    assert (tmp_path / "snap_iter_1.solverstate").exists()


def test_a_snapshot_that_fails_leaves_no_part_of_itself(make, tmp_path, monkeypatch):
    solver = make("snapshot: 2")
    solver.step(2)
    before = contents(tmp_path)

    def full(path, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "write_state", full)
    solver.step(2)
    assert contents(tmp_path) == before and "no snapshot at iteration 4" in solver.log.warnings[-1]


IN_A_SNAPSHOT = """
import os, signal
from demitasse.solver import snapshots
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
whole = snapshots.write_state
def write(path, state):
    if state.iter == 4:
        open(f".snap_iter_4.solverstate.{os.getpid()}.tmp", "w").write("half")
        os.kill(os.getpid(), signal.SIGNUMBER)
    whole(path, state)
snapshots.write_state = write
Solver("solver.prototxt", device="generic", log=Silent()).solve()
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX systems")
def test_a_run_killed_in_the_middle_of_a_snapshot_loses_nothing(train, tmp_path):
    code = IN_A_SNAPSHOT.replace("SIGNUMBER", "SIGKILL")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=small.environment(), timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("snap*.solverstate")] == ["snap_iter_2.solverstate"]
    status, lines = train()
    assert status == 2 and "--snapshot snap_iter_2.solverstate" in lines[-1]
    status, _ = train("--snapshot", "snap_iter_2.solverstate")
    assert status == 0 and (tmp_path / "snap_iter_4.solverstate").exists() and not list(tmp_path.glob(".snap*.tmp"))


def test_ctrl_c_in_the_middle_of_a_snapshot_lets_it_be_completed(tmp_path):
    small.write(tmp_path, "snapshot: 2", base=small.SOLVER.replace("20", "9"))
    code = IN_A_SNAPSHOT.replace("SIGNUMBER", "SIGINT").replace("log=Silent()", "log=Silent(), requests=signals")
    code = code.replace("Solver(", "from demitasse.solver.signals import Signals\nwith Signals() as signals: Solver(")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=small.environment(), timeout=60)
    assert done.returncode == 0
    states = sorted(path.name for path in tmp_path.glob("snap*.solverstate"))
    assert states == ["snap_iter_2.solverstate", "snap_iter_4.solverstate", "snap_iter_5.solverstate"]


def test_a_report_shows_no_curve_of_another_run_than_the_weights(train, capsys):
    train("--log", "run.jsonl")
    whose = run_of_snapshot("snap_iter_4.caffemodel")
    assert len(log_of("snap_iter_4.caffemodel", Path("run.jsonl")).events) == len(events("run.jsonl"))
    train("--overwrite", "--log", "other.jsonl")
    assert log_of("snap_iter_4.caffemodel", Path("run.jsonl")).events == []
    err = capsys.readouterr().err
    assert f"the page has no curve: run.jsonl is of {whose}, but snap_iter_4.caffemodel of run " in err
    assert log_of("none.caffemodel", Path("none.jsonl")).events == []  # no log is no mistake
    Path("old.jsonl").write_text('{"event": "train", "iteration": 0, "loss": 1}\n')
    assert len(log_of("none.caffemodel", Path("old.jsonl")).events) == 1  # neither tells: of an older version
