"""Fine-tuning end to end, on drawn scenes: a classifier's weights into an FCN, trained in stages, scored."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.fillers import bilinear_kernel
from demitasse.models.data import scenes
from demitasse.models.fcn import NO_BIAS, DataSource
from demitasse.models.trunks import Style, squeezenet
from demitasse.netdef.net import Net
from demitasse.netdef.spec import L, NetSpec
from demitasse.proto.weights import read_weights

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1 / 8
UPSAMPLING = ("upscore2", "upscore_fire8", "upscore4")


@pytest.fixture(scope="module")
def example():
    """examples/finetune_camvid.py as a module."""
    spec = importlib.util.spec_from_file_location("finetune_camvid", ROOT / "examples" / "finetune_camvid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A caffemodel of a slim SqueezeNet with random weights, and ten classes of its own."""
    n = NetSpec()
    DataSource(size=(64, 64)).add(n)
    trunk = squeezenet(n, n.data, Style(width=WIDTH, dropout=False, random=True))
    n.conv_final = L.Convolution(
        trunk.features, num_output=10, kernel_size=1, weight_filler=dict(type="xavier"), convolution_param=NO_BIAS
    )
    path = tmp_path_factory.mktemp("classifier") / "slim.caffemodel"
    net = Net(n.to_proto(), "TEST", seed=5)
    for param in net.params["conv1"][:1]:
        param.data[...] /= 64  # it has been trained on pixels of +-128, one may say
    net.save(path)
    return path


@pytest.fixture(scope="module")
def out(example, classifier, tmp_path_factory):
    """What the example leaves behind after six iterations of each run."""
    folder = tmp_path_factory.mktemp("finetuning")
    data = scenes.write(folder / "scenes", train=6, val=3, size=(64, 80))
    example.main([str(data), str(classifier), str(folder / "out"), "6", "--batch", "2", "--width", str(WIDTH)])
    return folder / "out"


def test_the_net_starts_from_the_classifier(out, classifier):
    old, start = read_weights(classifier), read_weights(out / "transplanted/start.caffemodel")
    assert set(start) == set(old) - {"conv_final"} | set(UPSAMPLING)
    for name in set(start) & set(old):
        np.testing.assert_array_equal(start[name][0], old[name][0])
    for name in UPSAMPLING:
        (weight,) = start[name]
        np.testing.assert_array_equal(weight[4, 4], bilinear_kernel(weight.shape[-1]).astype(np.float32))
        assert not weight[4, 5].any()


def test_each_stage_starts_from_the_last_one(out):
    stages = [out / "staged" / name for name in ("stride16", "stride8", "stride4")]
    for before, after in zip(stages, stages[1:], strict=False):
        trained, start = read_weights(before / "train_iter_2.caffemodel"), read_weights(after / "start.caffemodel")
        for name in ("conv1", "fire9/conv3x3_2", "score_fr"):
            np.testing.assert_array_equal(start[name][0], trained[name][0])
        assert start["score_fr"][0].any()
    assert "score_fire8" not in read_weights(stages[0] / "train_iter_2.caffemodel")
    assert "score_fire8" in read_weights(stages[2] / "start.caffemodel")


def test_every_run_has_learned_and_is_scored(out):
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores) == ["transplanted", "staged", "random"]
    for run, got in scores.items():
        assert 0 < got["mean_iu"] <= got["mean_accuracy"] < 1 and len(got["class_iu"]) == len(scenes.CLASSES)
        assert len(list((out / run / "val").glob("*.png"))) == 3
    start, end = (read_weights(out / "transplanted" / name) for name in ("start.caffemodel", "train_iter_6.caffemodel"))
    assert end["score_fr"][0].any() and (end["conv1"][0] != start["conv1"][0]).any()
    np.testing.assert_array_equal(end["upscore4"][0], start["upscore4"][0])
    assert (out / "scores.md").read_text().count("\n| staged | ") == 2


def test_what_it_leaves_runs_by_the_commands(out, capsys):
    from demitasse.models.__main__ import main

    run = out / "transplanted"
    assert main(["score", str(run / "val.prototxt"), "--weights", str(run / "train_iter_6.caffemodel")]) == 0
    expected = json.loads((out / "scores.json").read_text())["transplanted"]["mean_iu"]
    assert f"mean IU {expected:.4f}" in capsys.readouterr().out


def test_the_picture_shows_classes_in_their_colours(out):
    for name, columns in (("predictions.png", 3), ("with_truth.png", 4)):
        picture = Image.open(out / name)
        assert picture.mode == "P" and 80 * columns < picture.width < 80 * (columns + 2)
        assert picture.height == 16 + 3 * 64 + 2 * 4


def test_a_second_call_adds_its_runs(example, classifier, out):
    data = out.parent / "scenes"
    example.main(
        [
            str(data),
            str(classifier),
            str(out),
            "1",
            "--runs",
            "random",
            "--batch",
            "1",
            "--width",
            str(WIDTH),
            "--rate",
            "0.001",
        ]
    )
    scores = json.loads((out / "scores.json").read_text())
    assert [scores[run]["iterations"] for run in scores] == [6, 6, 1]
