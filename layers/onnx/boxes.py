"""Boxes in the graph: written relative to others, suppressed, and told as rows; what layers/boxes.py does with arrays.

NonMaxSuppression goes through boxes as `boxes.nms` does: the best score first, of equal ones the earlier box; dropped
is what overlaps with one that is kept by more than the threshold.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.anchors import PIXEL
from demitasse.layers.onnx.graph import FLOAT, INT, Graph, Tensor
from demitasse.layers.onnx.windows import LOWEST
from demitasse.proto.errors import SchemaFault


def columns(graph: Graph, x: Tensor, first: int, end: int) -> Tensor:
    """Entries `first` to before `end` of the last axis."""
    return graph.slice(x, [first], [end], [-1])


def column(graph: Graph, x: Tensor, index: int) -> Tensor:
    """One entry of the last axis, which goes."""
    return graph.gather(x, graph.constant(index, INT), -1)


def corners(graph: Graph, x1: Tensor, y1: Tensor, x2: Tensor, y2: Tensor) -> Tensor:
    """Four arrays of one shape (...) as boxes (..., 4)."""
    last = graph.constant([-1], INT)
    return graph.concat([graph.node("Unsqueeze", part, last) for part in (x1, y1, x2, y2)], -1)


def decode(graph: Graph, boxes: Tensor, deltas: Tensor, extra: float = 0.0) -> Tensor:
    """The boxes (..., 4) that deltas (dx, dy, dw, dh) describe from boxes: `boxes.decode`."""
    size = columns(graph, boxes, 2, 4) - columns(graph, boxes, 0, 2) + extra
    centre = columns(graph, boxes, 0, 2) + size * 0.5 + columns(graph, deltas, 0, 2) * size
    half = size * graph.node("Exp", columns(graph, deltas, 2, 4)) * 0.5
    return graph.concat([centre - half, centre + half - extra], -1)


def best(graph: Graph, x: Tensor, count: int | Tensor, axis: int = 0, largest: bool = True) -> list[Tensor]:
    """[the largest (or smallest) entries of an axis in order, where they are]; of equal ones the earlier is first."""
    values, index = graph.node("TopK", x, graph.vector([count]), outputs=2, axis=axis, largest=int(largest))
    index.dtype = INT
    return [values, index]


def nms(graph: Graph, boxes: Tensor, scores: Tensor, threshold: float, most=None, above: float = LOWEST, extra=0.0):
    """Non-maximum suppression in each group and class: (M, 3), rows (group, class, box), best score first in a class.

    boxes (G, P, 4) with scores (G, classes, P); counted are scores above `above`, kept the best `most` (None: all).
    SchemaFault for a negative threshold.
    """
    if threshold < 0:
        raise SchemaFault(f"the threshold of the overlap, {threshold:g}, is negative: ONNX has those of 0 to 1")
    first, last = columns(graph, boxes, 0, 2), columns(graph, boxes, 2, 4)
    last = graph.node("Max", first, last + extra if extra else last)  # ONNX would exchange corners in the wrong order
    most = graph.vector([graph.size(scores, 2) if most is None else most])
    limits = graph.constant([min(threshold, 1.0)]), graph.constant([max(above, LOWEST)])
    boxes = graph.concat([first, last], -1)
    return graph.node("NonMaxSuppression", boxes, scores, most, *limits, dtype=INT, shape=(None, 3))


def at(graph: Graph, x: Tensor, *index: Tensor) -> Tensor:
    """x[index[0], index[1], ...] for index arrays (M,)."""
    last = graph.constant([-1], INT)
    return graph.node("GatherND", x, graph.concat([graph.node("Unsqueeze", each, last) for each in index], -1))


def best_of_images(graph: Graph, images, image: Tensor, score: Tensor, most: int) -> Tensor:
    """Which of the rows (M,), in their order, are among the `most` best of their image."""
    count = graph.size(score, 0)
    _, order = best(graph, score, count)
    own = graph.reshape(graph.gather(image, order, 0), [-1, 1]).equals(graph.arange(images))
    own = graph.cast(own, INT)
    rank = graph.sum(graph.node("CumSum", own, graph.constant(0, INT)) * own, [1], keep=False)
    kept = graph.chosen(order, rank <= most)
    return best(graph, kept, graph.size(kept, 0), largest=False)[0]


def found_rows(graph: Graph, images, image: Tensor, label: Tensor, score: Tensor, boxes: Tensor) -> Tensor:
    """The top (1, 1, K, 7) of a detection layer, of arrays (M,) and boxes (M, 4); nothing found: a row for each image,
    -1 but for its number."""
    parts = [graph.reshape(graph.cast(part, FLOAT), [-1, 1]) for part in (image, label, score)]
    rows = graph.concat([*parts, boxes], 1)
    number = graph.reshape(graph.cast(graph.arange(images), FLOAT), [-1, 1])
    empty = graph.concat([number, graph.filled([images, 6], -1.0)], 1)
    wanted = graph.where(graph.size(image, 0).equals(0), graph.vector([images]), graph.constant([0], INT))
    return graph.reshape(graph.concat([rows, graph.slice(empty, [0], [wanted], [0])], 0), [1, 1, -1, 7])


def proposals(graph: Graph, scores: Tensor, deltas: Tensor, info: Tensor, cell, stride: float, limits) -> list[Tensor]:
    """[rois (R, 5), their probabilities (R, 1)]: `anchors.proposals` in each image.

    scores (N, 2 A, H, W), deltas (N, 4 A, H, W), info (N or 1, 3 or more: height, width, scale); cell: the A anchors,
    `stride` pixels apart; limits: (min_size, before, after, threshold) as there.
    """
    min_size, before, after, threshold = limits
    images, _, height, width = graph.sizes(scores)
    info = graph.reshape(info, [graph.size(info, 0), -1])
    scores = graph.slice(scores, [len(cell)], [2 * len(cell)], [1])
    scores, deltas = (graph.transpose(x, [0, 2, 3, 1]) for x in (scores, deltas))
    scores, deltas = graph.reshape(scores, [images, -1]), graph.reshape(deltas, [images, -1, 4])
    # A pixel more when boxes are written, as in anchors.py.
    boxes = decode(graph, anchors(graph, cell, stride, height, width) + graph.constant([0, 0, PIXEL, PIXEL]), deltas)
    most = graph.gather(info, graph.constant([1, 0, 1, 0], INT), 1) - 1.0
    most = graph.node("Unsqueeze", most, graph.constant([1], INT))
    boxes = graph.node("Min", graph.node("Max", boxes, graph.constant(0.0)), most)
    sides = columns(graph, boxes, 2, 4) - columns(graph, boxes, 0, 2) + float(PIXEL)
    least = graph.slice(info, [2], [3], [1]) * float(min_size)
    large = graph.node("ReduceMin", sides, axes=[-1], keepdims=0) >= least
    scores = graph.where(large, scores, LOWEST)
    if before:
        scores, order = best(graph, scores, graph.smaller(graph.size(boxes, 1), before), axis=1)
        order = graph.node("Unsqueeze", order, graph.constant([-1], INT))
        boxes = graph.node("GatherND", boxes, order, batch_dims=1)
    index = nms(graph, boxes, graph.reshape(scores, [images, 1, -1]), threshold, after, extra=PIXEL)
    place = column(graph, index, 0), column(graph, index, 2)
    image = graph.reshape(graph.cast(place[0], FLOAT), [-1, 1])
    return [graph.concat([image, at(graph, boxes, *place)], 1), graph.reshape(at(graph, scores, *place), [-1, 1])]


def anchors(graph: Graph, cell, stride: float, height, width) -> Tensor:
    """`anchors.anchor_grid` as rows, (height * width * A, 4)."""
    y = graph.reshape(graph.cast(graph.arange(height), FLOAT) * float(stride), [-1, 1, 1])
    x = graph.reshape(graph.cast(graph.arange(width), FLOAT) * float(stride), [1, -1, 1])
    x, y = x + y * 0.0, y + x * 0.0
    return graph.reshape(corners(graph, x, y, x, y) + graph.constant(np.asarray(cell, FLOAT)), [-1, 4])
