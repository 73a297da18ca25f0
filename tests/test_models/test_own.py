"""One's own folder in three commands: write a net, train it, segment new images; and the list of nets."""

import numpy as np
import pytest
from PIL import Image

from models import own, recipes
from models.__main__ import main
from netdef.plan import Plan
from solver.__main__ import main as solver
from tests.test_models import minis


def write(root, name="own", *more):
    return main(["write", name, str(root / "nets"), "--images", str(root / "images"), "--labels", str(root / "labels"),
                 "--classes", str(root / "classes.txt"), "--iterations", "2", *more])


def test_three_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path, names=[f"{i}.png" for i in range(6)], size=(24, 32))
    assert write(tmp_path) == 0
    train, val = ((tmp_path / f"nets/own/{part}.txt").read_text().split() for part in ("train", "val"))
    assert len(train) == 5 and len(val) == 1 and sorted(train + val) == [f"{i}.png" for i in range(6)]
    assert solver(["train", "nets/own/solver.prototxt"]) == 0
    assert main(["segment", "images", "--net", "nets/own/deploy.prototxt", "--weights",
                 "nets/own/snapshot/train_iter_2.caffemodel", "--out", "out"]) == 0
    assert np.asarray(Image.open("out/3.png")).max() < 3
    assert main(["report", "nets/own", "runs/own"]) == 0
    assert "road" in capsys.readouterr().out


def test_other_nets_take_a_folder_too(tmp_path):
    minis.folder(tmp_path)
    for name in ("voc-fcn4s-squeezenet", "voc-unet", "pascalcontext-fcn8s"):
        assert write(tmp_path, name, "--width", "0.03", "--resize", "40") == 0
        plan = Plan(tmp_path / f"nets/{name}/train.prototxt", "TRAIN")
        shape = plan.newest["score"].shape
        assert shape[1] == 3 and min(shape[2:]) == 40


def test_the_split_is_always_the_same_and_needs_two_images(tmp_path, capsys):
    minis.folder(tmp_path, names=("a.png", "b.png"))
    assert own.split(tmp_path / "images", tmp_path / "labels") == own.split(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels/b.png").unlink()
    assert write(tmp_path) == 2
    assert "1 image with a label PNG of the same name" in capsys.readouterr().err
    assert write(tmp_path, "siftflow-fcn8s") == 2
    assert main(["write", "own", str(tmp_path), "--classes", "3"]) == 2
    assert "own data need all three" in capsys.readouterr().err


def test_list_shows_every_net(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in recipes.NETS)
    assert "134.5 M  voc-fcn16s" in shown and "prepare vgg16-fcn" in shown


@pytest.mark.parametrize("classes", ["5", "names.txt"])
def test_classes_by_number_or_by_name(tmp_path, classes, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    assert main(["write", "voc-fcn32s", "nets", "--classes", classes, "--width", "0.02"]) == 0
    assert Plan(tmp_path / "nets/voc-fcn32s/deploy.prototxt").newest["score"].shape[1] == 5
