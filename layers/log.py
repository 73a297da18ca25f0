"""Log: y = log_base(shift + scale * x); base -1 (the default) stands for e."""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Log(Layer):
    type = "Log"
    launches_only = True
    in_place = True

    def setup(self, shapes):
        base = self.spec.log_param.base
        if base != -1 and (base <= 0 or base == 1):
            raise SchemaFault(f"log_param.base is {base:g}: it must be above 0 and not 1, or -1 for e")
        self.unit = 1.0 if base == -1 else 1 / math.log(base)
        return []

    def forward(self, xs):
        param = self.spec.log_param
        inner = param.shift + param.scale * xs[0]
        if self.keep:
            self.saved = inner
        return [self.xp.log(inner) * self.unit]

    def backward(self, dys, need):
        slope = self.unit * self.spec.log_param.scale
        return [dys[0] * slope / self.saved if need[0] else None]

    def to_onnx(self, graph, xs):
        param = self.spec.log_param
        return [graph.node("Log", param.shift + param.scale * xs[0]) * self.unit]
