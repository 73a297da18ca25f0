"""python -m solver: flags old and new, one line and exit status 2 for mistakes, Ctrl-C, kill -9."""

import json
import re

import pytest

from demitasse.solver.__main__ import main
from tests.test_solver import small

BEGIN = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 5 solver_mode: CPU\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: an empty folder but for tn.prototxt, a net, and solver.prototxt, which trains it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tn.prototxt").write_text(small.NET)
    (tmp_path / "solver.prototxt").write_text(BEGIN + 'net: "tn.prototxt" snapshot_prefix: "x" random_seed: 1')
    return tmp_path


@pytest.fixture
def solver(capsys):
    """solver(words...) -> (exit status, what it wrote to stderr)."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().err

    return run


# -- mistakes ------------------------------------------------------------------------------------------

TN = 'net: "tn.prototxt" '

# name in Caffe's own list of mistakes, and some more: (the solver's text, words that the line must hold)
TEXTS = {
    "no_net": (BEGIN, ["s.prototxt", "exactly one of net, net_param, train_net, train_net_param"]),
    "missing_net_file": (BEGIN + 'net: "no_such.prototxt"', ["net: Could not open file no_such.prototxt"]),
    "two_train_nets": (BEGIN + TN + 'train_net: "tn.prototxt"', ["net and train_net"]),
    "unknown_type": (BEGIN + TN + 'type: "Adamm"', ["s.prototxt:2:20", "'Adamm'", "did you mean 'Adam'"]),
    "unknown_policy": (BEGIN.replace("fixed", "cosine") + TN, ["s.prototxt:1:14", "cosine", "known: exp, fixed, inv"]),
    "no_policy": (BEGIN.replace('lr_policy: "fixed"', "") + TN, ["no lr_policy", 'add lr_policy: "fixed"']),
    "step_no_stepsize": (BEGIN.replace("fixed", "step") + TN + "gamma: 0.1", ["'step' needs stepsize"]),
    "test_no_interval": (BEGIN + TN + "test_iter: 1", ["1 test net", "test_interval is 0"]),
    "unknown_field": (BEGIN + TN + "learning_rate: 1", ["s.prototxt:2:20", "no field 'learning_rate'"]),
    "adagrad_momentum": (BEGIN + TN + 'type: "AdaGrad" momentum: 0.9', ["AdaGrad has no momentum", "0.9", "Adam"]),
    "rmsprop_momentum": (BEGIN + TN + 'type: "RMSProp" momentum: 0.9', ["RMSProp has no momentum", "remove it"]),
    "bad_regularization": (BEGIN + TN + 'regularization_type: "L3"', ["'L3'", "L1, L2"]),
    "iter_size_zero": (BEGIN + TN + "iter_size: 0", ["s.prototxt:2:20", "iter_size is 0", "at least 1"]),
    "clip_zero": (BEGIN + TN + "clip_gradients: 0", ["clip_gradients is 0", "freeze"]),
    "snapshots_into_a_file": (BEGIN + TN + 'snapshot_prefix: "tn.prototxt/x"', ["snapshot_prefix", "cannot write"]),
    "snapshots_of_no_name": (BEGIN + TN + 'snapshot_prefix: "a\\000b"', ["s.prototxt:2:", "zero byte"]),
    "snapshots_of_a_long_name": (BEGIN + TN + f'snapshot_prefix: "{"a" * 250}"', ["s.prototxt:2:", "name too long"]),
    "no_end": (BEGIN.replace("max_iter: 5", "") + TN, ["max_iter is not set", "--iterations"]),
    "an_end_at_once": (BEGIN.replace("max_iter: 5", "max_iter: 0") + TN, ["s.prototxt:1:", "max_iter is 0: say"]),
    "negative_decay": (BEGIN + TN + "weight_decay: -1", ["s.prototxt:2:", "weight_decay is -1: it must be 0 or more"]),
    "negative_test_iter": (BEGIN + TN + "test_iter: -1 test_interval: 1", ["s.prototxt:2:20", "test_iter is -1"]),
    "net_of_no_name": (BEGIN + 'net: ""', ["s.prototxt:2:1", 'net is "": give a file']),
    "missing_weights_field": (BEGIN + TN + 'weights: "tn.caffemodel"', ["s.prototxt:2:20", "weights: Could not open"]),
    "no_quotes": (BEGIN + "net: tn.prototxt", ["s.prototxt:2:"]),
    "a_net": (small.NET, ["s.prototxt:1:1", "is this the net's file instead of the solver's"]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_solver_that_cannot_work_is_one_line_and_status_2(name, folder, solver):
    text, words = TEXTS[name]
    (folder / "s.prototxt").write_text(text)
    code, err = solver("train", "s.prototxt", "--device", "generic")
    last = err.splitlines()[-1]
    assert code == 2 and [word for word in words if word not in last] == []
    assert not [line for line in err.splitlines()[:-1] if not re.match(r"[IW]\d{4} ", line)]  # no traceback


COMMANDS = {
    "nothing": ([], ["COMMAND"]),
    "unknown command": (["trian"], ["unknown command 'trian'", "did you mean 'train'"]),
    "no solver": (["train"], ["give a solver: python -m solver train SOLVER"]),
    "missing solver": (["train", "-solver", "nope.prototxt"], ["Could not open file nope.prototxt"]),
    "a near miss": (["train", "--solver=solvr.prototxt"], ["did you mean 'solver.prototxt'"]),
    "two solvers": (["train", "a", "--solver", "b"], ["two files are given, a and b"]),
    "no model": (["test"], ["give a net: python -m solver test NET"]),
    "no weights": (["test", "-model", "tn.prototxt"], ["--weights FILE"]),
    "weights and snapshot": (
        ["train", "-solver", "solver.prototxt", "-weights", "a", "-snapshot", "b"],
        ["--weights and --snapshot are both given"],
    ),
    "missing weights": (["train", "solver.prototxt", "--weights", "no.caffemodel"], ["weights: Could not open"]),
    "missing state": (["train", "solver.prototxt", "--snapshot", "no.solverstate"], ["snapshot: Could not open"]),
    "missing net": (["time", "-model", "nope.prototxt"], ["Could not open file nope.prototxt"]),
    "unknown flag": (["train", "-slver", "x"], ["train knows no -slver", "did you mean '-solver'"]),
    "a digit of another script": (["train", "solver.prototxt", "--iterations", "\u00b2"], ["not a whole number"]),
    "many threads": (["train", "solver.prototxt", "--threads", "99999"], ["99999 threads are too many: there are"]),
    "a count": (["train", "solver.prototxt", "--iterations", "-3"], ["-3", "iterations"]),
    "gpus": (["train", "solver.prototxt", "-gpu", "0,1"], ["mpirun -n 2 python -m solver train"]),
    "gpu twice": (["train", "solver.prototxt", "-gpu", "0", "--device", "cpu"], ["both given"]),
    "phase": (["time", "tn.prototxt", "--phase", "TRIAN"], ["phase is TRAIN or TEST"]),
    "effect": (["train", "solver.prototxt", "--sigint_effect", "halt"], ["sigint_effect is 'halt'"]),
    "log": (["train", "solver.prototxt", "--log", "tn.prototxt/x"], ["cannot write the log"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_makes_no_sense_is_one_line_and_status_2(name, folder, solver):
    words, expected = COMMANDS[name]
    code, err = solver(*words)
    assert code == 2 and len(err.splitlines()) == 1 and [word for word in expected if word not in err] == []


def test_traceback_shows_where_in_the_code(folder):
    done = small.run("train", "nope.prototxt", "--traceback", cwd=folder)
    assert done.returncode == 1 and "Traceback" in done.stderr and "Could not open file nope.prototxt" in done.stderr


def test_a_net_without_a_loss_is_named(folder, solver):
    (folder / "tn.prototxt").write_text("".join(line for line in small.NET.splitlines(True) if "Loss" not in line))
    code, err = solver("train", "solver.prototxt", "--device", "generic")
    assert code == 2 and err.splitlines()[-1].startswith("tn.prototxt: backward has nothing to do: no layer is a loss")


def test_a_state_of_another_net_is_named(folder, solver):
    assert solver("train", "solver.prototxt", "--device", "generic")[0] == 0
    (folder / "tn.prototxt").write_text(small.NET.replace("num_output: 4", "num_output: 5"))
    code, err = solver("train", "solver.prototxt", "--device", "generic", "--snapshot", "x_iter_5.solverstate")
    assert code == 2 and err.splitlines()[-1].startswith("x_iter_5.solverstate: history 0 of the state has shape")


def test_a_run_that_saves_nothing_is_told(folder, solver):
    (folder / "solver.prototxt").write_text(BEGIN + 'net: "tn.prototxt" snapshot_after_train: false')
    code, err = solver("train", "solver.prototxt", "--device", "generic")
    assert code == 0 and "no snapshot is taken, so that what is learned is lost at the end" in err


def test_names_that_would_steer_the_terminal(folder, solver, capsys):
    """In time's table, in the log and in errors."""
    (folder / "tn.prototxt").write_text(
        small.NET.replace('name: "conv"', 'name: "con\\033[31mv"').replace('top: "accuracy"', 'top: "acc\\033c"')
    )
    assert main(["time", "tn.prototxt", "--iterations", "1", "--device", "generic", "--phase", "TRAIN"]) == 0
    out, err = capsys.readouterr()
    assert "con\\x1b[31mv" in out and "\x1b" not in out + err
    with open(folder / "solver.prototxt", "a") as file:
        file.write(" test_iter: 1 test_interval: 5")
    assert solver("train", "solver.prototxt", "--device", "generic")[0] == 0
    code, err = solver(
        "test", "tn.prototxt", "--weights", "x_iter_5.caffemodel", "--iterations", "1", "--device", "generic"
    )
    assert code == 0 and "acc\\x1bc = " in err and "\x1b" not in err


