"""Clip: y = x held between min and max; the gradient passes where min <= x <= max."""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Clip(Layer):
    type = "Clip"
    launches_only = True
    in_place = True

    def setup(self, shapes):
        param = self.spec.clip_param
        if not (param.HasField("min") and param.HasField("max")):
            raise SchemaFault("clip_param needs both ends: write clip_param { min: 0 max: 6 }")
        if param.min > param.max:
            raise SchemaFault(f"clip_param has min {param.min:g} above max {param.max:g}: exchange them")
        return []

    def forward(self, xs):
        param = self.spec.clip_param
        if self.keep:
            self.saved = xs[0]
        return [self.xp.clip(xs[0], param.min, param.max)]

    def backward(self, dys, need):
        param, x = self.spec.clip_param, self.saved
        return [dys[0] * ((x >= param.min) & (x <= param.max)) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.clip(xs[0], self.spec.clip_param.min, self.spec.clip_param.max)]
