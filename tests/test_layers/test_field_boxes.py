"""The boxes of MS-CNN and Cascade R-CNN, against loops over places."""

import math

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.netdef.net import Net
from demitasse.proto.errors import DataFault, NetError
from tests.test_layers.building import build, normal

MEAN, DEVIATION = (0.1, 0, -0.1, 0.2), (0.2, 0.3, 0.1, 0.4)
REGRESSION = f"bbox_reg_param {{ bbox_mean: {list(MEAN)} bbox_std: {list(DEVIATION)} }}"


def overlap(a, b, extra):
    sides = [max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + extra) for k in (0, 1)]
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def suppressed(rows, threshold, extra, before, after):
    """Of rows (x1, y1, x2, y2, score) the best that overlap no better one."""
    kept = []
    for row in sorted(rows, key=lambda row: -row[4])[:before]:
        if all(overlap(row, other, extra) <= threshold for other in kept):
            kept.append(row)
    return kept[:after]


def box_at(deltas, place, field, stride, limits):
    """(x1, y1, width, height)"""
    dx, dy, dw, dh = (d * s + m for d, s, m in zip(deltas, DEVIATION, MEAN, strict=True))
    near, ratio = 1 / limits[0], math.log(limits[1])
    x = min(max(dx, -near), near) * field[0] + (place[1] + 0.5) * stride
    y = min(max(dy, -near), near) * field[1] + (place[0] + 0.5) * stride
    width, height = (side * math.exp(min(max(d, -ratio), ratio)) for side, d in zip(field, (dw, dh), strict=True))
    return x - width / 2, y - height / 2, width, height