def test_a_negative_seed_is_another_each_time(folder, solver):
    assert solver("train", "solver.prototxt", "--device", "generic", "--seed", "-1")[0] == 0


# -- what works ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["solver.prototxt"],
        ["-solver", "solver.prototxt"],
        ["--solver=solver.prototxt"],
        ["-solver=solver.prototxt"],
        ["--solver", "solver.prototxt", "-alsologtostderr", "--logtostderr=1"],
    ],
)
def test_flags_in_todays_and_caffes_spelling(words, folder, solver):
    code, err = solver("train", *words, "--device", "generic", "-iterations", "2")
    assert code == 0 and (folder / "x_iter_2.solverstate").exists()
    text = [line.split("] ", 1)[1] for line in err.splitlines()]
    assert text[0] == "Solving small" and text[-1] == "Optimization Done."


def test_train_go_on_and_test(folder, solver, capsys):
    common = ["--device", "generic", "--log", "run.jsonl"]
    assert solver("train", "solver.prototxt", *common, "--iterations", "3")[0] == 0
    code, err = solver("train", "solver.prototxt", *common, "--snapshot", "x_iter_3.solverstate")
    assert code == 0 and "Resuming from x_iter_3.solverstate" in err
    assert sorted(path.name for path in folder.glob("*.caffemodel")) == ["x_iter_3.caffemodel", "x_iter_5.caffemodel"]
    events = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert [e["iteration"] for e in events if e["event"] == "snapshot"] == [3, 5]
    assert [e["iteration"] for e in events if e["event"] == "train"] == [0, 1, 2, 3, 4]  # all, without display
    code, err = solver("test", "tn.prototxt", "-weights", "x_iter_5.caffemodel", "-iterations", 2, *common[:2])
    text = [line.split("] ", 1)[1] for line in err.splitlines()]
    assert code == 0 and "loaded 2 layers" in text[0] and text[1] == "Running for 2 iterations."
    names = ["Batch 0, accuracy", "Batch 0, loss", "Batch 1, accuracy", "Batch 1, loss"]
    assert [line.split(" = ")[0] for line in text[2:6]] == names
    assert re.fullmatch(r"Loss: [\d.e-]+", text[6]) and text[7].startswith("accuracy = ")
    assert re.fullmatch(r"loss = ([\d.e-]+) \(\* 1 = \1 loss\)", text[8])


