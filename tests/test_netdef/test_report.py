"""The table of a net, and the picture."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.layout import lay_out
from demitasse.netdef.picture import compose, draw, svg
from demitasse.netdef.plan import Plan
from demitasse.netdef.receptive_field import receptive_fields
from demitasse.netdef.report import crops, live_most, macs, table, totals
from demitasse.proto.errors import SchemaFault
from tests.test_netdef import goldens
from tests.test_netdef.texts import SMALL, blob, conv, layer

MODELS = Path(__file__).resolve().parents[2] / "models"


def plan_of(name):
    return Plan(goldens.table("net_values")[name]["net"] + "\n")


def rows(text):
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def test_the_table_of_fcn8s():
    text = table(plan_of("voc-fcn8s"))
    lines = rows(text)
    assert lines["layer"].split() == "layer type bottoms -> tops shape params MACs MB stride offset field".split()
    assert lines["fc6"].split()[1:] == [
        "Convolution",
        "pool5",
        "->",
        "fc6",
        "1x4096x16x16",
        "102,764,544",
        "26.3",
        "G",
        "4.2",
        "32",
        "12.5",
        "404",
    ]
    assert lines["relu6"].split()[1:5] == ["ReLU", "fc6", "(in", "place)"]
    assert "134,489,759 values, 538.0 MB" in text and "181.5 G multiply-adds" in text
    for name, offset in (("score_pool4c", 5), ("score_pool3c", 9), ("score", 31)):
        assert f"Crop {name}: offset {offset} is right" in text


@pytest.mark.parametrize(
    "name, layer_name, field, stride",
    [("voc-fcn8s", "fc7", 404, 32), ("voc-fcn-alexnet", "fc7", 355, 32), ("voc-fcn8s", "pool5", 212, 32)],
)
def test_receptive_fields_as_published(name, layer_name, field, stride):
    plan = plan_of(name)
    seen = receptive_fields(plan.steps)[plan.newest[layer_name]]
    assert set(seen.field) == {field} and set(seen.stride) == {stride}


def test_the_place_of_a_pixel():
    plan = Plan(
        blob(shape=(1, 1, 20, 20))
        + conv("c", "data", param="stride: 2 pad: 3")
        + layer("Concat", "cat", "c c")
        + layer("InnerProduct", "ip", "cat", more="inner_product_param { num_output: 1 }")
    )
    seen = receptive_fields(plan.steps)
    assert set(seen[plan.newest["c"]].offset) == {-2}  # the first kernel covers -3, -2 and -1
    assert seen[plan.newest["cat"]] == seen[plan.newest["c"]]
    assert plan.newest["ip"] not in seen


def test_a_crop_that_is_wrong():
    text = goldens.table("net_values")["voc-fcn32s"]["net"].replace("offset: 19", "offset: 18")
    (crop,) = crops(Plan(text))
    assert (crop.written, crop.right, crop.fits) == ((18,), (19,), False)
    assert str(crop) == "score: offset 18 is WRONG, it should be 19"


def test_a_crop_without_a_right_offset():
    text = blob(shape=(1, 3, 9, 9)) + blob("other", (1, 3, 5, 5)) + layer("Crop", "k", "data other")
    assert "k: offset 0; there is no right one: the two blobs have no common ancestor" in str(crops(Plan(text))[0])


def test_costs():
    plan = Plan(SMALL)
    assert [macs(step) for step in plan.steps if step.layer.params] == [4 * 27 * 36, 16 * 36]
    assert live_most(plan) == (192 + 36 + 144 + 144 + 144, "sum")
    assert totals(plan)[3].split()[1:3] == ["4.5", "k"]


def test_a_picture_shows_every_layer_and_shape(tmp_path):
    plan = plan_of("voc-fcn8s")
    draw(plan, tmp_path / "net.svg")
    text = (tmp_path / "net.svg").read_text()
    ElementTree.fromstring(text)
    words = re.findall(r">([^<>]+)</text>", text)
    heads = [step for step in plan.steps if step.spec.type not in ("ReLU", "Dropout")]
    assert set(words) >= {step.name for step in heads}
    assert "Convolution + ReLU + Dropout 7x7" in words and "Deconvolution 16x16 /8" in words and "Crop at 31" in words
    assert set(words) >= {"1x64x698x698", "1x21x568x568", "1x1x500x500"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_net_is_drawn_without_arrays_and_without_its_data(tmp_path, monkeypatch):
    """At a size of 16 TB, from a database that is not there; whoever asks for memory fails."""
    layers = blob("x", (1, 3, 1000000, 1000000)) + conv("c", "x", 4, 1) + layer("ReLU", "r", "c", "c")
    data = layer("Data", "d", "", "d l", "data_param { source: 'nowhere' batch_size: 2 }")
    (tmp_path / "net.prototxt").write_text(layers + data + layer("SoftmaxWithLoss", "loss", "d l"))
    for name in ("empty", "zeros", "ones", "full", "empty_like", "zeros_like"):
        monkeypatch.setattr(np, name, None)
    plan = Plan(tmp_path / "net.prototxt", inputs={"d": (2, 3), "l": (2,)})
    draw(plan, tmp_path / "net.svg")
    text = (tmp_path / "net.svg").read_text()
    assert "1000000" in text and ">loss<" in text and ">d<" in text


def test_boxes_lie_apart_and_edges_lead_down():
    drawing = compose(plan_of("voc-fcn8s"))
    for x, y, box in drawing.boxes:
        assert 0 <= x and x + box.width <= drawing.width and 0 < y < drawing.height
        for other_x, other_y, other in drawing.boxes:
            if box is not other and y == other_y:
                assert x + box.width < other_x or other_x + other.width < x
    assert all(one[1] <= two[1] for points in drawing.curves for one, two in zip(points, points[1:], strict=False))


def test_the_trunk_of_a_drawing_is_straight():
    layout = lay_out(dict.fromkeys("abcdef", 50.0), dict.fromkeys(["ab", "bc", "cd", "de", "ef", "be"], 30.0), 10.0)
    assert [layout.items[node].row for node in "abcdef"] == list(range(6))
    assert len(layout.paths["be"]) == 4
    assert max(abs(layout.items[one].x - layout.items[two].x) for one, two in zip("abcde", "bcdef", strict=True)) < 15


def test_names_are_escaped():
    text = svg(compose(Plan(blob("a<b&c", (1, 2)) + layer("ReLU", "r", "a<b&c"))))
    assert "a&lt;b&amp;c" in text
    ElementTree.fromstring(text)


def test_pictures_are_svg_or_png(tmp_path):
    plan = Plan(SMALL)
    draw(plan, tmp_path / "net.png")
    with Image.open(tmp_path / "net.png") as image:
        assert image.size[1] > 300 and len(image.convert("RGB").getcolors(1 << 20)) > 10
    with pytest.raises(SchemaFault, match="written as .svg or .png, not '.pdf'"):
        draw(plan, tmp_path / "net.pdf")


@pytest.mark.parametrize(
    "name, offsets", [("voc-fcn4s-squeezenet", [0, 0, 1]), ("voc-fcn-googlenet", [1]), ("voc-unet", [0, 0, 0, 0])]
)
def test_crops_behind_joined_channels(name, offsets):
    found = crops(Plan(MODELS / name / "deploy.prototxt"))
    assert all(crop.fits for crop in found) and [crop.written[0] for crop in found] == offsets
