"""The FCN authors' workflow by the scripts in examples/, at small width on a miniature of PASCAL VOC."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.plan import Plan
from demitasse.proto.text import read_net
from demitasse.proto.weights import read_weights
from tests.test_models import minis

ROOT = Path(__file__).resolve().parents[2]
ENET = ROOT.parent / "shared" / "weights" / "enet-cityscapes"
NARROW = "0.03125"  # 64 channels become 2


def example(name, *arguments, cwd):
    """Run examples/NAME.py; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOG_minloglevel": "2"}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["fcn8s_net", "vgg16_to_fcn", "train_fcn", "segment_image", "enet_streets"])
def test_an_example_explains_itself(name, tmp_path):
    assert f"python examples/{name}.py" in example(name, "--help", cwd=tmp_path)


def test_the_net_by_net_spec_is_the_published_one(tmp_path):
    example("fcn8s_net", tmp_path / "nets", "--voc", "data", cwd=tmp_path)
    for name in ("train", "deploy"):
        own, published = (
            read_net(folder / f"{name}.prototxt")[0] for folder in (tmp_path / "nets", ROOT / "models/voc-fcn8s")
        )
        assert [layer.name for layer in own.layer[1:]] == [layer.name for layer in published.layer[1:]]
        for one, two in zip(own.layer[1:], published.layer[1:], strict=True):
            assert (one.type, list(one.bottom), list(one.top)) == (two.type, list(two.bottom), list(two.top))
            assert list(one.crop_param.offset) == list(two.crop_param.offset)
    shapes = [
        {name: [param.shape for param in params] for name, params in Plan(path).params.items()}
        for path in (tmp_path / "nets/deploy.prototxt", ROOT / "models/voc-fcn8s/deploy.prototxt")
    ]
    assert shapes[0] == shapes[1]


def test_from_a_classifier_to_a_segmented_image(tmp_path):
    minis.voc(tmp_path / "voc", size=(36, 44), split="train", classes=4)
    minis.voc(tmp_path / "voc", size=(36, 44), split="val", classes=4)
    example("fcn8s_net", "nets", "--voc", "voc", "--classes", 4, "--width", NARROW, cwd=tmp_path)
    said = example(
        "vgg16_to_fcn",
        "vgg16.caffemodel",
        "nets/deploy.prototxt",
        "start.caffemodel",
        "--random",
        "--width",
        NARROW,
        cwd=tmp_path,
    )
    assert "coercing fc6 0 from (128, 784) to (128, 16, 7, 7)" in said and "copying conv1_1 0" in said
    old, new = read_weights(tmp_path / "vgg16.caffemodel"), read_weights(tmp_path / "start.caffemodel")
    np.testing.assert_array_equal(old["fc6"][0].ravel(), new["fc6"][0].ravel())
    said = example(
        "train_fcn",
        "nets/solver.prototxt",
        "--weights",
        "start.caffemodel",
        "--images",
        3,
        "--rounds",
        2,
        "--steps",
        2,
        cwd=tmp_path,
    )
    lines = re.findall(r"iteration (\d): loss ([\d.]+), pixel accuracy 0\.\d+, .*mean IU 0\.\d+", said)
    assert [line[0] for line in lines] == ["2", "4"] and float(lines[0][1]) > 0
    trained = read_weights(tmp_path / "nets/train_iter_4.caffemodel")
    kernel = trained["upscore8"][0]
    assert kernel[1, 1].max() == pytest.approx(0.9375**2) and not kernel[1, 0].any()
    assert trained["score_fr"][0].any()  # it began at zero, and has learned
    said = example(
        "segment_image",
        "nets/deploy.prototxt",
        "nets/train_iter_4.caffemodel",
        "voc/JPEGImages/a1.jpg",
        "out",
        cwd=tmp_path,
    )
    assert "class " in said
    with Image.open(tmp_path / "out/a1.png") as labels, Image.open(tmp_path / "out/a1_overlay.png") as overlay:
        assert labels.mode == "P" and labels.size == overlay.size == (44, 36) and np.asarray(labels).max() < 4
        assert labels.getpalette()[3:6] == [128, 0, 0]


@pytest.mark.skipif(not ENET.is_dir(), reason=f"{ENET} is not there")
def test_enet_draws_what_its_author_published(tmp_path):
    said = example("enet_streets", ENET, "--beside", "beside.png", "--picture", "own.png", cwd=tmp_path)
    assert float(re.match(r"([\d.]+)% of 524,288 pixels as published", said)[1]) >= 98.9
    with Image.open(tmp_path / "beside.png") as row, Image.open(tmp_path / "own.png") as own:
        assert row.width > 3 * 1024 and own.width > 2 * 1024
        committed = Image.open(ROOT / "docs/images/enet_munich.png")
        assert (np.asarray(committed.convert("RGB")) == np.asarray(own.convert("RGB")))[:512, :1024].mean() > 0.999
