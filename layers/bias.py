"""Bias: y = x + b, where b (learned, or bottom 1) spans `num_axes` axes of x from `axis` on."""

from demitasse.layers.layer import Param
from demitasse.layers.span import SpanLayer


class Bias(SpanLayer):
    type = "Bias"
    launches_only = True

    def setup(self, shapes):
        shape = self.span(self.spec.bias_param, shapes)
        return [Param(shape, self.spec.bias_param.filler)] if len(shapes) == 1 else []

    def infer(self, shapes):
        self.check_span(shapes[0], shapes[1] if len(shapes) > 1 else self.params[0].shape)
        return [shapes[0]]

    def forward(self, xs):
        bias = xs[1] if len(xs) > 1 else self.params[0].data
        self.saved = bias.shape if self.keep else None
        return [xs[0] + self.stretched(bias, xs[0].ndim)]

    def backward(self, dys, need):
        (dy,) = dys
        if self.params and self.params[0].grad is not None:
            self.params[0].grad += self.summed(dy, self.saved)
        return [dy if need[0] else None, self.summed(dy, self.saved) if need[1:] == [True] else None][: len(need)]

    def to_onnx(self, graph, xs):
        return [xs[0] + self.stretched_in(graph, xs, 0)]
