"""One's own folder in three commands: write a net, train it, segment new images; and the list of nets."""

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.models import class_names, own_dataset, recipes
from demitasse.models.__main__ import main
from demitasse.models.base_weights import make_base
from demitasse.models.data import scenes
from demitasse.netdef.plan import Plan
from demitasse.proto.text import read_net, read_solver
from demitasse.solver.__main__ import main as solver
from demitasse.solver.bilinear import fill_zero_deconvolutions
from demitasse.solver.solver import Solver
from tests.test_models import minis

SQUEEZENET = Path(__file__).resolve().parents[2].parent / "shared/weights/squeezenet"


def write(root, name="own", *more):
    return main(
        [
            "write",
            name,
            str(root / "nets"),
            "--images",
            str(root / "images"),
            "--labels",
            str(root / "labels"),
            "--classes",
            str(root / "classes.txt"),
            "--iterations",
            "2",
            *more,
        ]
    )


def test_three_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path, names=[f"{i}.png" for i in range(6)], size=(24, 32))
    assert write(tmp_path) == 0
    train, val = ((tmp_path / f"nets/own/{part}.txt").read_text().split() for part in ("train", "val"))
    assert len(train) == 5 and len(val) == 1 and sorted(train + val) == [f"{i}.png" for i in range(6)]
    assert solver(["train", "nets/own/solver.prototxt"]) == 0
    assert (
        main(
            [
                "segment",
                "images",
                "--net",
                "nets/own/deploy.prototxt",
                "--weights",
                "nets/own/snapshot/train_iter_2.caffemodel",
                "--out",
                "out",
            ]
        )
        == 0
    )
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


@pytest.mark.skipif(not SQUEEZENET.exists(), reason="needs ../shared/weights")
@pytest.mark.parametrize("regime", ["own", "recipe"])
def test_squeezenets_weights_train(tmp_path, regime, monkeypatch):
    """Neither the own net's solver nor the recipe's runs to NaN; the scores learn from zero."""
    data, name, iterations = scenes.write(tmp_path, 8, 0, (48, 48)), "voc-fcn4s-squeezenet", 16
    own_dataset.write(
        name,
        tmp_path / "nets",
        own_dataset.OwnData(data / "JPEGImages", data / "SegmentationClass", str(data / "classes.txt")),
        iterations=iterations,
    )
    param, _ = read_solver(tmp_path / "nets" / name / "solver.prototxt")
    monkeypatch.chdir(tmp_path / "nets" / name)  # of a net that is no file, paths are the working directory's
    if regime == "recipe":
        param = recipes.solver(name)
        param.max_iter = iterations
    for field in ("train_net", "test_net", "test_iter", "test_interval", "snapshot", "snapshot_prefix"):
        param.ClearField(field)
    param.net_param.CopyFrom(read_net(tmp_path / "nets" / name / "train.prototxt")[0])
    param.random_seed, param.snapshot_after_train = 1, False
    run = Solver(param)
    run.net.load(make_base("squeezenet", next(SQUEEZENET.glob("*.caffemodel")))[0])
    fill_zero_deconvolutions(run.net)
    losses = []
    run.callbacks.append((lambda: None, lambda: losses.append(run.losses[-1])))
    run.solve()
    run.close()
    assert losses[0] == pytest.approx(np.log(9), rel=1e-3)
    assert np.isfinite(losses).all() and np.mean(losses[-4:]) < 0.8 * losses[0]


def test_what_is_said_of_the_data_is_in_the_training_net(tmp_path):
    minis.folder(tmp_path)
    assert (
        write(
            tmp_path,
            "own",
            "--crop",
            "16x20",
            "--balance",
            "--ignore",
            "2",
            "--resize",
            "30",
            "--augment",
            "--class-weights",
        )
        == 0
    )
    nets = {part: read_net(tmp_path / f"nets/own/{part}.prototxt")[0] for part in ("train", "val")}
    options = {part: ast.literal_eval(net.layer[0].python_param.param_str) for part, net in nets.items()}
    assert all(options[part]["ignore_label"] == 2 and options[part]["resize"] == 30 for part in options)
    assert options["train"]["crop"] == (16, 20) and options["train"]["balance"] and options["train"]["mirror"]
    assert options["train"]["rotate"] == 10 and options["train"]["scale"] == (0.75, 1.33)
    weights = [list(layer.loss_param.class_weight) for layer in nets["train"].layer if layer.type == "SoftmaxWithLoss"]
    assert len(weights) == 1 and len(weights[0]) == 3 and weights[0][2] == 0, "no label is of the ignored class"
    assert not any(layer.loss_param.class_weight for layer in nets["val"].layer)
    assert not {"crop", "balance", "mirror", "rotate"} & set(options["val"]), "validation is on whole images"
    assert Plan(tmp_path / "nets/own/train.prototxt", "TRAIN").newest["score"].shape == (1, 3, 16, 20)


def test_the_split_is_always_the_same_and_needs_two_images(tmp_path, capsys):
    minis.folder(tmp_path, names=("a.png", "b.png"))
    assert own_dataset.split(["a.png", "b.png"]) == own_dataset.split(["b.png", "a.png"])
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
    beside = tmp_path / "nets/voc-fcn32s/classes.txt"
    assert beside.exists() == (classes == "names.txt")
    known = class_names.names_of(None, (), 5, beside.with_name("deploy.prototxt"))
    assert known == (["a", "b", "c", "d", "e"] if beside.exists() else [f"class {i}" for i in range(5)])
