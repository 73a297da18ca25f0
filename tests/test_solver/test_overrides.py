"""--set FIELD=VALUE: a solver's fields from the command line, checked as in its file."""

import json

import pytest

from demitasse.proto.errors import NetError
from demitasse.proto.text import read_solver
from demitasse.solver.__main__ import main as solver
from demitasse.solver.overrides import described, with_settings
from tests.test_solver import small

TEXT = 'net: "a.prototxt"\nbase_lr: 0.1 lr_policy: "step" stepvalue: 5 stepvalue: 9\n'


def test_fields_are_replaced_and_quotes_may_be_left_out():
    words = [
        "base_lr=1e-4",
        "lr_policy=poly",
        'net="b.prototxt"',
        "stepvalue=1, 2,3",
        "snapshot_format=HDF5",
        "iter_size = 4",
    ]
    param, where = with_settings(*read_solver(TEXT), words)
    assert described(param) == {
        "net": '"b.prototxt"',
        "base_lr": "0.0001",
        "lr_policy": '"poly"',
        "stepvalue": "1, 2, 3",
        "snapshot_format": "HDF5",
        "iter_size": "4",
    }
    assert str(where.fields["base_lr"]) == "--set base_lr=1e-4" and where.fields["net"].line == 0


@pytest.mark.parametrize(
    "word, said",
    [
        ("base_rl=1", "--set base_rl=1: a solver has no field 'base_rl' (did you mean 'base_lr'?)"),
        (
            "base_lr=1/100",
            "--set base_lr=1/100: base_lr takes a number, not 1/100: nothing is computed here: write base_lr=0.01",
        ),
        (
            "stepvalue=10;20",
            "--set stepvalue=10;20: stepvalue takes an integer, not 10;20: several values stand in brackets: "
            "write stepvalue=10,20",
        ),
        ("lr=1", "--set lr=1: a solver has no field 'lr': Caffe's word is base_lr"),
        ("base_lr", "--set base_lr: write FIELD=VALUE, as in base_lr=1e-4"),
        ("net_param=x", "--set net_param=x: net_param is not one value: edit the solver's file"),
        ("max_iter=many", "--set max_iter=many: "),
        ("max_iter=1e3", "--set max_iter=1e3: "),
        ("snapshot_format=HDF", "--set snapshot_format=HDF: "),
        ("base_lr=1 max_iter: 5", "--set base_lr=1 max_iter: 5: "),
    ],
)
def test_mistakes_name_the_assignment(word, said):
    with pytest.raises(NetError) as fault:
        with_settings(*read_solver(TEXT), [word])
    assert str(fault.value).startswith(said) and "\n" not in str(fault.value)


def test_a_run_is_trained_with_them_and_its_log_holds_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = small.write(tmp_path)
    assert solver(["train", file, "--set", "max_iter=3", "--set", "base_lr=0.5", "--log", "log.jsonl"]) == 0
    assert (tmp_path / "snap_iter_3.caffemodel").exists()
    events = [json.loads(line) for line in open("log.jsonl")]
    held = next(event for event in events if event["event"] == "settings")
    assert held["values"]["max_iter"] == "3" and held["values"]["base_lr"] == "0.5" and held["versions"]["numpy"]
    assert (
        solver(["train", file, "--resume", "--set", "max_iter=5"]) == 0
        and (tmp_path / "snap_iter_5.caffemodel").exists()
    )
    capsys.readouterr()
    assert solver(["train", file, "--set", "base_lr=-1", "--overwrite"]) == 2
    said = capsys.readouterr().err
    assert "--set base_lr=-1: base_lr is -1: it must be a finite number, 0 or more\n" in said and said.count("\n") == 1
