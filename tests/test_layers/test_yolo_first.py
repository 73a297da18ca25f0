"""YOLO's first loss, and what a metric says of the boxes that it finds: against loops over cells."""

import numpy as np
import pytest

from demitasse.proto.errors import LabelFault, NetError
from tests.test_layers.building import build

SIDE, CLASSES, BOXES = 2, 3, 2
FIELDS = "side: 2 num_class: 3 num_object: 2"


def predictions(seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (2, SIDE * SIDE * (CLASSES + 5 * BOXES)))


def labels(*objects):
    """Labels of two images, the second of which shows nothing: objects are (class, x, y, width, height)."""
    y = np.zeros((2, 7, SIDE * SIDE))
    boxes = np.zeros((2, SIDE * SIDE, 4))
    for label, *box in objects:
        cell = int(box[1] * SIDE) * SIDE + int(box[0] * SIDE)
        y[0, 1, cell], y[0, 2, cell], boxes[0, cell] = 1, label, box
    return np.concatenate([y[:, :3].reshape(2, -1), boxes.reshape(2, -1)], 1)


def overlap(a, b):
    sides = [
        min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2) for i in (0, 1)
    ]
    both = max(sides[0], 0) * max(sides[1], 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def box_of(item, k, cell):
    x, y, w, h = (item[(CLASSES + BOXES + 4 * k + i) * 4 + cell] for i in range(4))
    return (cell % SIDE + x) / SIDE, (cell // SIDE + y) / SIDE, w * w, h * h


@pytest.mark.independent("YoloLoss")
def test_a_cell_learns_the_object_in_it():
    x, objects = predictions(), [(2, 0.3, 0.6, 0.4, 0.3), (0, 0.9, 0.1, 0.05, 0.04)]
    text = f"type: 'YoloLoss' bottom: 'x' bottom: 'y' top: 'l' yolo_loss_param {{ {FIELDS} constriant: true }}"
    y = labels(*objects)
    layer = build(text, x.shape, y.shape)
    wanted, weights = np.zeros_like(x), np.zeros_like(x)
    weights[:, CLASSES * 4 : (CLASSES + BOXES) * 4] = 0.5
    for label, *box in objects:
        cell = int(box[1] * SIDE) * SIDE + int(box[0] * SIDE)
        boxes = [box_of(x[0], k, cell) for k in range(BOXES)]
        overlaps = [overlap(each, box) for each in boxes]
        far = [sum((a - b) ** 2 for a, b in zip(each, box, strict=True)) for each in boxes]
        best = int(np.argmax(overlaps)) if max(overlaps) > 0 else int(np.argmin(far))
        for c in range(CLASSES):
            wanted[0, c * 4 + cell], weights[0, c * 4 + cell] = c == label, 1
        at = (CLASSES + best) * 4 + cell
        wanted[0, at], weights[0, at] = overlaps[best], 1
        inside = [box[0] * SIDE - cell % SIDE, box[1] * SIDE - cell // SIDE, np.sqrt(box[2]), np.sqrt(box[3])]
        for i, value in enumerate(inside):
            at = (CLASSES + BOXES + 4 * best + i) * 4 + cell
            wanted[0, at], weights[0, at] = value, 5
    assert np.isclose(layer.forward([x, y])[0], (weights * (x - wanted) ** 2).sum() / 4)
    np.testing.assert_allclose(layer.backward([np.array(2.0)], [True, False])[0], weights * (x - wanted))
    with pytest.raises(LabelFault, match="an object of class 3"):
        layer.forward([x, labels((3, 0.5, 0.5, 0.1, 0.1))])
    with pytest.raises(NetError, match="28 numbers an image"):
        build(text, x.shape, (2, 27))


@pytest.mark.independent("EvalDetection")
def test_which_boxes_are_right():
    x = np.zeros((2, CLASSES + BOXES + 4 * BOXES, 4))
    x[:, 0] = 0.5  # all cells say class 0
    x[0, 1, 3] = 0.9  # but the last of the first image, class 1
    x[0, CLASSES, 3], x[0, CLASSES + 1, 3] = 0.8, 0.6  # both of whose boxes are the object's place
    for k in range(BOXES):
        x[0, CLASSES + BOXES + 4 * k : CLASSES + BOXES + 4 * k + 4, 3] = 0.5, 0.5, np.sqrt(0.4), np.sqrt(0.4)
    y = labels((1, 0.75, 0.75, 0.4, 0.5))
    text = "type: 'EvalDetection' bottom: 'x' bottom: 'y' top: 't' eval_detection_param {{ {} {} }}"
    (top,) = build(text.format(FIELDS, ""), (2, 52), (2, 28)).forward([x.reshape(2, -1), y])
    assert top.shape == (2, 3 + 8 * 4) and top[0, :3].tolist() == [0, 1, 0]
    rows = top[0, 3:].reshape(-1, 4)
    assert rows[:6, 0].tolist() == [0] * 6 and rows[:6, 2].sum() == 0 and (rows[:6, 3] == 1).all()
    np.testing.assert_allclose(rows[6:], [[1, 0.72, 1, 0], [1, 0.54, 0, 1]])  # the second finds it again
    (top,) = build(text.format(FIELDS, "nms: 0.5 score_type: OBJ threshold: 0.9"), (2, 52), (2, 28)).forward(
        [x.reshape(2, -1), y]
    )
    rows = top[0, 3:].reshape(-1, 4)
    assert rows[rows[:, 0] == 1].tolist() == [[1, 0.8, 0, 1]]


def test_the_map_of_yolov2_is_judged_too():
    x = np.full((1, 1 * (5 + 2), 2, 2), -9.0)
    x[0, :, 1, 0] = [0, 0, 0, 0, 3, 0, 2]  # a box in the middle of its cell, as large as its anchor, of class 1
    fields = "num_class: 2 num_object: 1 nms: 0.4 biases: 1 biases: 1"
    layer = build(
        f"type: 'EvalDetection' bottom: 'x' bottom: 'y' top: 't' eval_detection_param {{ {fields} }}", x.shape, (1, 10)
    )
    (top,) = layer.forward([x, np.array([[1, 0.25, 0.75, 0.5, 0.5, 0, 0, 0, 0, 0]])])
    score = 1 / (1 + np.exp(-3)) / (1 + np.exp(-2))
    np.testing.assert_allclose(top[0, :6], [0, 1, 1, score, 1, 0])
    assert not top[0, 6:].any()
