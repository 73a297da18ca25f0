"""The permutohedral lattice in the graph: what layers/permutohedral.py does with arrays, of all images at once.

Vertex 0 stands for vertices that are not there.  What a vertex is given by the corners of points is a difference of
running sums over the corners in the order of their vertices, since opset 13 has no scattering that adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from demitasse.layers.onnx.boxes import columns
from demitasse.layers.onnx.graph import FLOAT, INT, Graph, Tensor
from demitasse.layers.onnx.tensor import BOOL

DOUBLE = "float64"
TINY = 1e-20  # so that nothing is divided by 0


class Lattice:
    """The lattice of points whose features are columns (P,) in float64, of so many images one after the other; points
    of different images share no vertex."""

    def __init__(self, graph: Graph, features: Sequence[Tensor], images):
        self.graph, self.axes = graph, len(features) + 1
        elevated = self._elevated(features)
        nearest, rank = self._nearest(elevated)
        self.weights = self._barycentric((elevated - nearest) / float(self.axes), rank)
        codes, steps = self._codes(graph.cast(nearest, INT), rank, images)
        codes, _, corner_of, counts = graph.node("Unique", codes, outputs=4, sorted=1)
        corners = graph.vector([graph.size(corner_of, 0)])
        self.order = graph.node("TopK", corner_of, corners, outputs=2, axis=0, largest=0)[1]
        self.ends = graph.node("CumSum", counts, graph.constant(0, INT)) - 1
        self.corner_of = graph.reshape(corner_of + 1, [-1, self.axes])
        self.neighbours = self._neighbours(codes, steps)
        ones = graph.filled([1, graph.size(elevated, 0)], 1.0, DOUBLE)
        self.total = self._filtered(ones) + TINY

    def means(self, values: Tensor) -> Tensor:
        """values (L, P), float32, as the means of what lies around each point."""
        graph = self.graph
        taken = graph.cast(self._filtered(graph.cast(values, DOUBLE)), FLOAT)
        return graph.cast(graph.cast(taken, DOUBLE) / self.total, FLOAT)

    def _filtered(self, values: Tensor) -> Tensor:
        graph = self.graph
        lattice = self._splat(values)
        for below, above in self.neighbours:
            lattice = lattice + (graph.gather(lattice, below, 1) + graph.gather(lattice, above, 1)) * 0.5
        given = graph.gather(lattice, self.corner_of, 1) * self.weights
        return graph.sum(given, [2], keep=False) * (1 / (1 + 2.0 ** -(self.axes - 1)))

    def _splat(self, values: Tensor) -> Tensor:
        """(L, vertices + 1): what each vertex is given."""
        graph = self.graph
        given = graph.node("Unsqueeze", values, graph.constant([-1], INT)) * self.weights
        given = graph.gather(graph.reshape(given, [graph.size(values, 0), -1]), self.order, 1)
        sums = graph.gather(graph.node("CumSum", given, graph.constant(1, INT)), self.ends, 1)
        sums = graph.pad(sums, [0, 1], [0, 0])
        least = graph.slice(sums, [0], [-1], [1])
        return graph.pad(graph.slice(sums, [1], [2**31], [1]) - least, [0, 1], [0, 0])

    def _elevated(self, features: Sequence[Tensor]) -> Tensor:
        """(P, d + 1): the features in the plane of d + 1 coordinates whose sum is 0."""
        graph, d = self.graph, len(features)
        scaled = [x * (math.sqrt(2 / 3) * self.axes / math.sqrt((i + 1) * (i + 2))) for i, x in enumerate(features)]
        above = [scaled[-1]]  # the sum from each coordinate on
        for x in reversed(scaled[:-1]):
            above.insert(0, above[0] + x)
        rest = [above[j] - scaled[j - 1] * float(j) for j in range(1, d)]
        each = [above[0], *rest, scaled[-1] * -float(d)]
        return graph.concat([graph.reshape(x, [-1, 1]) for x in each], 1)

    def _nearest(self, elevated: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest lattice point of remainder 0, and each coordinate's rank by its distance from it, (P, d + 1)."""
        graph, axes = self.graph, self.axes
        nearest = graph.node("Round", elevated / float(axes)) * float(axes)
        apart = elevated - nearest
        others, own = (graph.node("Unsqueeze", apart, graph.constant([axis], INT)) for axis in (1, 2))
        earlier = graph.constant(np.tri(axes, k=-1), BOOL)  # of equals the first ranks first
        ahead = graph.cast(others > own, INT) + graph.cast(earlier & others.equals(own), INT)
        remainder = graph.sum(nearest, [1]) / float(axes)
        rank = graph.sum(ahead, [2], keep=False) + graph.cast(remainder, INT)
        turn = graph.cast(rank < 0, INT) * axes - graph.cast(rank >= axes, INT) * axes
        return nearest + graph.cast(turn, DOUBLE), rank + turn

    def _barycentric(self, shares: Tensor, rank: Tensor) -> Tensor:
        """(P, d + 1): the share of each corner in its point."""
        graph, d = self.graph, self.axes - 1
        ranked = graph.node("ScatterElements", shares * 0.0, rank, shares, axis=1)
        ranked = graph.reversed(ranked, [1])
        before = graph.concat([columns(graph, ranked, d, d + 1) - 1.0, columns(graph, ranked, 0, d)], 1)
        return ranked - before

    def _codes(self, nearest: Tensor, rank: Tensor, images) -> tuple[Tensor, list[Tensor]]:
        """(a number for the vertex at each corner of each point (P (d + 1),), how it changes along each axis)."""
        graph, axes = self.graph, self.axes
        corner = graph.constant(np.arange(axes).reshape(-1, 1), INT)
        nearest, rank = (graph.node("Unsqueeze", x, graph.constant([1], INT)) for x in (nearest, rank))
        keys = nearest + corner - graph.cast(rank + corner >= axes, INT) * axes
        keys = graph.reshape(columns(graph, keys, 0, axes - 1), [-1, axes - 1])
        least, most = (graph.node(op, keys, axes=[0], keepdims=0) for op in ("ReduceMin", "ReduceMax"))
        least = least - axes
        sizes = most - least + (axes + 1)
        strides = [graph.constant([1], INT)]
        for axis in range(axes - 1):
            strides.append(strides[-1] * graph.slice(sizes, [axis], [axis + 1], [0]))
        *strides, span = strides
        whole = graph.vector(strides)
        codes = graph.reshape(graph.sum((keys - least) * whole, [1], keep=False), [images, -1])
        codes = codes + graph.reshape(graph.arange(images), [-1, 1]) * span
        total = graph.sum(whole, [0])
        steps = [stride * axes - total for stride in strides]
        return graph.reshape(codes, [-1]), [*steps, -total]

    def _neighbours(self, codes: Tensor, steps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each axis where each vertex's neighbours are, (vertices + 1,)."""
        graph = self.graph
        wanted = [change(codes, step) for step in steps for change in (Tensor.__add__, Tensor.__sub__)]
        every, _, index, _ = graph.node("Unique", graph.concat([codes, *wanted], 0), outputs=4, sorted=1)
        count = graph.size(codes, 0)
        table = graph.filled([graph.size(every, 0)], 0, INT)
        own = graph.slice(index, [0], [count], [0])
        table = graph.node("ScatterElements", table, own, graph.arange(count) + 1, axis=0)
        found = graph.gather(table, graph.slice(index, [count], [2**31], [0]), 0)
        rows = graph.pad(graph.reshape(found, [2 * self.axes, -1]), [0, 1], [0, 0])
        each = [graph.gather(rows, graph.constant(i, INT), 0) for i in range(2 * self.axes)]
        return list(zip(each[::2], each[1::2], strict=True))


def pixel_coords(graph: Graph, images, height, width) -> tuple[Tensor, Tensor]:
    """(x, y) of every pixel, each (images * height * width,)."""
    zeros = graph.filled([images, height, width], 0.0, DOUBLE)
    x = graph.reshape(graph.cast(graph.arange(width), DOUBLE), [1, 1, -1])
    y = graph.reshape(graph.cast(graph.arange(height), DOUBLE), [1, -1, 1])
    return graph.reshape(zeros + x, [-1]), graph.reshape(zeros + y, [-1])
