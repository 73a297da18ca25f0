"""pythonLayer: what MTCNN's nets train with, on small images that the test draws."""

import numpy as np
import pytest
from PIL import Image

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault

POINTS = "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0"
NET = """
layer {{ name: "d" type: "Python" top: "data" top: "label" top: "roi" top: "pts"
  python_param {{ module: "pythonLayer" layer: "Data_Layer_train" param_str: "{}" }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "box" type: "InnerProduct" bottom: "data" top: "box"
  inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bridge" type: "Python" bottom: "ip" bottom: "label" top: "scores" top: "labels"
  python_param {{ module: "pythonLayer" layer: "cls_Layer" }} }}
layer {{ name: "cls" type: "SoftmaxWithLoss" bottom: "scores" bottom: "labels" top: "cls" }}
layer {{ name: "reg" type: "Python" bottom: "box" bottom: "roi" top: "reg" loss_weight: 0.5
  python_param {{ module: "pythonLayer" layer: "regression_Layer" }} }}
"""


@pytest.fixture
def faces(tmp_path):
    for i in range(3):
        image = np.zeros((6, 6, 3), np.uint8)
        image[1, 4] = 50 * i + 50, 0, 0  # red, in row 1
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "cls.txt").write_text("0.png 0\n1.png 1\n")
    (tmp_path / "roi.txt").write_text("2.png 1 0.1 0.2 0.3 0.4\n")
    (tmp_path / "pts.txt").write_text(f"2.png 1 0 0 0 0 {POINTS}\n")
    return tmp_path


def options(faces, **others):
    lists = {"classes": "cls.txt", "boxes": "roi.txt", "points": "pts.txt"}
    paths = {kind: str(faces / file) for kind, file in lists.items()}
    return repr({**paths, "root": str(faces), "batch_size": 5, "seed": 1, **others})


def test_each_batch_teaches_one_thing(faces):
    net = Net(NET.format(options(faces)), "TRAIN", keep="all")
    seen = set()
    for _ in range(12):
        tops = net.forward()
        data, label, roi, pts = (net.blobs[name] for name in ("data", "label", "roi", "pts"))
        taught = [name for name, values in (("cls", label), ("roi", roi), ("pts", pts)) if (values != -1).all()]
        assert len(taught) == 1 and sum((values == -1).all() for values in (label, roi, pts)) == 2
        seen.update(taught)
        if taught != ["cls"]:  # transposed, BGR, minus 128
            assert np.array_equal(data[0, 2, 4], [-128, 22, -128, -128, -128, -128]) and (data[:, :2] == -128).all()
        if taught == ["roi"]:
            assert np.allclose(roi, [[0.1, 0.2, 0.3, 0.4]] * 5)
            assert tops["reg"] == pytest.approx(np.square(net.blobs["box"] - roi).sum() / 10, rel=1e-5)
        elif taught == ["pts"]:
            assert np.allclose(pts, [[float(word) for word in POINTS.split()]] * 5) and tops["reg"] == 0
        else:
            assert set(label.ravel()) <= {0, 1} and tops["cls"] > 0
        net.clear_grads()
        net.backward()
        learned = [bool(net.params[name][0].grad.any()) for name in ("ip", "box")]
        assert learned == [taught == ["cls"], taught == ["roi"]]
    assert seen == {"cls", "roi", "pts"}


def test_without_its_lists_the_net_is_sized_all_the_same():
    text = NET.format("")
    with pytest.warns(UserWarning, match="'cls.txt' is not there"):
        shapes = {value.name: value.shape for value in Plan(text, "TRAIN").values}
    assert shapes["roi"] == (1, 4) and shapes["labels"] == (1, 1)
    with pytest.raises(DataFault, match="the list of classes, does not exist"):
        Net(text, "TRAIN")


def test_a_line_without_its_numbers(faces):
    (faces / "roi.txt").write_text("2.png 1 0.1 0.2 x 0.4\n")
    with pytest.raises(DataFault, match="roi.txt:1: .* has no 4 number"):
        Net(NET.format(options(faces)), "TRAIN")
