"""YOLO's layers: against the papers' formulas written out box by box, and the mistakes they tell."""

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault, LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

CLASSES, H, W = 3, 4, 5
ANCHORS = [(20, 30), (60, 45), (90, 140)]
BIASES = " ".join(f"biases: {n}" for pair in ANCHORS for n in pair)
OBJECTS = np.asarray([[[1, 0.31, 0.62, 0.4, 0.5], [2, 0.75, 0.2, 0.15, 0.2], [0] * 5, [1, 0.5, 0.5, 1, 1]]], float)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def overlap(a, b):
    """Of two boxes by centre and size."""
    sides = [
        min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2) for k in (0, 1)
    ]
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def predicted(x, anchors, cell):
    """{(image, box, row, column): (box by centre and size, its numbers)} of a map; anchors / cell: in cells."""
    found = {}
    cells = x.reshape(len(x), len(anchors), 5 + CLASSES, *x.shape[2:])
    for n, b, i, j in np.ndindex(*cells.shape[:2], *x.shape[2:]):
        t = cells[n, b, :, i, j]
        size = [np.exp(t[2 + k]) * anchors[b][k] / cell / x.shape[3 - k] for k in (0, 1)]
        found[n, b, i, j] = ((j + sigmoid(t[0])) / x.shape[3], (i + sigmoid(t[1])) / x.shape[2], *size), t
    return found


def suppressed(candidates, threshold):
    kept = []
    for image, label, score, box in sorted(candidates, key=lambda each: (each[0], -each[2])):
        if all(image != other[0] or overlap(box, other[3]) <= threshold for other in kept):
            kept.append((image, label, score, box))
    return [
        (n, label, s, b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2) for n, label, s, b in kept
    ]


@pytest.mark.independent("Yolov3DetectionOutput")
def test_yolov3_detections_are_those_of_the_formulas():
    maps = [normal(2, 2 * (5 + CLASSES), H, W, seed=1), normal(2, 2 * (5 + CLASSES), 2 * H, 2 * W, seed=2)]
    text = f"""type: 'Yolov3DetectionOutput' bottom: 'a' bottom: 'b' top: 'y' yolov3_detection_output_param {{
        num_classes: 3 num_box: 2 confidence_threshold: 0.4 nms_threshold: 0.3 {BIASES} biases: 9 biases: 8
        mask: 2 mask: 1 mask: 3 mask: 0 anchors_scale: 32 anchors_scale: 16 }}"""
    rows = build(text, *(x.shape for x in maps)).forward(maps)[0][0, 0]
    candidates = []
    for x, chosen, cell in zip(maps, ([2, 1], [3, 0]), (32, 16), strict=True):
        anchors = [[*ANCHORS, (9, 8)][k] for k in chosen]
        for (n, *_), (box, t) in predicted(x, anchors, cell).items():
            scores = sigmoid(t[4]) * sigmoid(t[5:])
            candidates += [(n, label + 1, score, box) for label, score in enumerate(scores) if score > 0.4]
    expected = suppressed(candidates, 0.3)
    assert len(expected) > 10 and {row[0] for row in expected} == {0, 1}
    np.testing.assert_allclose(rows, expected, atol=1e-9)


@pytest.mark.independent("YoloDetectionOutput")
def test_yolov2_detections_are_those_of_the_formulas():
    x, anchors = normal(2, 3 * (5 + CLASSES), H, W), [(1, 2), (2.5, 1.5), (4, 4)]
    biases = " ".join(f"biases: {n}" for pair in anchors for n in pair)
    text = f"""type: 'YoloDetectionOutput' bottom: 'a' top: 'y' yolo_detection_output_param {{
        num_classes: 3 num_box: 3 confidence_threshold: 0.3 nms_threshold: 0.4 {biases} }}"""
    rows = build(text, x.shape).forward([x])[0][0, 0]
    candidates = []
    for (n, *_), (box, t) in predicted(x, anchors, 1).items():
        classes = softmax(t[5:])
        score = sigmoid(t[4]) * classes.max()
        candidates += [(n, classes.argmax() + 1, score, box)] if score >= 0.3 else []
    expected = suppressed(candidates, 0.4)
    assert len(expected) > 5
    np.testing.assert_allclose(rows, expected, atol=1e-9)


def test_nothing_found_is_a_row_for_each_image():
    text = f"""type: 'YoloDetectionOutput' bottom: 'a' top: 'y' yolo_detection_output_param {{
        num_classes: 3 num_box: 3 confidence_threshold: 1 {BIASES} }}"""
    x = normal(2, 3 * (5 + CLASSES), H, W)
    rows = build(text, x.shape).forward([x])[0]
    assert rows.tolist() == [[[[0] + [-1] * 6, [1] + [-1] * 6]]]


