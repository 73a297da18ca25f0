"""The losses and metrics of maps of boxes, against loops over places."""

import math

import numpy as np
import pytest

from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal
from tests.test_layers.test_field_boxes import overlap

MEAN, DEVIATION = (0.1, 0, -0.1, 0.2), (0.2, 0.3, 0.1, 0.4)
REGRESSION = f"bbox_reg_param {{ bbox_mean: {list(MEAN)} bbox_std: {list(DEVIATION)} }}"
STRIDE = 4


def truth(maps, rows, cols, objects):
    """(maps, 6, rows, cols) with objects at some places: {(map, row, column): (class, x, y, width, height, overlap)};
    elsewhere background that overlaps by 0.1, or, in the last column, by 0.6."""
    answer = np.zeros((maps, 6, rows, cols))
    answer[:, 5] = 0.1
    answer[:, 5, :, -1] = 0.6
    for (k, *place), numbers in objects.items():
        answer[(k, slice(None), *place)] = numbers
    return answer


def wanted(numbers, place, field):
    _, x, y, width, height, _ = numbers
    deltas = (x - (place[1] + 0.5) * STRIDE) / field[0], (y - (place[0] + 0.5) * STRIDE) / field[1]
    deltas = *deltas, math.log(max(width, 2) / field[0]), math.log(max(height, 2) / field[1])
    return [(d - m) / s for d, m, s in zip(deltas, MEAN, DEVIATION, strict=True)]


def smooth(x):
    return abs(x) - 0.5 if abs(x) >= 1 else x * x / 2


def losses(scores, boxes, objects, kept, weights, fields):
    """(of classes, of boxes) at the places kept; objects as for `truth`."""
    classes = boxed = count = 0
    for k, row, col in kept:
        p = np.exp(scores[k, :, row, col] - scores[k, :, row, col].max())
        label = objects.get((k, row, col), (0,))[0]
        classes -= math.log(p[label] / p.sum()) * weights[k, row, col]
        if label:
            deltas = wanted(objects[k, row, col], (row, col), fields[k])
            boxed += sum(smooth(a - b) for a, b in zip(boxes[k, :, row, col], deltas, strict=True))
            count += 4
    return classes / len(kept), boxed / count


OBJECTS = {(0, 1, 1): (2, 7, 6, 9, 5, 0.7), (1, 0, 2): (1, 9, 3, 4, 4, 0.8), (1, 2, 0): (2, 1, 9, 1, 6, 0.6)}
WIDE = "field_whr: 1e9 field_xyr: 1e-3"  # limits that nothing meets


@pytest.mark.independent("DetectionLoss")
@pytest.mark.parametrize("mode, most", [("bootstrap", {1: 4, 2: 4}), ("all", None)])
def test_a_map_learns_objects_and_the_background_that_scores_highest(mode, most):
    x = normal(2, 7, 3, 4)
    text = f"cls_num: 3 field_w: 8 field_h: 6 downsample_rate: {STRIDE} {WIDE} lambda: 0.5 bg_multiple: 2"
    text += f" bg_threshold: 0.3 sample_mode: '{mode}' pos_neg_weighted: true iou_weighted: true"
    top = "bottom: 'x' bottom: 'm' top: 'y'"
    layer = build(f"type: 'DetectionLoss' {top} detection_loss_param {{ {text} }} {REGRESSION}", x.shape, (2, 6, 3, 4))
    maps = truth(2, 3, 4, OBJECTS)
    kept = set(OBJECTS)
    for k in range(2):
        places = [(k, *p) for p in np.ndindex(3, 3) if (k, *p) not in OBJECTS]  # not the last column
        for label in (1, 2):
            ranked = sorted(places, key=lambda place: -x[(place[0], label, *place[1:])])
            kept.update(ranked[: most[label]] if most else ranked)
    share, weights = 1 / 3, np.zeros((2, 3, 4))
    own = sum(numbers[5] for numbers in OBJECTS.values())
    for place in kept:
        mine = OBJECTS.get(place)
        weights[place] = (
            mine[5] * share * len(kept) / own if mine else (1 - share) * len(kept) / (len(kept) - len(OBJECTS))
        )
    of_classes, of_boxes = losses(x[:, :3], x[:, 3:], OBJECTS, kept, weights, [(8, 6)] * 2)
    y = layer.forward([x, maps])[0]
    np.testing.assert_allclose(y.ravel(), [of_classes + 0.5 * of_boxes, 0.5 * of_boxes])


