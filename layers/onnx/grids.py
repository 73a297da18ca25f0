"""YOLO's maps in the graph: what layers/grids.py does with arrays."""

from __future__ import annotations

import numpy as np

from demitasse.layers.onnx.boxes import at, column, corners, found_rows, nms
from demitasse.layers.onnx.graph import FLOAT, Graph, Tensor


class Cells:
    """A map (N, B (5 + C), H, W): x, its entries by what they say, each (N, B, 1 or C, H, W)."""

    def __init__(self, graph: Graph, x: Tensor, boxes: int):
        self.graph, (self.images, channels, self.height, self.width) = graph, graph.sizes(x)
        self.each = channels // boxes
        self.x = graph.reshape(x, [self.images, boxes, self.each, self.height, self.width])

    def entries(self, first: int, end: int, op: str, **attrs) -> Tensor:
        """Entries from `first` to before `end`, through an operator."""
        return self.graph.node(op, self.graph.slice(self.x, [first], [end], [2]), **attrs)

    def corners(self, anchors, pixels: float | None = None) -> Tensor:
        """The boxes (N, B, 1, H, W, 4); anchors: B pairs in cells, or in pixels of which so many make a cell."""
        graph, sides = self.graph, []
        for axis, size in enumerate((self.width, self.height)):
            shape = [1, 1, 1, *([1, -1] if axis == 0 else [-1, 1])]
            start = graph.reshape(graph.cast(graph.arange(size), FLOAT), shape)
            length = graph.as_float(size)
            centre = (self.entries(axis, axis + 1, "Sigmoid") + start) / length
            widths = np.reshape([pair[axis] for pair in anchors], (-1, 1, 1, 1)) / (2 * (pixels or 1))
            half = self.entries(2 + axis, 3 + axis, "Exp") * graph.constant(widths) / length
            sides.append((centre - half, centre + half))
        (x1, x2), (y1, y2) = sides
        return corners(graph, x1, y1, x2, y2)

    def rows(self, *each: Tensor) -> list[Tensor]:
        """Arrays (N, B, ?, H, W) as (N, entries)."""
        return [self.graph.reshape(x, [self.images, -1]) for x in each]


def suppressed_rows(graph: Graph, images, found: list, threshold: float, above: float) -> Tensor:
    """`grids.found_rows` of what scores above `above` in (label (N, E), score (N, E), corners (N, E, 4)) of maps."""
    label, score, boxes = (graph.concat(list(parts), 1) for parts in zip(*found, strict=True))
    index = nms(graph, boxes, graph.reshape(score, [images, 1, -1]), threshold, above=above)
    place = column(graph, index, 0), column(graph, index, 2)
    label, score, boxes = (at(graph, x, *place) for x in (label, score, boxes))
    return found_rows(graph, images, place[0], label + 1.0, score, boxes)


def below(number: float) -> float:
    """The float32 before a number: to be above it is to be the number or more."""
    return float(np.nextafter(np.float32(number), np.float32(-np.inf)))