def yolov3(x, objects, fields=""):
    text = f"type: 'Yolov3' bottom: 'a' bottom: 'b' top: 'l' yolov3_param {{ num_class: 3 num: 2 {BIASES} {fields} }}"
    layer = build(text, x.shape, objects.shape)
    return layer, float(layer.forward([x, objects])[0])


@pytest.mark.independent("Yolov3")
def test_yolov3_loss_is_that_of_the_formulas():
    x, cell, chosen = normal(1, 2 * (5 + CLASSES), H, W, seed=4), 32, [1, 2]
    objects = [row for row in OBJECTS[0][:2]]
    cross = lambda t, wanted: -(wanted * np.log(sigmoid(t)) + (1 - wanted) * np.log(1 - sigmoid(t)))  # noqa: E731
    expected, boxes = 0.0, predicted(x, [ANCHORS[k] for k in chosen], cell)
    owners = {}
    for label, cx, cy, w, h in objects:
        shapes = [(a / W / cell, b / H / cell) for a, b in ANCHORS]
        best = max(range(3), key=lambda k: overlap((0, 0, *shapes[k]), (0, 0, w, h)))
        if best in chosen:
            owners[0, chosen.index(best), int(cy * H), int(cx * W)] = (int(label), cx, cy, w, h, shapes[best])
    assert owners
    for at, (box, t) in boxes.items():
        if at in owners:
            label, cx, cy, w, h, shape = owners[at]
            scale = 2 * (2 - w * h)
            expected += scale * (cross(t[0], cx * W - at[3]) + cross(t[1], cy * H - at[2]))
            expected += scale / 2 * ((t[2] - np.log(w / shape[0])) ** 2 + (t[3] - np.log(h / shape[1])) ** 2)
            expected += cross(t[4], 1) + 3 * sum(cross(t[5 + c], c == label) for c in range(CLASSES))
        elif max(overlap(box, row[1:]) for row in objects) <= 0.5:
            expected += cross(t[4], 0)
    fields = "mask: 1 mask: 2 thresh: 0.5 coord_scale: 2 class_scale: 3"
    assert yolov3(x, OBJECTS, fields)[1] == pytest.approx(expected)


def test_yolov3_learns_a_box_by_descent():
    x = np.zeros((1, 2 * (5 + CLASSES), H, W))
    fields = "mask: 1 mask: 2 coord_scale: 1"
    layer, first = yolov3(x, OBJECTS, fields)
    for _ in range(200):
        layer.forward([x, OBJECTS])
        x -= 0.2 * layer.backward([np.ones(())], [True, False])[0]
    assert yolov3(x, OBJECTS, fields)[1] < first / 5
    box, t = predicted(x, ANCHORS[1:], 32)[0, 0, 2, 1]
    np.testing.assert_allclose(box, OBJECTS[0, 0, 1:], atol=0.02)
    assert sigmoid(t[4]) > 0.9 and t[5:].argmax() == 1


def region_loss(x, objects, fields=""):
    biases = "biases: 1 biases: 2 biases: 2 biases: 2.5"
    fields = f"region_loss_param {{ num_class: 3 num: 2 {biases} {fields} }}"
    text = f"type: 'RegionLoss' bottom: 'a' bottom: 'b' top: 'l' {fields}"
    layer = build(text, x.shape, objects.shape)
    return layer, float(layer.forward([x, objects])[0])


@pytest.mark.independent("RegionLoss")
@pytest.mark.parametrize("rescore", [0, 1])
def test_region_loss_is_that_of_the_formulas(rescore):
    x, anchors = normal(1, 2 * (5 + CLASSES), H, W, seed=4), [(1, 2), (2, 2.5)]
    objects, owners, expected = OBJECTS[0][:2], {}, 0.0
    boxes = predicted(x, anchors, 1)
    for label, cx, cy, w, h in objects:
        best = max((0, 1), key=lambda k: overlap((0, 0, anchors[k][0] / W, anchors[k][1] / H), (0, 0, w, h)))
        owners[0, best, int(cy * H), int(cx * W)] = (int(label), cx, cy, w, h)
    for at, (box, t) in boxes.items():
        if at in owners:
            label, cx, cy, w, h = owners[at]
            scale = 3 * (1 if rescore else 2 - w * h)
            wanted = np.log([w * W / anchors[at[1]][0], h * H / anchors[at[1]][1]])
            off = [sigmoid(t[0]) - (cx * W - at[3]), sigmoid(t[1]) - (cy * H - at[2]), *(t[2:4] - wanted)]
            expected += scale / 2 * np.square(off).sum() - np.log(softmax(t[5:])[label])
            expected += 5 / 2 * (sigmoid(t[4]) - (overlap(box, (cx, cy, w, h)) if rescore else 1)) ** 2
        else:
            expected += 0.01 / 2 * np.square([sigmoid(t[0]) - 0.5, sigmoid(t[1]) - 0.5, t[2], t[3]]).sum()
            if max(overlap(box, row[1:]) for row in objects) <= 0.6:
                expected += 0.5 / 2 * sigmoid(t[4]) ** 2
    fields = f"object_scale: 5 coord_scale: 3 noobject_scale: 0.5 thresh: 0.6 rescore: {rescore}"
    assert region_loss(x, OBJECTS, fields)[1] == pytest.approx(expected)


