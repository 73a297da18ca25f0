"""Exp: y = base ** (shift + scale * x); base -1 (the default) stands for e."""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Exp(Layer):
    type = "Exp"
    launches_only = True
    in_place = True

    def setup(self, shapes):
        param = self.spec.exp_param
        if param.base != -1 and param.base <= 0:
            raise SchemaFault(f"exp_param.base is {param.base:g}: it must be above 0, or -1 for e")
        log_base = 1.0 if param.base == -1 else math.log(param.base)
        self.rate, self.start = log_base * param.scale, log_base * param.shift  # y = exp(start + rate * x)
        return []

    def forward(self, xs):
        y = self.xp.exp(self.start + self.rate * xs[0])
        if self.keep:
            self.saved = y
        return [y]

    def backward(self, dys, need):
        return [dys[0] * self.saved * self.rate if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Exp", self.start + self.rate * xs[0])]
