"""YOLO's first grids: predictions (N, S S (C + 5 B)) and labels (N, 7 S S), see yolo_loss.py; and what they say."""

from __future__ import annotations

import math

from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault


def check_grids(shapes, side: int, classes: int, boxes: int) -> None:
    """ShapeFault unless bottoms 0 and 1 have these shapes are predictions and labels; SchemaFault for sizes of 0."""
    if min(side, classes, boxes) < 1:
        raise SchemaFault("side, num_class and num_object have to be 1 or more")
    for i, count in enumerate((side * side * (classes + 5 * boxes), 7 * side * side)):
        if not shapes[i] or math.prod(shapes[i][1:]) != count or shapes[i][0] != shapes[0][0]:
            raise ShapeFault(
                f"bottom {i} has shape {shapes[i]}: {count} numbers an image are expected of {side} x {side} cells, "
                f"{f'of {classes} classes and {boxes} boxes each' if not i else '7 for each, as BoxData makes them'}"
            )


def parts(x, param):
    """Predictions as (classes (N, C, S S), objects (N, B, S S), boxes (N, B, 4, S S))."""
    n, cells = len(x), param.side * param.side
    x = x.reshape(n, param.num_class + 5 * param.num_object, cells)
    first, second = param.num_class, param.num_class + param.num_object
    return x[:, :first], x[:, first:second], x[:, second:].reshape(n, param.num_object, 4, cells)


def first_boxes(xp, places, param):
    """Predicted boxes (N, B, 4, S S) as centre x, y, width and height in shares of the image."""
    centre, size = places[:, :, :2], places[:, :, 2:]
    if param.constriant:
        cells = xp.arange(param.side * param.side)
        centre = (centre + xp.stack([cells % param.side, cells // param.side])) / param.side
    return xp.concatenate([centre, xp.square(size) if param.sqrt else size], 2)


def first_labels(be, y, param):
    """(whether there is an object (N, S S), its class, its box (N, 4, S S)); LabelFault for a class that is none."""
    cells = param.side * param.side
    y = y.reshape(len(y), 7 * cells)
    has, label = y[:, cells : 2 * cells] != 0, y[:, 2 * cells : 3 * cells].astype(int)
    wrong = be.to_host(label[has & ((label < 0) | (label >= param.num_class))])
    if wrong.size:
        raise LabelFault(f"an object of class {wrong[0]}: the classes are 0 to {param.num_class - 1}, no background")
    return has, label, y[:, 3 * cells :].reshape(len(y), cells, 4).transpose(0, 2, 1)
