"""The Python layers that DetectNet, CTPN, triplet nets and pycaffe's examples name, where the user has none of these
names."""

import colorsys
import math

import numpy as np
import pytest

from demitasse.models.data.caffe.layers.detectnet.clustering import group_rectangles
from demitasse.netdef.net import Net
from demitasse.proto.errors import NetError


def run(bottoms, module, layer, tops, param_str=""):
    """The tops of one Python layer for these bottoms."""
    text = ""
    for name, value in bottoms.items():
        shape = " ".join(f"dim: {n}" for n in value.shape)
        text += f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {shape} }} }} }}\n"
    wires = " ".join([*(f"bottom: '{name}'" for name in bottoms), *(f"top: '{name}'" for name in tops)])
    text += (
        f"layer {{ name: 'p' type: 'Python' {wires} python_param {{ module: '{module}' layer: '{layer}' "
        f'param_str: "{param_str}" }} }}\n'
    )
    return Net(text, "TEST").forward(bottoms)


@pytest.fixture
def grid():
    """Coverage and boxes of 4 x 6 cells of 16 pixels: two objects, one of which one cell only sees."""
    coverage, boxes = np.zeros((1, 1, 4, 6), np.float32), np.zeros((1, 4, 4, 6), np.float32)
    for y, x in ((1, 1), (1, 2), (2, 1), (2, 2)):
        coverage[0, 0, y, x] = 0.9
        boxes[0, :, y, x] = np.array([14, 15, 50, 47]) - [x * 16, y * 16] * 2
    boxes[0, 2, 2, 2] += 1
    coverage[0, 0, 0, 5], boxes[0, :, 0, 5] = 0.8, [0, 0, 10, 10]
    return {"coverage": coverage, "boxes": boxes}


def test_detections_are_what_cells_agree_on(grid):
    module, numbers = "caffe.layers.detectnet.clustering", "96,64,16,0.6,3,0.03,22,1"
    found = run(grid, module, "ClusterDetections", ["list"], numbers)["list"]
    assert found.shape == (1, 50, 5)
    np.testing.assert_allclose(found[0, 0], [14, 15, 50, 47, np.log(4)], rtol=1e-6)
    assert not found[0, 1:].any()
    true = run(grid, module, "ClusterGroundtruth", ["list"], "96,64,16")["list"]
    assert true[0, :4].tolist() == [[14, 15, 50, 47, 0], [14, 15, 51, 47, 0], [80, 0, 90, 10, 0], [0] * 5]
    with pytest.raises(NetError, match="numbers in this order are needed: width, height"):
        run(grid, module, "ClusterGroundtruth", ["list"], "96,x")


def test_groups_are_opencv_s():
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    if not hasattr(cv2, "groupRectangles"):
        pytest.skip(f"OpenCV {cv2.__version__} groups no rectangles: it takes 4.8 to 4.x")
    rng = np.random.default_rng(0)
    centres = rng.integers(20, 300, (6, 4))
    for threshold, eps in ((1, 0.1), (2, 0.05), (3, 0.2)):
        rows = (centres[rng.integers(6, size=40)] + rng.integers(-4, 5, (40, 4))).astype(int)
        theirs, weights = cv2.groupRectangles(rows.tolist(), threshold, eps)
        ours, sizes = group_rectangles(rows, threshold, eps)
        expected = sorted((*map(int, row), int(n)) for row, n in zip(theirs, np.ravel(weights), strict=True))
        assert sorted((*row, n) for row, n in zip(ours.tolist(), sizes, strict=True)) == expected


def test_precision_and_recall_of_boxes():
    true, found = np.zeros((2, 1, 50, 5), np.float32)
    true[0, :3, :4] = [[0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]]
    found[0, :2, :4] = [[20, 20, 40, 38], [0, 0, 5, 10]]
    marked = run({"t": true, "f": found}, "caffe.layers.detectnet.mean_ap", "ScoreDetections", ["m"])["m"]
    assert marked[0, :5, 4].tolist() == [1, 2, 3, 3, 0]
    scores = run({"m": marked}, "caffe.layers.detectnet.mean_ap", "mAP", ["mAP", "precision", "recall"])
    np.testing.assert_allclose([scores[name][0] for name in ("precision", "recall", "mAP")], [50, 100 / 3, 50 / 3])


def test_pieces_of_lines_of_text():
    scores, deltas = np.zeros((2, 1, 20, 2, 3), np.float32)
    scores[0, 10:] = np.arange(10)[:, None, None]
    deltas[0, 2:4] = [[[0.5]], [[np.log(2)]]]  # of the second anchor, 16 pixels high
    bottoms = {"s": scores, "d": deltas, "info": np.array([[40, 60, 1]], np.float32)}
    tops = run(bottoms, "layers.text_proposal_layer", "ProposalLayer", ["rois", "scores"], "'feat_stride': 16")
    assert tops["rois"].shape == (60, 4) and tops["scores"].ravel()[:12].tolist() == [*range(10), 0, 1]
    assert tops["rois"][0].tolist() == [0, 1.5, 15, 12.5] and tops["rois"][10].tolist() == [16, 1.5, 31, 12.5]
    assert tops["rois"][1].tolist() == [0, 0, 15, 31.5] and tops["rois"][41].tolist() == [16, 15.5, 31, 39]


def test_examples_of_pycaffe_and_of_colorization():
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    assert run({"x": x, "y": y}, "pyloss", "EuclideanLossLayer", ["loss"])["loss"] == ((x - 1) ** 2).sum() / 4
    hint, like = np.ones((1, 2, 1, 1), np.float32) * [[[[3]], [[4]]]], np.zeros((1, 5, 2, 2), np.float32)
    bottoms = {"h": hint.astype(np.float32), "l": like}
    repeated = run(bottoms, "caffe_traininglayers", "SpatialRepLayer", ["y"])["y"]
    assert repeated.tolist() == [[[[3, 3], [3, 3]], [[4, 4], [4, 4]]]]


