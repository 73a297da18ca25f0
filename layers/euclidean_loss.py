"""EuclideanLoss: sum((a - b)^2) / 2N over bottoms of equal count and batch size N; both sides get a gradient."""

import math

from layers.layer import LossLayer
from proto.errors import ShapeFault


class EuclideanLoss(LossLayer):
    type = "EuclideanLoss"
    never_differentiable = ()

    def infer(self, shapes):
        a, b = shapes
        if a[:1] != b[:1] or math.prod(a) != math.prod(b):
            raise ShapeFault(f"the bottoms have shapes {a} and {b}: batch size and count must be equal")
        return [()]

    def forward(self, xs):
        xp, (a, b) = self.xp, xs
        apart = a - b.reshape(a.shape)
        if self.keep:
            self.saved = apart, b.shape
        n = max(len(a), 1) if a.ndim else 1
        return [xp.asarray(xp.square(apart).sum() / (2 * n), a.dtype)]

    def backward(self, dys, need):
        apart, b_shape = self.saved
        slope = dys[0] / (max(len(apart), 1) if apart.ndim else 1)
        return [slope * apart if need[0] else None, (-slope * apart).reshape(b_shape) if need[1] else None]
