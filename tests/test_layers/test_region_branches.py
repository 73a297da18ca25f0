"""SINet's layers: regions told by their area, and pooling that enlarges small ones."""

import numpy as np
import pytest

from demitasse.layers.layer import TRAIN
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault, SchemaFault
from tests.test_layers.building import build, normal
from tests.test_layers.test_region_pooling import SCALE, c_round, cell, some_rois

AREAS = np.array([[0, 10, 10, 19, 19], [1, 0, 0, 29, 19], [0, 5, 5, 14, 13], [0, 0, 0, 99, 49.0]])  # 100 600 90 5000


@pytest.mark.independent("ROISplit")
def test_regions_are_told_by_their_area():
    two = build("type: 'ROISplit' top: 'n' top: 't' roi_split_param { split_area1: 100 }", (4, 5))
    three = build(
        "type: 'ROISplit' top: 'n' top: 't' roi_split_param { branch_num: 3 split_area1: 100 split_area2: 600 }", (4, 5)
    )
    assert [y.reshape(len(y), -1).tolist() for y in two.forward([AREAS])] == [
        [[1], [3]],
        [[0, 2], [1, 2], [0, 1], [2, 2]],
    ]
    assert [y.reshape(len(y), -1).tolist() for y in three.forward([AREAS])] == [
        [[1], [2], [1]],
        [[0, 2], [1, 2], [0, 1], [0, 3]],
    ]
    with pytest.raises(SchemaFault, match="two branches, or three"):
        build("type: 'ROISplit' top: 'n' top: 't' roi_split_param { branch_num: 3 split_area1: 9 }", (4, 5))


def test_limits_are_drawn_in_training():
    fields = "split_area1: 1000 fluctuation_range_large: 600 fluctuation_range_small: 300"
    layer = build(f"type: 'ROISplit' top: 'n' top: 't' roi_split_param {{ {fields} }}", (5, 5), phase=TRAIN)
    drawn = layer._drawn(1000, 4000)
    assert drawn.min() >= 400 and drawn.max() <= 1300
    below, above = drawn[drawn < 1000], drawn[drawn > 1000]
    assert 0.45 < len(below) / len(drawn) < 0.55
    np.testing.assert_allclose(
        [np.mean((below - 1000) ** 2) ** 0.5, np.mean((above - 1000) ** 2) ** 0.5], [200, 100], 0.1
    )


@pytest.mark.independent("ROIFeatureSplit")
def test_rows_go_to_their_branch():
    x, table = normal(4, 3), np.array([[0, 2], [1, 2], [0, 1], [2, 2]]).reshape(4, 2, 1, 1)
    layer = build("type: 'ROIFeatureSplit' top: 'a' top: 'b'", (4, 3), (2, 1, 1, 1), (4, 2, 1, 1))
    small, large = layer.forward([x, np.array([1, 3]), table])
    assert np.array_equal(small, x[[2]]) and np.array_equal(large, x[[0, 1, 3]])
    with pytest.raises(GraphFault, match="3 tops, but 1 arrays in branch_num 2 parts need 2"):
        build("type: 'ROIFeatureSplit' top: 'a' top: 'b' top: 'c'", (4, 3), (2, 1, 1, 1), (4, 2, 1, 1))


def resized(line, count):
    """The lines of an array's first axis, resized linearly to `count` of them."""
    at = np.clip((np.arange(count) + 0.5) * len(line) / count - 0.5, 0, len(line) - 1)
    low = np.minimum(at.astype(int), max(len(line) - 2, 0))
    high = np.minimum(low + 1, len(line) - 1)
    share = (at - low).reshape(-1, *[1] * (line.ndim - 1))
    return line[low] * (1 - share) + line[high] * share


