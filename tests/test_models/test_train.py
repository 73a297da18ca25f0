"""The staged recipe: a plan, two tiny stages, and a run that is killed and goes on to the same weights."""

import numpy as np
import pytest

from demitasse.models import recipes
from demitasse.models.__main__ import main
from demitasse.models.base_weights import trunk_shapes
from demitasse.models.stages import stages
from demitasse.models.surgery import param_shapes
from demitasse.proto.messages import NetParameter
from demitasse.proto.weights import read_weights, write_weights
from demitasse.solver.solver import Solver
from tests.test_models import minis

WIDTH = 1 / 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    minis.sbdd(root / "sbdd/dataset", names=("b1", "b2"), size=(8, 10))
    minis.voc(root / "pascal/VOC2011", names=("a1",), size=(8, 10), split="seg11valid")
    minis.nyud(root / "nyud", names=("5001",), size=(8, 10))
    # A VGG16 of this width: fully connected fc6 and fc7, and an fc8 that is not needed.
    rng = np.random.default_rng(0)
    classifier = {
        name: [rng.normal(0, 0.5 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32) for shape in shapes]
        for name, shapes in trunk_shapes("vgg16-fcn", WIDTH).items()
    }
    for name in ("fc6", "fc7"):
        classifier[name][0] = classifier[name][0].reshape(len(classifier[name][0]), -1)
    classifier["fc8"] = [np.ones((10, 64), np.float32), np.ones(10, np.float32)]
    write_weights(root / "VGG16.caffemodel", classifier)
    return root


def command(data, out, *more, net="voc-fcn16s", start="VGG16.caffemodel"):
    given = ["--from", str(data / start)] if start else []
    return [
        "train",
        net,
        "--data",
        str(data),
        "--out",
        str(out),
        "--width",
        str(WIDTH),
        "--iterations",
        "3",
        "--snapshot",
        "2",
        "--seed",
        "5",
        *given,
        *more,
    ]


def test_two_stages_and_a_run_that_was_killed(data, tmp_path, capsys, monkeypatch):
    assert main(command(data, tmp_path / "whole")) == 0
    shown = capsys.readouterr().out
    assert "VGG16 made convolutional [to do]" in shown and "mean IU" in shown
    assert (tmp_path / "whole/2-voc-fcn16s/scores.txt").exists()

    update = Solver.apply_update

    def killed(self):
        if "fcn16s" in self.where.file and self.iter == 2:
            raise RuntimeError("killed")
        update(self)

    monkeypatch.setattr(Solver, "apply_update", killed)
    with pytest.raises(RuntimeError):
        main(command(data, tmp_path / "torn", "--no-score"))
    monkeypatch.undo()
    capsys.readouterr()
    assert main(command(data, tmp_path / "torn", "--no-score", start=None)) == 0
    shown = capsys.readouterr().out
    assert shown.count("[done]") == 2 and "resumes from train_iter_2.solverstate" in shown
    whole, torn = (read_weights(tmp_path / run / "2-voc-fcn16s.caffemodel") for run in ("whole", "torn"))
    assert all(np.array_equal(a, b) for name in whole for a, b in zip(whole[name], torn[name], strict=True))
    assert whole["upscore2"][0][3, 3].max() > 0 and whole["upscore2"][0][3, 4].max() == 0
    assert whole["score_pool4"][0].any(), "nothing was learned"
    assert main(command(data, tmp_path / "torn", start=None)) == 0, "all is done already"


def test_late_fusion_starts_from_two_nets(data, tmp_path):
    assert main(command(data, tmp_path, "--no-score", "--iterations", "1", net="nyud-fcn32s-color-hha")) == 0
    color, hha, both = (read_weights(path) for path in sorted(tmp_path.glob("*-nyud*.caffemodel")))
    for suffix, single in (("color", color), ("hha", hha)):
        assert np.allclose(both[f"conv3_1{suffix}"][0], single["conv3_1"][0], atol=1e-4)
    assert not np.array_equal(color["score_fr"][0], hha["score_fr"][0])


