"""Which data a run has read: in its log, its snapshots, and when it is resumed on others."""

import json
from pathlib import Path

import pytest
from PIL import Image

from demitasse.netdef.net import Net
from demitasse.solver.fingerprint import changes, fingerprints
from demitasse.solver.log import Log
from demitasse.solver.solver import Solver
from tests.test_models import minis
from tests.test_solver import small

DATA = """layer { name: "data" type: "Python" top: "data" top: "label" python_param {
  module: "folder_layers" layer: "FolderSegDataLayer"
  param_str: "{'images': 'images', 'labels': 'labels', 'classes': 3, 'seed': 1, 'resize': (6, 6)}" } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } }
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path)
    return tmp_path


def test_a_changed_file_is_other_data(here):
    net = Net(DATA)
    before = fingerprints(net, [net])
    assert before == fingerprints(net, [net]) and list(before) == ["data (TRAIN)", "data (TEST)"]
    assert before["data (TEST)"].startswith("3 samples, ")
    name = next(Path("labels").iterdir())
    Image.effect_noise((20, 24), 9).save(name)
    after = fingerprints(Net(DATA), [])
    assert (
        len(changes(before, after)) == 1
        and "the data of data (TRAIN) have changed: 3 samples" in changes(before, after)[0]
    )
    assert not changes(before, before) and not changes({}, after)


def test_layers_that_draw_their_samples_have_none():
    assert not fingerprints(Net(small.NET), [])


def test_the_log_and_the_side_file_hold_it_and_a_resumed_run_tells_a_change(here):
    solver = small.write(here, "snapshot: 1", net=DATA)
    run = Solver(solver, device="generic", log=Log(terminal=False, jsonl="runs/log.jsonl"))
    run.solve(1)
    run.close()
    events = [json.loads(line) for line in Path("runs/log.jsonl").read_text().splitlines()]
    settings = next(event for event in events if event["event"] == "settings")
    snapshot = next(event for event in events if event["event"] == "snapshot")
    side = json.loads(Path("snap_iter_1.solverstate.json").read_text())
    assert settings["data"] == run.data == side["data"]
    assert (side["settings"], side["versions"]) == (settings["values"], settings["versions"])
    assert side["run"]["begun"] <= side["written"]
    # Paths in a log are relative to its folder.
    assert settings["solver"] == solver and snapshot["weights"] == "../snap_iter_1.caffemodel"
    with open(next(Path("images").iterdir()), "ab") as file:
        file.write(b"\0")
    log = small.Lines()
    again = Solver(solver, device="generic", log=log, snapshot="snap_iter_1.solverstate")
    assert [line for line in log.warnings if "the data of data (TRAIN) have changed" in line]
    again.close()