@pytest.mark.independent("DetectionGroupLoss")
def test_groups_learn_as_many_places_as_are_asked_for():
    scores, boxes = normal(2, 3, 3, 4), normal(2, 4, 3, 4, seed=1)
    text = f"cls_num: 3 field_w: [8, 4] field_h: [6, 12] stride: {STRIDE} {WIDE} lambda: 2 bg_threshold: 0.3"
    text += " neg_mining_type: 'bootstrap' batch_size: 9 bg_multiple: 2"
    top = "bottom: 's' bottom: 'b' bottom: 'm' top: 'y'"
    shapes = scores.shape, boxes.shape, (2, 6, 3, 4)
    layer = build(f"type: 'DetectionGroupLoss' {top} detection_group_loss_param {{ {text} }} {REGRESSION}", *shapes)
    background = [(k, *p) for k in range(2) for p in np.ndindex(3, 3) if (k, *p) not in OBJECTS]

    def p_background(place):
        p = np.exp(scores[(place[0], slice(None), *place[1:])])
        return p[0] / p.sum()

    kept = {*OBJECTS, *sorted(background, key=p_background)[:6]}
    expected = losses(scores, boxes, OBJECTS, kept, np.ones((2, 3, 4)), [(8, 6), (4, 12)])
    y = layer.forward([scores, boxes, truth(2, 3, 4, OBJECTS)])[0]
    np.testing.assert_allclose(y.ravel(), [expected[0] + 2 * expected[1], 2 * expected[1]])


@pytest.mark.parametrize("mode, few", [("random", 4), ("mixture", 4), ("bootstrap", 4)])
def test_objects_are_drawn_where_there_are_more_than_count(mode, few):
    objects = {(0, *place): (1, 5, 5, 6, 6, 0.9) for place in np.ndindex(3, 2)}
    scores, boxes = np.zeros((1, 2, 3, 4)), np.zeros((1, 4, 3, 4))
    text = f"cls_num: 2 field_w: 8 field_h: 6 stride: {STRIDE} neg_mining_type: '{mode}' batch_size: 5 bg_multiple: 1"
    shapes = scores.shape, boxes.shape, (1, 6, 3, 4)
    top = "bottom: 's' bottom: 'b' bottom: 'm' top: 'y'"
    layer = build(
        f"type: 'DetectionGroupLoss' {top} detection_group_loss_param {{ {text} bg_threshold: 0.3 }}", *shapes
    )
    layer.forward([scores, boxes, truth(1, 3, 4, objects)])
    gradient = layer.backward([np.ones((1, 1, 1, 2))], [True, True, False])[0]
    kept = gradient[0, 0] != 0
    assert kept[:, :2].sum() == 3 and kept[:, 2].sum() == 2 and not kept[:, 3].any()