def caroi_pooling(x, rois, cells):
    y = np.zeros((len(rois), x.shape[1], *cells))
    for r, (n, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c_round(c * SCALE) for c in corners)
        x1, y1 = max(x1, 0), max(y1, 0)
        rows, columns = np.arange(y1, max(y2, y1) + 1), np.arange(x1, max(x2, x1) + 1)
        part = x[int(n)][:, np.minimum(rows, x.shape[2] - 1)][:, :, np.minimum(columns, x.shape[3] - 1)]
        for axis, count in ((1, cells[0]), (2, cells[1])):
            if part.shape[axis] < count:
                part = resized(part.swapaxes(0, axis), count).swapaxes(0, axis)
        height, width = (part.shape[axis + 1] / cells[axis] for axis in (0, 1))
        for p, q in np.ndindex(*cells):
            window = part[:, cell(p * height, (p + 1) * height, 999), cell(q * width, (q + 1) * width, 999)]
            y[r, :, p, q] = window.max(axis=(1, 2))
    return y


@pytest.mark.independent("CAROIPooling")
def test_regions_of_few_pixels_are_enlarged():
    x, rois = normal(2, 3, 10, 15), some_rois().astype(float)
    rois[:, 3], rois[:, 4] = np.clip(rois[:, 3], 0, 15 * 14), np.clip(rois[:, 4], 0, 15 * 9)
    layer = build(
        "type: 'CAROIPooling' bottom: 'x' bottom: 'r' top: 'y' caroi_pooling_param "
        f"{{ pooled_h: 3 pooled_w: 5 spatial_scale: {SCALE} }}",
        x.shape,
        rois.shape,
    )
    np.testing.assert_allclose(layer.forward([x, rois])[0], caroi_pooling(x, rois, (3, 5)), atol=1e-12)


def test_losses_of_branches_sum_to_those_of_all():
    net = Net(
        """
layer { name: 'i' type: 'Input' top: 'rois' top: 'x' top: 'l' top: 't' top: 'w'
        input_param { shape { dim: [4, 5] } shape { dim: [4, 3] } shape { dim: 4 } shape { dim: [4, 3] }
                      shape { dim: [4, 3] } } }
layer { name: 's' type: 'ROISplit' bottom: 'rois' top: 'n' top: 'table' roi_split_param { split_area1: 9000 } }
layer { name: 'f' type: 'ROIFeatureSplit' bottom: 'x' bottom: 'n' bottom: 'table' top: 'x1' top: 'x2' }
layer { name: 'ls' type: 'LabelSplit2' bottom: 'n' bottom: 'table' bottom: 'l' bottom: 't' bottom: 'w'
        top: 'l1' top: 't1' top: 'w1' top: 'l2' top: 't2' top: 'w2' propagate_down: false propagate_down: false
        propagate_down: false propagate_down: false propagate_down: false }
layer { name: 'c1' type: 'SoftmaxWithLoss2' bottom: 'x1' bottom: 'l1' bottom: 'n' top: 'c1'
        softmax_split_param { branch_id: 1 } propagate_down: true propagate_down: false propagate_down: false }
layer { name: 'c2' type: 'SoftmaxWithLoss2' bottom: 'x2' bottom: 'l2' bottom: 'n' top: 'c2' }
layer { name: 'b1' type: 'SmoothL1Loss2' bottom: 'x1' bottom: 't1' bottom: 'w1' bottom: 'w1' bottom: 'n' top: 'b1'
        smooth_l1_split_param { branch_id: 1 } }
""",
        "TEST",
    )
    x, labels = normal(4, 3).astype("f4"), np.array([0, 1, 2, 1])
    tops = net.forward({"rois": AREAS, "x": x, "l": labels, "t": x * 0, "w": x * 0 + 1})
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(tops["c1"], -np.log(p[np.arange(4), labels]).mean(), rtol=1e-5)
    assert tops["c2"] == 0  # no region is as large
    size = abs(x)
    np.testing.assert_allclose(tops["b1"], np.where(size < 1, size**2 / 2, size - 0.5).sum() / 4, rtol=1e-5)
