"""Best and last snapshots, early stopping, the warning of a rising test loss, --resume."""

import os
import signal
import subprocess

import numpy as np
import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver import identity, testing
from demitasse.solver.log_lines import Output
from demitasse.solver.retention import Keep, metrics_of
from demitasse.solver.solver import Solver
from tests.test_solver import small

TESTS = "test_iter: 1 test_interval: 2 test_initialization: false snapshot: 3"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(keep, fields, **options) -> (solver, its log), in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def build(keep, fields=TESTS, **options):
        log = small.Lines()
        return Solver(small.write(tmp_path, fields), device="generic", log=log, keep=keep, **options), log

    return build


@pytest.fixture
def scripted(monkeypatch):
    """scripted(values): tests give these values of "accuracy", one after the other."""

    def play(*values, losses=None):
        left, loss = list(values), list(losses or values)

        def given(outputs, mean, scores):
            return {"accuracy": (left.pop(0), False), "loss": (loss.pop(0), True)}

        monkeypatch.setattr(testing, "metrics_of", given)

    return play


def states(folder="."):
    return sorted(int(n.split("_")[-1].split(".")[0]) for n in os.listdir(folder) if n.endswith(".solverstate"))


def files():
    return sorted(name for name in os.listdir() if "_iter_" in name)


def test_the_best_and_the_last_stay(make, scripted):
    scripted(0.5, 0.2, 0.7, 0.1, 0.1, 0.3)  # of iterations 2, 4, ... 12
    solver, log = make(Keep("accuracy", last=2))
    solver.solve(12)
    assert states() == [6, 9, 12], "that of 2 was written for being the best, and went when 6 was better"
    assert solver.keeper.summary() == "The best by accuracy (0.7): snap_iter_6.caffemodel"
    assert len(files()) == 9 and solver.keeper.best == {"value": 0.7, "iter": 6, "only": False}
    assert [line for line in log.lines if line.startswith("Best")] == [
        "Best accuracy so far: 0.5, of the snapshot of iteration 2",
        "Best accuracy so far: 0.7, of the snapshot of iteration 6",
    ]


def test_nothing_but_superseded_bests_goes_without_keep_last(make, scripted):
    scripted(0.1, 0.2, 0.3, 0.4, 0.5)
    solver, _ = make(Keep("accuracy"))
    solver.solve(10)
    assert states() == [3, 6, 9, 10]


def test_another_run_s_snapshots_are_never_pruned(make):
    make(Keep())[0].solve(6)
    solver, _ = make(Keep(last=1), TESTS.replace("snapshot: 3", "snapshot: 4"), existing="warn")
    solver.solve(12)
    assert states() == [3, 6, 12]


def test_it_stops_after_tests_without_a_better_one_and_so_does_the_resumed_run(make, scripted):
    scripted(0.5, 0.4, 0.5, float("nan"), 0.9)
    solver, log = make(Keep("accuracy", last=1, patience=3))
    solver.solve()
    assert solver.iter == 8 and not solver.stopped and states() == [2, 8]
    end = "Optimization stopped early: accuracy has not become better in 3 tests; the best is 0.5, of iteration 2"
    assert log.lines[-1] == end
    scripted(0.3)
    again, log = make(Keep("accuracy", last=1, patience=3), snapshot="snap_iter_8.solverstate")
    again.solve()
    assert again.iter == 8 and log.lines[-1] == end and states() == [2, 8]


def test_a_resumed_run_keeps_the_same_and_has_the_same_bits(make):
    keep = Keep("loss", last=2, patience=50)
    whole, _ = make(keep)
    whole.solve()
    expected = files(), whole.keeper.state(), [whole.backend.to_host(p.data).copy() for p in whole.net.learnable]
    for name in files():
        os.unlink(name)
    cut, _ = make(keep)
    cut.step(14)  # tests at 2 to 12, snapshots at 3 to 12; what came after the last one is lost
    resumed, _ = make(keep, snapshot=identity.newest_whole("snap"))
    assert resumed.iter == 12
    resumed.solve()
    assert (files(), resumed.keeper.state()) == expected[:2]
    for param, bits in zip(resumed.net.learnable, expected[2], strict=True):
        np.testing.assert_array_equal(resumed.backend.to_host(param.data), bits)


