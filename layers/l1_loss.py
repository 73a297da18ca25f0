"""L1Loss (NVIDIA's DetectNet): sum(|a - b|) / N over bottoms of equal count and batch size N; both get a gradient.

EuclideanLoss with absolute values in place of squares, and without its factor 1/2.

Source: the prototxts of NVIDIA's DetectNet.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class L1Loss(LossLayer):
    type = "L1Loss"
    launches_only = True
    never_differentiable = ()

    def infer(self, shapes):
        a, b = shapes
        if math.prod(a) != math.prod(b) or a[:1] != b[:1]:
            raise ShapeFault(f"the bottoms have shapes {a} and {b}: as many numbers for each item are needed")
        return [()]

    def forward(self, xs):
        apart = xs[0] - xs[1].reshape(xs[0].shape)
        if self.keep:
            self.saved = self.xp.sign(apart), xs[1].shape
        return [self.xp.asarray(self.xp.abs(apart).sum() / max(len(apart), 1), apart.dtype)]

    def to_onnx(self, graph, xs):
        a, sizes = xs[0], graph.sizes(xs[0])
        apart = graph.node("Abs", a - graph.reshape(xs[1], sizes))
        return [graph.sum(apart, range(len(sizes)), keep=False) / graph.scalar(graph.larger(sizes[0], 1))]

    def backward(self, dys, need):
        sign, shape = self.saved
        slope = sign * (dys[0] / max(len(sign), 1))
        return [slope if need[0] else None, -slope.reshape(shape) if need[1] else None]