def test_time_and_device_query(folder, capsys):
    assert main(["time", "tn.prototxt", "--iterations", "2", "--device", "generic"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["conv"][1] == "Convolution" and float(rows["conv"][2]) > 0 and len(rows["conv"]) == 8
    assert rows["relu"][1:] == ["ReLU", "within", "conv"]
    assert len(rows["total"]) == 7 and float(rows["total"][1]) >= float(rows["conv"][2])
    assert re.search(r"^Average Forward pass: [\d.]+ ms\.$", out, re.M)
    assert re.search(r"^Average Backward pass: [\d.]+ ms\.$", out, re.M)
    (folder / "deploy.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }\n'
        + small.BODY[: small.BODY.index('layer { name: "drop"')]
    )
    assert main(["time", "deploy.prototxt", "-phase", "TEST", "--iterations", "2", "--device", "generic"]) == 0
    assert "No backward pass" in capsys.readouterr().out
    assert main(["device_query", "--device", "generic"]) == 0
    assert re.search(r"^Peak in float32 matrix products: \d+ GFLOP/s$", capsys.readouterr().out, re.M)


def test_the_solvers_folder_serves_where_the_working_directory_does_not(folder, solver, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    code, err = solver("train", "../solver.prototxt", "--device", "generic", "--iterations", "1")
    assert code == 0 and "net: tn.prototxt is taken from the solver's folder: ../tn.prototxt" in err