def test_region_loss_learns_anchors_at_the_beginning_only_and_remembers_how_far_it_is():
    x = normal(1, 2 * (5 + CLASSES), H, W)
    layer, first = region_loss(x, OBJECTS)
    assert layer.state() == {"seen": 1}
    layer.load_state({"seen": 12800})
    assert float(layer.forward([x, OBJECTS])[0]) < first


def test_mistakes():
    x = normal(1, 2 * (5 + CLASSES), H, W)
    with pytest.raises(ShapeFault, match="of 2 boxes x .5 . 3 classes. = 16 channels is expected"):
        yolov3(x[:, :-1], OBJECTS, "mask: 0 mask: 1")
    with pytest.raises(ShapeFault, match="for each of 1 images rows .class, x, y, width, height."):
        yolov3(x, np.zeros((1, 4)), "mask: 0 mask: 1")
    with pytest.raises(SchemaFault, match="mask holds 1 numbers: num, 2, are needed"):
        yolov3(x, OBJECTS, "mask: 0")
    with pytest.raises(SchemaFault, match="biases holds 6 numbers: .* 5 boxes are needed, 10"):
        yolov3(x, OBJECTS, "mask: 0 mask: 4")
    with pytest.raises(LabelFault, match="an object of class 3: the classes are 0 to 2"):
        yolov3(x, np.asarray([[[3, 0.5, 0.5, 0.1, 0.1]]]), "mask: 0 mask: 1")
    with pytest.raises(SchemaFault, match="tree of words is not known"):
        region_loss(x, OBJECTS, "softmax_tree: 'coco.tree'")
    with pytest.raises(GraphFault, match="mask_group_num is 2, but there are 1 maps"):
        build("type: 'Yolov3DetectionOutput' bottom: 'a' top: 'y'", x.shape)


@pytest.mark.independent("SegmentationEvaluate")
def test_segmentation_evaluate_is_the_overlap_of_each_class():
    scores, maps = np.zeros((2, 2, 2, 4)), np.zeros((2, 2, 2, 4))
    scores[0, 0, 0], maps[0, 0, :, :2] = 0.9, 1  # 4 found, 4 true, 2 both
    scores[1, 0], maps[1, 0] = 0.2, 0.2  # below
    maps[1, 1, 0, 0] = 1
    text = (
        "type: 'SegmentationEvaluate' bottom: 'x' bottom: 'm' top: 'l' segmentation_evaluate_param { threshold: 0.3 }"
    )
    layer = build(text, scores.shape, maps.shape)
    assert np.allclose(layer.forward([scores, maps])[0], [[[[2 / 6, 0]]]])
    fine = maps.repeat(3, axis=2).repeat(2, axis=3)
    layer = build(text, scores.shape, fine.shape)
    assert np.allclose(layer.forward([scores, fine])[0], [[[[2 / 6, 0]]]])
    with pytest.raises(ShapeFault, match="must be"):
        build(text, scores.shape, (2, 3, 2, 4))


@pytest.mark.independent("YoloSeg")
def test_yolo_seg_weighs_the_pixels_of_rare_classes_more():
    x, wanted = normal(2, 2, 3, 3), np.zeros((2, 2, 3, 3))
    wanted[0, 0, 0], wanted[1, 1] = 1, 1
    pixels = wanted.sum(axis=(2, 3))
    text = "type: 'YoloSeg' bottom: 'x' bottom: 'm' %s top: 'l' yolo_seg_param { object_scale: 0.5 }"
    plain = -(wanted * np.log(sigmoid(x)) + (1 - wanted) * np.log(1 - sigmoid(x)))
    layer = build(text % "", x.shape, x.shape)
    assert float(layer.forward([x, wanted])[0]) == pytest.approx(0.5 * plain.sum() / 2)
    weights = np.where(wanted > 0, np.asarray([2 - 3 / 15, 2 - 9 / 9])[:, None, None], 1)
    layer = build(text % "bottom: 'p'", x.shape, x.shape, pixels.shape)
    assert float(layer.forward([x, wanted, pixels])[0]) == pytest.approx(0.5 * (weights * plain).sum() / 2)
    with pytest.raises(ShapeFault, match="must have one shape"):
        build(text % "", x.shape, (2, 2, 3, 4))