def test_a_snapshot_of_the_best_holds_the_state_before_its_test(make):
    solver, _ = make(Keep("loss"), TESTS.replace("snapshot: 3", ""))
    solver.step(3)
    resumed, _ = make(Keep("loss"), TESTS.replace("snapshot: 3", ""), snapshot="snap_iter_2.solverstate")
    resumed.step(1)
    assert resumed.keeper.state() == solver.keeper.state()
    assert resumed.test_nets[0].state() == solver.test_nets[0].state()


def test_a_test_loss_that_rises_while_the_training_loss_falls_is_told_once(make, scripted):
    scripted(1, 1, 1, 1, 1, losses=[1.0, 1.1, 1.2, 1.3, 1.4])
    solver, log = make(Keep())
    falling = iter(np.linspace(2, 1, 40))
    solver._gradients = lambda: float(next(falling))
    solver.step(11)
    told = [line for line in log.warnings if "the test loss rises" in line]
    assert len(told) == 1 and "(1 to 1.1 to 1.2)" in told[0] and "--stop-after" in told[0]


@pytest.mark.parametrize(
    "keep, fields, said",
    [
        (Keep("acuracy"), TESTS, "--keep-best acuracy: the tests give accuracy, loss (did you mean 'accuracy'?)"),
        (Keep("loss"), "", "--keep-best loss: the solver has no test net"),
        (Keep(patience=3), TESTS, "--stop-after 3 needs a metric to look at: give --keep-best METRIC"),
    ],
)
def test_what_no_test_gives(make, keep, fields, said):
    with pytest.raises(SolverFault) as fault:
        make(keep, fields)
    assert said in str(fault.value)


def test_metrics_have_a_direction():
    outputs = [Output("accuracy", np.array(0.5)), Output("l", np.array([2.0]), 1.0), Output("map", np.zeros((3, 3)))]
    assert metrics_of(outputs, 3.0, {}) == {"accuracy": (0.5, False), "l": (2.0, True), "loss": (3.0, True)}


# -- --resume and Ctrl-C -----------------------------------------------------------------------------------


def test_resume_takes_the_newest_whole_snapshot(make, tmp_path):
    with pytest.raises(SolverFault, match="no whole snapshot at snap_iter_"):
        identity.newest_whole("snap")
    make(Keep())[0].solve(9)
    os.unlink("snap_iter_9.caffemodel")
    assert identity.newest_whole("snap") == "snap_iter_6.solverstate"
    make(Keep(), existing="warn")[0].solve(3)
    with pytest.raises(SolverFault, match="holds snapshots of run .* and of run .*--snapshot STATE"):
        identity.newest_whole("snap")


def test_ctrl_c_says_how_to_go_on_and_that_goes_on(tmp_path):
    solver = small.write(tmp_path, "display: 1", base=small.SOLVER.replace("max_iter: 20", "max_iter: 1000000"))
    command = [*small.command("train", solver, "--overwrite"), "--seed", "3"]
    options = dict(cwd=tmp_path, env=small.environment(), stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(command, **options) as process:
        for line in process.stderr:
            if "Iteration 3," in line:
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    words = said.rpartition("To go on: ")[2].split()
    assert process.returncode == 130 and words[1:] == ["-m", "solver", "train", solver, "--seed", "3", "--resume"]
    done = small.run(*words[3:], "--iterations", "1", cwd=tmp_path)
    assert done.returncode == 0 and "Resuming from snap_iter_" in done.stderr


@pytest.mark.parametrize("more", [["--weights", "x"], ["--snapshot", "x"]])
def test_one_start_only(tmp_path, more):
    done = small.run("train", small.write(tmp_path), "--resume", *more, cwd=tmp_path)
    assert done.returncode == 2 and f"{more[0]} and --resume are both given" in done.stderr
