"""Images and labels from two data layers that do not give the same samples: told before anything runs."""

import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.database_writer import create_database
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.messages import Datum
from demitasse.solver.__main__ import main as solver
from tests.test_netdef.texts import blob, conv, layer

CONV, LOSS = conv("c", "data", 3, 1), layer("SoftmaxWithLoss", "loss", "c label")
SHUFFLED = "shuffle: true"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """img (8 records), lab (8) and short (5) of 24x32; list.txt of 8 images with a class each, short.txt of 5."""
    pytest.importorskip("lmdb")
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    images = rng.integers(0, 3, (8, 1, 24, 32)).astype(np.uint8)
    for name, channels, count in (("img", 3, 8), ("lab", 1, 8), ("short", 1, 5)):
        with create_database(str(folder / name), "lmdb") as database:
            for number, image in enumerate(images[:count]):
                data = np.repeat(image, channels, 0).tobytes()
                record = Datum(channels=channels, height=24, width=32, data=data, label=number % 3)
                database.put(b"%08d" % number, record.SerializeToString())
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(folder / f"{number}.png")
    for name, count in (("list.txt", 8), ("short.txt", 5)):
        (folder / name).write_text("".join(f"{folder}/{number}.png {number % 3}\n" for number in range(count)))
    return folder


def records(folder, name, top, transform="", more=""):
    return (
        f'layer {{ name: "{name}" type: "Data" top: "{top}" transform_param {{ {transform} }} '
        f'data_param {{ source: "{folder}/{name}" batch_size: 4 {more} }} }}\n'
    )


def listed(folder, name, tops, listing="list.txt", more="", transform=""):
    tops = " ".join(f'top: "{top}"' for top in tops.split())
    return (
        f'layer {{ name: "{name}" type: "ImageData" {tops} transform_param {{ {transform} }} '
        f'image_data_param {{ source: "{folder}/{listing}" batch_size: 4 {more} }} }}\n'
    )


