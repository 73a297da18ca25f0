"""The demo's files are what demo_net.py writes, and its net learns its scenes."""

from pathlib import Path

import numpy as np
import pytest

from demitasse.models import class_names, demo_net
from demitasse.models.data import scenes
from demitasse.netdef.net import Net
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import parse
from demitasse.solver.solver import Solver

FOLDER = Path(__file__).resolve().parents[2] / "models" / "demo"


def test_the_committed_files_are_written_by_the_code():
    for name, words in demo_net.files().items():
        assert (FOLDER / name).read_text() == words, "run python -m models write demo models"


def test_it_learns_to_tell_objects_from_their_background(tmp_path):
    """Forty iterations on forty small scenes: the loss falls well below that of calling everything background."""
    scenes.write(tmp_path / "scenes", 40, 4, (48, 48))
    net = demo_net.nets()["train"]
    options = {
        "voc_dir": str(tmp_path / "scenes"),
        "train": 40,
        "val": 4,
        "size": (48, 48),
        "split": "train",
        "seed": 1,
        "batch_size": 8,
    }
    net.layer[0].python_param.param_str = repr(options)
    solver = parse(
        "base_lr: 0.002 lr_policy: 'fixed' type: 'Adam' momentum: 0.9 momentum2: 0.999 max_iter: 40 "
        "display: 0 random_seed: 1 snapshot_after_train: false",
        SolverParameter,
    )[0]
    solver.train_net_param.CopyFrom(net)
    run = Solver(solver)
    losses = []
    for _ in range(40):
        run.step(1)
        losses.append(run.net.loss)
    assert losses[0] == pytest.approx(np.log(9), rel=0.01)
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:2])


def test_the_commands_know_the_names_of_its_classes():
    assert class_names.names_of(None, (), 9, FOLDER / "fcn8s_deploy.prototxt") == list(scenes.CLASSES)


def test_its_deploy_net_takes_any_size():
    net = Net(FOLDER / "fcn8s_deploy.prototxt", seed=1)
    for size in ((96, 96), (61, 130), (8, 8)):
        scores = net.forward({"data": np.zeros((1, 3, *size), np.float32)})["score"]
        assert scores.shape == (1, 9, *size)