def test_colours_of_pixels():
    pixels = np.random.default_rng(3).uniform(0, 256, (2, 3, 4, 5)).astype(np.float32)
    got = run({"x": pixels}, "caffe_traininglayers", "BGR2HSVLayer", ["y"])["y"]
    rgb = pixels.astype("u1").astype(float).transpose(0, 2, 3, 1)[..., ::-1].reshape(-1, 3) / 255
    expected = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in rgb])
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1).reshape(-1, 3), expected, atol=1e-6)
    named = {(255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (0, 0, 255): (53.24, 80.09, 67.20)}
    named |= {(255, 0, 0): (32.30, 79.19, -107.86), (128, 128, 128): (53.59, 0, 0), (5, 5, 5): (1.37, 0, 0)}
    bgr = np.array(list(named), np.float32).T.reshape(1, 3, 2, 3)
    got = run({"x": bgr}, "caffe_traininglayers", "BGR2LabLayer", ["y"])["y"]
    np.testing.assert_allclose(got.reshape(3, -1).T, list(named.values()), atol=0.02)


def test_the_nearest_of_the_colours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ab = np.float32([[12, -88], [-41, 33]]).T.reshape(1, 2, 1, 2)
    with pytest.raises(NetError, match="pts_in_hull.npy is not in"):
        run({"x": ab}, "caffe_traininglayers", "NNEncLayer", ["y"])
    colours = np.random.default_rng(5).uniform(-110, 110, (313, 2))
    (tmp_path / "data/color_bins").mkdir(parents=True)
    np.save("data/color_bins/pts_in_hull.npy", colours)
    got = run({"x": ab}, "caffe_traininglayers", "NNEncLayer", ["y"])["y"]
    nearest = [min(range(313), key=lambda k, pixel=pixel: math.dist(colours[k], pixel)) for pixel in ab.reshape(2, 2).T]
    assert got.shape == (1, 313, 1, 2) and got.sum() == 2
    assert got[0, :, 0].argmax(axis=0).tolist() == nearest
    np.save("data/color_bins/pts_in_hull.npy", colours[:9])
    with pytest.raises(NetError, match="313 pairs"):
        run({"x": ab}, "caffe_traininglayers", "NNEncLayer", ["y"])


def test_hints_that_are_given_or_not():
    hints = np.random.default_rng(7).standard_normal((200, 2, 1, 1)).astype(np.float32)
    given = run({"x": hints}, "caffe_traininglayers", "ColorGlobalDropoutLayer", ["y"], "0.25")["y"]
    mask = given[:, 2:]
    assert set(mask.ravel()) == {0, 1} and 20 < mask.sum() < 80
    np.testing.assert_array_equal(given[:, :2], hints * mask)
    assert run({"x": hints}, "caffe_traininglayers", "ColorGlobalDropoutLayer", ["y"], "1")["y"][:, 2].all()
    with pytest.raises(NetError, match="share of items"):
        run({"x": hints}, "caffe_traininglayers", "ColorGlobalDropoutLayer", ["y"], "2")


TRIPLETS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 6 dim: 3 } } }
layer { name: "n" type: "Python" bottom: "x" top: "n" python_param { module: "norm2layer" layer: "Norm2Layer" } }
layer { name: "s" type: "Python" bottom: "n" top: "a" top: "p" top: "q"
        python_param { module: "tripletselectlayer" layer: "TripletSelectLayer" } }
layer { name: "l" type: "Python" bottom: "a" bottom: "p" bottom: "q" top: "loss" loss_weight: 1
        python_param { module: "tripletlosslayer" layer: "TripletLayer" param_str: "'margin': 0.5" } }
"""


def test_triplets_of_a_batch():
    x = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    net = Net("force_backward: true\n" + TRIPLETS, "TRAIN", keep="all")
    tops = net.forward({"x": x})
    far, near = ((unit[k : k + 2] - unit[0]) ** 2 for k in (2, 4))
    positives, negatives = 2 + np.argsort(-far.sum(1)), 4 + np.argsort(near.sum(1))
    np.testing.assert_allclose(net.blobs["p"], unit[positives], rtol=1e-5)
    np.testing.assert_allclose(net.blobs["q"], unit[negatives], rtol=1e-5)
    gaps = ((unit[:2] - unit[positives]) ** 2).sum(1) - ((unit[:2] - unit[negatives]) ** 2).sum(1) + 0.5
    np.testing.assert_allclose(tops["loss"], np.maximum(gaps, 0).sum() / 4, rtol=1e-5)
    net.backward()
    teaches = np.sort(far.sum(1))[::-1] < np.sort(near.sum(1))
    slopes = np.zeros_like(unit)
    for i in np.flatnonzero(teaches & (gaps > 0)):
        a, p, q = i, positives[i], negatives[i]
        slopes[a] += (unit[q] - unit[p]) / 2
        slopes[p] += (unit[p] - unit[a]) / 2
        slopes[q] += (unit[a] - unit[q]) / 2
    assert slopes.any()
    np.testing.assert_allclose(net.grads["n"], slopes, atol=1e-6)
    across = slopes - unit * (slopes * unit).sum(1, keepdims=True)
    np.testing.assert_allclose(net.grads["x"], across / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(NetError, match="5 items and 3 tops: three equal parts"):
        Net(TRIPLETS.replace("dim: 6", "dim: 5"), "TRAIN")
