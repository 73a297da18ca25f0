"""EuclideanLoss: sum((a - b)^2) / 2N over bottoms of equal count and batch size N; both sides get a gradient."""

import math

from demitasse.layers.labels import transposed
from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class EuclideanLoss(LossLayer):
    type = "EuclideanLoss"
    launches_only = True
    never_differentiable = ()

    def infer(self, shapes):
        a, b = shapes
        if a[:1] != b[:1] or math.prod(a) != math.prod(b):
            raise ShapeFault(f"the bottoms have shapes {a} and {b}: batch size and count must be equal")
        return [()]

    def advice(self, shapes):
        return transposed(*shapes)

    def forward(self, xs):
        xp, (a, b) = self.xp, xs
        apart, n = a - b.reshape(a.shape), max(math.prod(a.shape[:1]), 1)
        if self.keep:
            self.saved = apart, n, b.shape
        return [xp.asarray(xp.square(apart).sum() / (2 * n), a.dtype)]

    def backward(self, dys, need):
        apart, n, b_shape = self.saved
        slope = dys[0] / n
        return [slope * apart if need[0] else None, (-slope * apart).reshape(b_shape) if need[1] else None]

    def to_onnx(self, graph, xs):
        a, b = (graph.reshape(x, [-1]) for x in xs)
        apart, n = a - b, graph.as_float(graph.size(xs[0], 0))
        return [graph.sum(apart * apart, [0], keep=False) / graph.scalar(n * 2.0)]