def told(text, phase="TRAIN"):
    """The warnings of a build."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Plan(text, phase).close()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("image", "label", "said"),
    [
        ("crop_size: 16", "crop_size: 16", "each draws for itself ('img': crop_size: 16; 'lab': crop_size: 16)"),
        ("mirror: true", "mirror: true", "each draws for itself ('img': mirror: true; 'lab': mirror: true)"),
        ("mirror: true", "", "each draws for itself ('img': mirror: true; 'lab': nothing)"),
        ("crop_size: 16 mirror: true", "crop_size: 16", "('img': crop_size: 16, mirror: true; 'lab': crop_size: 16)"),
    ],
)
def test_crops_and_mirrors_that_each_layer_draws(folder, image, label, said):
    (line,) = told(records(folder, "img", "data", image) + records(folder, "lab", "label", label) + CONV + LOSS)
    assert line.startswith("'img' (Data) at 1:1 and 'lab' (Data) at 2:1 meet in layer 'loss' (SoftmaxWithLoss), but ")
    assert said in line and "let one layer give both (DenseImageData" in line


def test_lengths(folder):
    (line,) = told(records(folder, "img", "data") + records(folder, "short", "label") + CONV + LOSS)
    assert "their lengths differ ('img': 8 samples; 'short': 5 samples)" in line and "from one list" in line


def test_orders(folder):
    image, label = listed(folder, "a", "data x", more=SHUFFLED), records(folder, "lab", "label", more="rand_skip: 3")
    (line,) = told(image + label + layer("Silence", "s", "x", "") + CONV + LOSS)
    assert "the order of their samples is not the same ('a': shuffle: true; 'lab': rand_skip: " in line


def test_classes_by_another_layer_ask_for_the_same_order_only(folder):
    scores = 'layer { name: "f" type: "InnerProduct" bottom: "data" top: "c" inner_product_param { num_output: 3 } }'
    rest = layer("Silence", "s", "x y", "") + scores + LOSS
    image = listed(folder, "a", "data x", more="new_height: 9 new_width: 9", transform="mirror: true crop_size: 8")
    assert told(image + listed(folder, "b", "y label") + rest) == []
    (line,) = told(image + listed(folder, "b", "y label", "short.txt") + rest)
    assert "('a': 8 samples; 'b': 5 samples)" in line
    (line,) = told(image + listed(folder, "b", "y label", more=SHUFFLED) + rest)
    assert "('a': nothing; 'b': shuffle: true)" in line


def test_two_images_and_a_metric_beside_the_loss_are_told_once_a_pair(folder):
    second = records(folder, "img", "more", "mirror: true").replace('name: "img"', 'name: "depth"')
    both = conv("c1", "data", 3, 1) + conv("c2", "more", 3, 1) + layer("Eltwise", "c", "c1 c2")
    text = records(folder, "img", "data") + second + records(folder, "lab", "label")
    (line,) = told(text + both + LOSS + layer("Accuracy", "accuracy", "c label"))
    assert line.startswith("'depth' (Data) at 2:1 and 'lab' (Data)")


def test_nothing_is_said_where_nothing_is_drawn_apart(folder):
    image, label = records(folder, "img", "data"), records(folder, "lab", "label")
    assert told(image + label + CONV + LOSS) == []
    centred = records(folder, "img", "data", "crop_size: 16") + records(folder, "lab", "label", "crop_size: 16")
    assert told(centred + CONV + LOSS, "TEST") == []  # there the middle is cut out
    one = listed(folder, "both", "data label", more=SHUFFLED, transform="mirror: true crop_size: 16")
    scores = 'layer { name: "f" type: "InnerProduct" bottom: "data" top: "c" inner_product_param { num_output: 3 } }'
    assert told(one + scores + LOSS) == []


def test_branches_that_both_learn_may_see_strangers(folder):
    image = records(folder, "img", "data", "mirror: true")
    other = records(folder, "lab", "label", "mirror: true")
    learned = conv("c", "data", 3, 1) + conv("d", "label", 3, 1)
    assert told(image + other + learned + layer("EuclideanLoss", "loss", "c d")) == []
    direct = conv("c", "data", 1, 1) + layer("EuclideanLoss", "loss", "c label")
    assert len(told(image + other + direct)) == 1


def test_a_batch_joined_of_two_data_sets_is_no_pair(folder):
    image = records(folder, "img", "data", "mirror: true")
    two = image + image.replace('"img" type', '"other" type').replace('"data" tr', '"b" tr')
    join = 'layer { name: "j" type: "Concat" bottom: "data" bottom: "b" top: "j" concat_param { axis: 0 } }\n'
    label = """layer { name: "domain" type: "DummyData" top: "label" dummy_data_param {
      shape { dim: 8 dim: 1 dim: 24 dim: 32 } } }"""
    assert told(two + join + label + conv("c", "j", 3, 1) + LOSS) == []


def written(folder, name, top, other, **given):
    """A layer of folder_layers that gives images and labels; `other`: the top of the two that is not used."""
    tops = (top, other) if top != "label" else (other, top)
    options = {"images": f"{folder}/images", "labels": f"{folder}/labels", "classes": 3, **given}
    return (
        f'layer {{ name: "{name}" type: "Python" top: "{tops[0]}" top: "{tops[1]}" '
        f'python_param {{ module: "folder_layers" layer: "FolderSegDataLayer" param_str: "{options}" }} }}\n'
        + layer("Silence", f"no_{name}", other, "")
    )


def test_python_data_layers_are_asked_too(folder, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for number in range(8):
            shutil.copy(folder / f"{number}.png", tmp_path / kind)

    def both(first, second):
        image, label = written(tmp_path, "a", "data", "x", **first), written(tmp_path, "b", "label", "y", **second)
        return told(image + label + CONV + LOSS)

    (line,) = both({}, {})
    assert "the order of their samples is not the same ('a': randomize: True; 'b': randomize: True)" in line
    still = {"randomize": False}
    assert both(still, still) == both({"seed": 3, "mirror": True}, {"seed": 3, "mirror": True}) == []
    assert len(both({"seed": 3}, {"seed": 4})) == 1
    still["batch_size"] = 4
    (line,) = told(written(tmp_path, "a", "data", "x", **still) + records(folder, "short", "label") + CONV + LOSS)
    assert "('a': 8 samples; 'short': 5 samples)" in line


def test_a_warning_shows_the_line_that_builds_the_net(folder):
    text = records(folder, "img", "data", "mirror: true") + records(folder, "lab", "label", "mirror: true")
    with pytest.warns(UserWarning, match="each draws for itself") as caught:
        Net(text + CONV + LOSS, "TRAIN").close()
    assert [warning.filename for warning in caught] == [__file__]


def test_a_solver_says_it_before_the_first_iteration(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    net = records(folder, "img", "data", "mirror: true") + records(folder, "lab", "label", "mirror: true")
    (tmp_path / "net.prototxt").write_text(net + CONV + LOSS)
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
    assert solver(["train", "solver.prototxt"]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("W") and "] 'img' (Data) at net.prototxt:1:1 and 'lab' (Data) at " in lines[0]
    assert any("Solving" in line for line in lines[1:])


@pytest.mark.parametrize(
    ("loss", "scores", "labels"),
    [
        ("SoftmaxWithLoss", (2, 3, 6, 5), (2, 1, 5, 6)),
        ("Accuracy", (2, 3, 6, 5), (2, 5, 6)),
        ("EuclideanLoss", (2, 3, 6, 5), (2, 3, 5, 6)),
        ("SigmoidCrossEntropyLoss", (2, 3, 6, 5), (2, 6, 5, 3)),
    ],
)
def test_labels_with_height_and_width_exchanged(loss, scores, labels):
    text = blob("c", scores) + blob("label", labels) + layer(loss, "loss", "c label")
    (line,) = told(text)
    assert line.startswith(f"3:1: layer 'loss' ({loss}): the labels of shape {labels} have their axes in another order")


def test_labels_in_their_order_are_not_told():
    for labels in ((2, 1, 6, 5), (2, 6, 5), (2, 30)):
        assert told(blob("c", (2, 3, 6, 5)) + blob("label", labels) + layer("SoftmaxWithLoss", "loss", "c label")) == []


def test_labels_exchanged_later_are_told_once():
    net = Net(blob("c", (2, 3, 6, 5)) + blob("label", (2, 1, 6, 5)) + layer("SoftmaxWithLoss", "loss", "c label"))
    with pytest.warns(UserWarning, match="axes in another order"):
        net.forward({"label": np.zeros((2, 1, 5, 6))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.forward({"label": np.zeros((2, 1, 6, 5))})
        net.forward({"label": np.zeros((2, 1, 5, 6))})