@pytest.mark.parametrize("smooth_l1", [True, False])
@pytest.mark.parametrize("group", [True, False])
def test_the_gradient_is_that_of_the_first_number(group, smooth_l1):
    scores, boxes, maps = normal(2, 3, 3, 4), normal(2, 4, 3, 4, seed=1), truth(2, 3, 4, OBJECTS)
    text = f"cls_num: 3 field_w: 8 field_h: 6 {WIDE} lambda: 0.7 bg_threshold: 0.3 pos_neg_weighted: true "
    if group:
        text = f"{text} stride: {STRIDE} neg_mining_type: 'bootstrap' bbox_loss_type: "
        text = f"detection_group_loss_param {{ {text} '{'Smooth_L1' if smooth_l1 else 'Euclidean_L2'}' }}"
        bottoms = [scores, boxes]
    else:
        text = f"{text} downsample_rate: {STRIDE} sample_mode: 'all' bb_smooth: {str(smooth_l1).lower()}"
        text, bottoms = f"detection_loss_param {{ {text} }}", [np.concatenate([scores, boxes], axis=1)]
    names = "".join(f"bottom: 'b{i}' " for i in range(len(bottoms))) + "bottom: 'm' top: 'y'"
    kind = "DetectionGroupLoss" if group else "DetectionLoss"
    layer = build(f"type: '{kind}' {names} {text} {REGRESSION}", *(x.shape for x in bottoms), maps.shape)
    layer.forward([*bottoms, maps])
    gradients = layer.backward([np.array([2.0, 5.0]).reshape(1, 1, 1, 2)], [True] * len(bottoms) + [False])
    ways = [normal(*x.shape, seed=3 + i) for i, x in enumerate(bottoms)]

    def moved(by):
        return layer.forward([*(x + by * way for x, way in zip(bottoms, ways, strict=True)), maps])[0].ravel()[0]

    slope = sum((way * dx).sum() for way, dx in zip(ways, gradients[:-1], strict=True))
    assert gradients[-1] is None
    assert slope == pytest.approx(2 * (moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.independent("DetectionAccuracy", "DetectionGroupAccuracy")
@pytest.mark.parametrize("group", [True, False])
def test_metrics_are_shares_of_places_and_a_mean_overlap(group):
    scores, boxes, maps = normal(2, 3, 3, 4), normal(2, 4, 3, 4, seed=1) * 0.3, truth(2, 3, 4, OBJECTS)
    fields = [(8, 6), (4, 12)] if group else [(8, 6)] * 2
    text = "cls_num: 3 field_whr: 4 field_xyr: 1 bg_threshold: 0.3 field_w: {} field_h: {} {}: 4"
    if group:
        text = f"detection_group_accuracy_param {{ {text.format([8, 4], [6, 12], 'stride')} }}"
        bottoms, names = [scores, boxes], "bottom: 's' bottom: 'b'"
    else:
        text = f"detection_accuracy_param {{ {text.format(8, 6, 'downsample_rate')} }}"
        bottoms, names = [np.concatenate([scores, boxes], axis=1)], "bottom: 'x'"
    kind = "DetectionGroupAccuracy" if group else "DetectionAccuracy"
    shapes = [x.shape for x in bottoms]
    layer = build(f"type: '{kind}' {names} bottom: 'm' top: 'y' top: 'z' {text} {REGRESSION}", *shapes, maps.shape)
    right, overlaps = [], []
    for k, row, col in np.ndindex(2, 3, 4):
        mine = OBJECTS.get((k, row, col))
        if mine or col < 3:
            right.append((scores[k, :, row, col].argmax() == (mine or (0,))[0], mine is not None))
        if mine:
            d = [b * s + m for b, s, m in zip(boxes[k, :, row, col], DEVIATION, MEAN, strict=True)]
            x, y = (min(max(d[i], -1), 1) * fields[k][i] + ((col, row)[i] + 0.5) * STRIDE for i in (0, 1))
            w, h = (fields[k][i] * math.exp(min(max(d[2 + i], -math.log(4)), math.log(4))) for i in (0, 1))
            own, true = ((a - c / 2, b - e / 2, a + c / 2, b + e / 2) for a, b, c, e in ((x, y, w, h), mine[1:5]))
            overlaps.append(overlap(own, true, 0))
    found = layer.forward([*bottoms, maps])
    np.testing.assert_allclose(
        found[0].ravel(), [np.mean([good for good, _ in right]), np.mean([good for good, mine in right if mine])]
    )
    np.testing.assert_allclose(found[1].ravel(), np.mean(overlaps))
    assert layer.forward([*bottoms, np.ones_like(maps) * [[[0]], *[[[1]]] * 5]])[0].ravel().tolist() == [-1, -1]


def test_mistakes_are_told():
    text = "type: 'DetectionLoss' bottom: 'x' bottom: 'm' top: 'y' detection_loss_param { cls_num: 3 "
    with pytest.raises(SchemaFault, match="downsample_rate above 0"):
        build(text + "}", (1, 7, 3, 4), (1, 6, 3, 4))
    sizes = "field_w: 2 field_h: 2 downsample_rate: 2"
    with pytest.raises(ShapeFault, match=r"\(N, 7, h, w\)"):
        build(f"{text} {sizes} }}", (1, 8, 3, 4), (1, 6, 3, 4))
    layer = build(f"{text} {sizes} }}", (1, 7, 3, 4), (1, 6, 3, 4))
    with pytest.raises(LabelFault, match="a class of 0 to 3"):
        layer.forward([normal(1, 7, 3, 4), truth(1, 3, 4, {(0, 0, 0): (3, 1, 1, 4, 4, 0.9)})])
    group = "type: 'DetectionGroupLoss' bottom: 's' bottom: 'b' bottom: 'm' top: 'y' detection_group_loss_param { "
    with pytest.raises(SchemaFault, match='neg_mining_type "worst" is not known: random or bootstrap or mixture'):
        build(group + "neg_mining_type: 'worst' }", (2, 3, 3, 4), (2, 4, 3, 4), (2, 6, 3, 4))
    with pytest.raises(ShapeFault, match="3 maps are no whole number of images with 2 each"):
        sizes = "cls_num: 3 field_w: [2, 4] field_h: [2, 4] stride: 2"
        build(f"{group} {sizes} }}", (3, 3, 3, 4), (3, 4, 3, 4), (3, 6, 3, 4))