@pytest.mark.independent("BoxOutput")
def test_box_output_is_the_best_of_all_maps():
    maps, fields, strides = (normal(2, 7, 4, 5), normal(2, 7, 2, 3, seed=1)), ((20, 30), (40, 44)), (8, 16)
    text = (
        "fg_thr: -0.5 iou_thr: 0.3 field_w: [20, 40] field_h: [30, 44] downsample_rate: [8, 16] field_xyr: 2 "
        "field_whr: 3 max_nms_num: 20 max_post_nms_num: 6 min_size: 12"
    )
    bottoms = "bottom: 'a' bottom: 'b' top: 'rois' top: 'scored'"
    layer = build(f"type: 'BoxOutput' {bottoms} box_output_param {{ {text} }} {REGRESSION}", *(m.shape for m in maps))
    rois, scored = layer.forward(list(maps))
    expected = []
    for image in range(2):
        rows = []
        for x, field, stride in zip(maps, fields, strides, strict=True):
            for place in np.ndindex(x.shape[2:]):
                numbers = x[image].transpose(1, 2, 0)[place]
                scores, deltas = numbers[:3], numbers[3:]
                left, top, width, height = box_at(deltas, place, field, stride, (2, 3))
                left, top = max(left, 0), max(top, 0)
                width = min(width, x.shape[3] * stride - left)
                height = min(height, x.shape[2] * stride - top)
                score = max(scores[1:]) - scores[0]
                if score >= -0.5 and min(width, height) >= 12:
                    rows.append((left, top, left + width, top + height, score))
        expected += [(image, *row) for row in suppressed(rows, 0.3, 0, 20, 6)]
    assert len(expected) > 4
    np.testing.assert_allclose(scored[:, :, 0, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(rois, scored[:, :5])


@pytest.mark.independent("BoxGroupOutput")
def test_groups_are_several_boxes_at_a_place():
    probabilities, boxes = np.random.default_rng(0).random((6, 2, 3, 4)), normal(6, 4, 3, 4)
    fields = [(20, 20), (30, 16), (14, 34)]
    group = "box_group_param { field_w: [20, 30, 14] field_h: [20, 16, 34] stride: 10 }"
    text = f"fg_thr: 0.3 iou_thr: 0.4 field_xyr: 1 field_whr: 4 max_nms_num: 30 max_post_nms_num: 8 min_size: 6 {group}"
    bottoms = "bottom: 'p' bottom: 'b' top: 'rois' top: 'scored'"
    layer = build(
        f"type: 'BoxGroupOutput' {bottoms} box_group_output_param {{ {text} }} {REGRESSION}",
        probabilities.shape,
        boxes.shape,
    )
    expected = []
    for image in range(2):
        rows = []
        for k, field in enumerate(fields):
            for place in np.ndindex(3, 4):
                left, top, width, height = box_at(
                    boxes[3 * image + k].transpose(1, 2, 0)[place], place, field, 10, (1, 4)
                )
                corners = np.clip([left, top, left + width - 1, top + height - 1], 0, [39, 29, 39, 29])
                score = 1 - probabilities[3 * image + k, 0][place]
                if score >= 0.3 and (corners[2:] - corners[:2] + 1).min() >= 6:
                    rows.append((*corners, score))
        expected += [(image, *row) for row in suppressed(rows, 0.4, 1, 30, 8)]
    assert len(expected) > 4
    np.testing.assert_allclose(layer.forward([probabilities, boxes])[1][:, :, 0, 0], expected, rtol=1e-5, atol=1e-6)
    none = layer.forward([np.ones_like(probabilities), boxes])
    assert none[0].reshape(-1).tolist() == [0, 1, 1, 10, 10] and not none[1].any()


@pytest.mark.independent("DecodeBBox")
def test_boxes_of_a_stage_are_the_next_ones_proposals():
    rng = np.random.default_rng(3)
    deltas, first = rng.standard_normal((5, 8)), rng.uniform(0, 20, (5, 2))
    rois = np.hstack([np.zeros((5, 1)), first, first + rng.uniform(5, 30, (5, 2))])
    layer = build(f"type: 'DecodeBBox' bottom: 'd' bottom: 'r' {REGRESSION}", (5, 8), (5, 5), phase=TEST)
    for row, d, (image, x1, y1, x2, y2) in zip(layer.forward([deltas, rois])[0], deltas[:, 4:], rois, strict=True):
        dx, dy, dw, dh = d * DEVIATION + MEAN
        width, height = x2 - x1 + 1, y2 - y1 + 1
        x, y = dx * width + (x1 + x2) / 2, dy * height + (y1 + y2) / 2
        wide, high = width * math.exp(dw), height * math.exp(dh)
        corners = x - (wide - 1) / 2, y - (high - 1) / 2, x + (wide - 1) / 2, y + (high - 1) / 2
        np.testing.assert_allclose(row, [image, *corners], rtol=1e-5, atol=1e-6)
    text = "type: 'DecodeBBox' bottom: 'd' bottom: 'r' bottom: 'm' decode_bbox_param { gt_iou_thr: 0.5 }"
    train, overlaps = build(text, (5, 8), (5, 5), (5, 2)), np.array([[9, 0.1], [9, 0.5], [9, 0.9], [9, 0.2], [9, 0]])
    np.testing.assert_allclose(train.forward([deltas * 0, rois, overlaps])[0], rois[[0, 3, 4]])
    with pytest.raises(DataFault, match="no proposal is left"):
        train.forward([deltas, rois, np.ones((5, 2))])


@pytest.mark.independent("ScaleRoute")
def test_regions_go_where_their_size_belongs():
    rois = np.array([[0, 0, 0, side - 1, side - 1] for side in (10, 20, 40, 80)], float)
    other = np.arange(4.0)[:, None]
    for fields, chosen in (
        ("low_scale: 20 high_scale: 80", [1, 2]),
        ("high_scale: 20", [0]),
        ("low_scale: 81 high_scale: 100", [3]),
        ("high_scale: 5", [0]),
        ("", [0, 1, 2, 3]),
    ):
        layer = build(f"type: 'ScaleRoute' bottom: 'r' bottom: 'x' scale_route_param {{ {fields} }}", (4, 5), (4, 1))
        assert [top.tolist() for top in layer.forward([rois, other])] == [rois[chosen].tolist(), other[chosen].tolist()]


@pytest.mark.independent("ROIGrid")
def test_grid_points_are_interpolated_and_0_outside():
    x = normal(2, 3, 6, 7)
    rois = np.array([[0, 2, 1, 9, 8], [1, -3, 0, 30, 11], [0, 5, 5, 4, 9]], float)
    fields = "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 pad_ratio: 0.25 }"
    layer = build(f"type: 'ROIAlign' bottom: 'x' bottom: 'r' {fields}", x.shape, rois.shape)
    (y,) = layer.forward([x, rois])
    assert layer.type == "ROIGrid" and y.shape == (3, 3, 4, 3) and not y[2].any()
    for region, (image, x1, y1, x2, y2) in enumerate(rois[:2]):
        grown = (x2 - x1 + 1) * 0.25, (y2 - y1 + 1) * 0.25
        left, top = (x1 - grown[0]) * 0.5 - 0.5, (y1 - grown[1]) * 0.5 - 0.5
        right, bottom = (x2 + grown[0]) * 0.5 - 0.5, (y2 + grown[1]) * 0.5 - 0.5
        for i, j in np.ndindex(4, 3):
            down, across = top + (bottom - top) * i / 3, left + (right - left) * j / 2
            value = np.zeros(3)
            if -0.5 <= down <= 5.5 and -0.5 <= across <= 6.5:
                down, across = min(max(down, 0), 5), min(max(across, 0), 6)
                for row in range(6):
                    for column in range(7):
                        weight = max(0, 1 - abs(row - down)) * max(0, 1 - abs(column - across))
                        value += weight * x[int(image), :, row, column]
            np.testing.assert_allclose(y[region, :, i, j], value, atol=1e-12)


def test_padded_regions_take_in_their_surroundings():
    x, rois = normal(1, 2, 9, 9), np.array([[0, 3, 2, 6, 5]], float)
    fields = "pooled_h: 2 pooled_w: 2 {}"
    grown, plain = (
        build(f"type: 'ROIPooling' bottom: 'x' bottom: 'r' roi_pooling_param {{ {fields.format(f)} }}", x.shape, (1, 5))
        for f in ("pad_ratio: 0.5", "")
    )
    np.testing.assert_array_equal(grown.forward([x, rois])[0], plain.forward([x, np.array([[0, 1.0, 0, 8, 7]])])[0])


NET = """
layer { name: 'i' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 64 dim: 96 } } }
layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { num_output: 8 kernel_size: 3 pad: 1
        stride: 8 weight_filler { type: 'gaussian' std: 0.1 } } }
layer { name: 'm' type: 'Convolution' bottom: 'c' top: 'm' convolution_param { num_output: 6 kernel_size: 1
        weight_filler { type: 'gaussian' std: 0.3 } } }
layer { name: 'p' type: 'BoxOutput' bottom: 'm' top: 'p' top: 's' box_output_param { fg_thr: -10 iou_thr: 0.65
        field_w: 24 field_h: 24 downsample_rate: 8 max_nms_num: 50 } }
layer { name: 'r' type: 'ROIPooling' bottom: 'c' bottom: 'p' top: 'r'
        roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.125 pad_ratio: 0.25 } }
layer { name: 'b' type: 'InnerProduct' bottom: 'r' top: 'b' inner_product_param { num_output: 8
        weight_filler { type: 'gaussian' std: 0.01 } } }
layer { name: 'q' type: 'DecodeBBox' bottom: 'b' bottom: 'p' top: 'q'
        bbox_reg_param { bbox_mean: [0, 0, 0, 0] bbox_std: [0.1, 0.1, 0.2, 0.2] } }
layer { name: 'r2' type: 'ROIPooling' bottom: 'c' bottom: 'q' top: 'r2'
        roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.125 } }
"""


def test_a_net_of_two_stages_runs_on_images_of_any_size():
    net = Net(NET, "TEST", seed=1)
    for size in ((64, 96), (40, 56)):
        tops = net.forward({"data": normal(1, 3, *size).astype(np.float32)})
        assert 1 <= len(tops["s"]) <= 50 and len(tops["r2"]) == len(tops["s"])


@pytest.mark.parametrize(
    "text, shapes, said",
    [
        ("type: 'BoxOutput' bottom: 'a' box_output_param { field_w: 8 }", [(1, 6, 2, 2)], "as many field_w, field_h"),
        ("type: 'BoxGroupOutput' bottom: 'a' bottom: 'b'", [(1, 2, 2, 2), (1, 4, 2, 2)], "come in pairs"),
        ("type: 'DecodeBBox' bottom: 'a' bottom: 'b'", [(3, 4), (3, 5)], r"predictions \(R, 8\)"),
        ("type: 'ScaleRoute' bottom: 'a' scale_route_param { low_scale: 9 high_scale: 4 }", [(3, 5)], "above that"),
    ],
)
def test_what_does_not_fit_is_said(text, shapes, said):
    with pytest.raises(NetError, match=said):
        build(text, *shapes)