def test_one_stage_from_given_weights(data, tmp_path):
    main(["prepare", "vgg16-fcn", str(data / "VGG16.caffemodel"), str(data / "base.npz"), "--width", str(WIDTH)])
    assert main(command(data, tmp_path, "--stage", "1", "--no-score", net="nyud-fcn32s-color-d", start="base.npz")) == 0
    weights = read_weights(tmp_path / "1-nyud-fcn32s-color-d.caffemodel")
    start = read_weights(data / "VGG16.caffemodel")["conv1_1"][0]
    assert np.allclose(weights["conv1_1_bgrd"][0][:, :3], start, atol=1e-4)
    assert np.allclose(weights["conv1_1_bgrd"][0][:, 3], start.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    "more, start, fault",
    [
        (("--stage", "7"), None, "there is no stage 7: voc-fcn16s has 0 to 2"),
        ((), None, "stage 0, vgg16-fcn, needs --from FILE: the weights of VGG16"),
        ((), "missing.caffemodel", "missing.caffemodel: no such file"),
        (("--stage", "2"), None, "stage 2, voc-fcn16s, starts from voc-fcn32s, not there yet"),
    ],
)
def test_faults_come_before_any_training(data, tmp_path, capsys, more, start, fault):
    assert main(command(data, tmp_path, *more, start=start)) == 2
    assert fault in capsys.readouterr().err


def test_the_plan_names_every_stage_and_writes_nothing(tmp_path, capsys):
    for name, words in (
        ("voc-fcn8s", ("rate 1e-14", "134.5 M values", "100000 iterations of 1 image, loss summed")),
        ("voc-fcn-alexnet", ("CaffeNet", "of 20 images, loss averaged", "momentum 0.9,")),
    ):
        assert main(["train", name, "--out", str(tmp_path / "x"), "--dry-run"]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in words), shown
    assert not (tmp_path / "x").exists()
    assert [stage.name for stage in stages("nyud-fcn32s-color-hha", tmp_path)] == [
        "vgg16-fcn",
        "nyud-fcn32s-color",
        "nyud-fcn32s-hha",
        "nyud-fcn32s-color-hha",
    ]


# Every net's training prototxt, on a miniature data set in the real format.


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    root = tmp_path_factory.mktemp("everything")
    minis.sbdd(root / "sbdd/dataset", names=("b1", "b2"), size=(40, 48))
    minis.nyud(root / "nyud", size=(9, 12))
    minis.siftflow(root / "sift-flow", size=(9, 9))
    minis.pascalcontext(root, size=(9, 12))
    return root


@pytest.mark.parametrize("name", recipes.NETS)
def test_every_net_trains_two_iterations(name, everything, tmp_path):
    net = recipes.nets(name, root=str(everything), width=1 / 32)[recipes.recipe(name).splits[0]]
    rng = np.random.default_rng(1)
    weights = {
        layer: [rng.normal(0, np.sqrt(2 / max(1, np.prod(shape[1:]))), shape).astype(np.float32) for shape in shapes]
        for layer, shapes in param_shapes(net).items()
        if "scale" not in layer
    }
    param = recipes.solver(name)
    _inline(param, net)
    solver = Solver(param)
    solver.net.load(weights)
    before = [p.data.copy() for p in solver.net.learnable]
    solver.step(2)
    losses = [solver.net.loss]
    moved = [not np.array_equal(a, p.data) for a, p in zip(before, solver.net.learnable, strict=True)]
    learned = [p.lr_mult != 0 for p in solver.net.learnable]
    solver.close()
    assert np.isfinite(losses).all() and sum(moved) > len(moved) / 2
    assert not any(m and not should for m, should in zip(moved, learned, strict=True)), "a fixed layer has moved"


def _inline(param, net: NetParameter) -> None:
    """Train this net alone, with few images an update and without files."""
    param.ClearField("train_net")
    param.ClearField("test_net")
    param.ClearField("test_iter")
    param.ClearField("test_interval")
    param.net_param.CopyFrom(net)
    param.iter_size, param.snapshot, param.snapshot_after_train, param.random_seed = 1, 0, False, 3
    param.base_lr = 1e-6 if param.momentum > 0.95 else 1e-3


@pytest.mark.full
def test_voc_fcn8s_at_full_width(everything):
    net = recipes.nets("voc-fcn8s", root=str(everything))["train"]
    param = recipes.solver("voc-fcn8s")
    _inline(param, net)
    solver = Solver(param)
    solver.step(2)
    assert np.isfinite(solver.net.loss)
    solver.close()
