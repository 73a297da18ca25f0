"""Images between their pixels, in the graph: what layers/sampling.py does with arrays."""

from __future__ import annotations

import itertools

from demitasse.layers.onnx.graph import INT, Graph, Tensor


def sampled(graph: Graph, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x (N, C, H, W) at the points whose rows and columns are given, (N, P) each: (N, C, P); 0 outside."""
    images, channels, height, width = graph.sizes(x)
    flat = graph.reshape(x, [images, channels, -1])
    first, total = graph.constant([1], INT), None
    corners = []
    for place, size in ((rows, height), (columns, width)):
        last, before = graph.as_float(size) - 1.0, graph.node("Floor", place)
        each = []
        for step in (0.0, 1.0):
            pixel = before + step
            share = 1.0 - graph.node("Abs", place - pixel)
            share = graph.where((pixel >= 0.0) & (pixel <= last), share, 0.0)
            held = graph.node("Min", graph.node("Max", pixel, graph.constant(0.0)), graph.scalar(last))
            each.append((graph.cast(held, INT), share))
        corners.append(each)
    for (row, down), (column, across) in itertools.product(*corners):
        index = graph.node("Unsqueeze", row * graph.vector([width]) + column, first)
        points = graph.vector([images, channels, graph.size(index, 2)])
        taken = graph.node("GatherElements", flat, graph.node("Expand", index, points), axis=2)
        part = taken * graph.node("Unsqueeze", down * across, first)
        total = part if total is None else total + part
    return total
