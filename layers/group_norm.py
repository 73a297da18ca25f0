"""GroupNorm: each item's channels, in group_num groups, to mean 0 and variance 1 over a group's channels and pixels.

y = (x - mean) / sqrt(variance + eps), in TRAIN and in TEST alike; scale and shift are left to a Scale layer.
Bottom and top: (N, C, ...), C a multiple of group_num.

Source: "Group Normalization" (Wu and He, 2018).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class GroupNorm(Layer):
    type = "GroupNorm"
    in_place = True

    def infer(self, shapes):
        (shape,), groups = shapes, self.spec.group_norm_param.group_num
        if len(shape) < 2 or not groups or shape[1] % groups:
            raise ShapeFault(
                f"the bottom has shape {shape}: group_num {groups} must divide its channels, (N, C, ...), evenly"
            )
        return [shape]

    def forward(self, xs):
        x, n = self._rows(xs[0])
        y = x - x.sum(1, keepdims=True) / n
        spread = self.xp.sqrt(self.xp.square(y).sum(1, keepdims=True) / n + self.spec.group_norm_param.eps)
        y /= spread
        if self.keep:
            self.saved = y, spread
        return [y.reshape(xs[0].shape)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (dy, n), (y, spread) = self._rows(dys[0]), self.saved
        dx = dy - dy.sum(1, keepdims=True) / n - y * ((dy * y).sum(1, keepdims=True) / n)
        dx /= spread
        return [dx.reshape(dys[0].shape)]

    def to_onnx(self, graph, xs):
        sizes = graph.sizes(xs[0])
        x = graph.reshape(xs[0], [sizes[0], self.spec.group_norm_param.group_num, -1])
        y = x - graph.mean(x, [2])
        y = y / graph.node("Sqrt", graph.mean(y * y, [2]) + self.spec.group_norm_param.eps)
        return [graph.reshape(y, sizes)]

    def _rows(self, x):
        """x as a matrix with a group in each row, and how many numbers a row has."""
        rows = x.shape[0] * self.spec.group_norm_param.group_num
        n = math.prod(x.shape) // max(rows, 1)
        return x.reshape(rows, n), max(n, 1)
