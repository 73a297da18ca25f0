"""Axpy (SENet): scale * x + y, with one scale per channel of an item.

Bottoms: scale (N, C) or (N, C, 1, 1), x and y (N, C, ...); the top has x's shape.

Source: "Squeeze-and-excitation networks" (Hu et al., 2017).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class Axpy(Layer):
    type = "Axpy"
    launches_only = True
    bottoms = (3, 3)

    def infer(self, shapes):
        scale, x, y = shapes
        if len(x) < 2 or scale[:2] != x[:2] or set(scale[2:]) - {1}:
            raise ShapeFault(f"scale has shape {scale} and x {x}: needed is one scale per item and channel, {x[:2]}")
        if x != y:
            raise ShapeFault(f"x and y have shapes {x} and {y}: they must be equal")
        return [x]

    def forward(self, xs):
        scale, x, y = xs
        column = scale.reshape(*x.shape[:2], *(1 for _ in x.shape[2:]))
        if self.keep:
            self.saved = scale.shape, column, x
        return [column * x + y]

    def backward(self, dys, need):
        (dy,), (shape, column, x) = dys, self.saved
        dscale = (dy * x).sum(tuple(range(2, x.ndim))).reshape(shape) if need[0] else None
        return [dscale, dy * column if need[1] else None, dy if need[2] else None]

    def to_onnx(self, graph, xs):
        scale, x, y = xs
        return [graph.reshape(scale, [*graph.sizes(x)[:2], *(1 for _ in x.shape[2:])]) * x + y]
