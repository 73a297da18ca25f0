"""ScaleTanH (HashNet): y = tanh(s * x), whose s grows while a net is trained, so that codes come to be -1 and 1.

s = init_scale * (1 + gamma * k) ** power, where k counts the backward passes, step_size of them at a time.  Bottom and
top: any shape.

Source: "HashNet: Deep Learning to Hash by Continuation" (Cao et al., 2017), 3.2, and the fields of its nets.
"""

from demitasse.layers.counted import CountsPasses
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class ScaleTanH(CountsPasses, Layer):
    type = "ScaleTanH"
    in_place = True

    def setup(self, shapes):
        if self.spec.scale_tanh_param.step_size < 1:
            raise SchemaFault("step_size is 0, but the scale grows every so many passes: give 1 or more")
        return []

    def forward(self, xs):
        scale = self.scale()
        y = self.xp.tanh(xs[0] * scale)
        if self.keep:
            self.saved = y, scale
        return [y]

    def backward(self, dys, need):
        self.passes += 1
        if not need[0]:
            return [None]
        y, scale = self.saved
        return [dys[0] * (1 - y * y) * scale]

    def to_onnx(self, graph, xs):
        return [graph.node("Tanh", xs[0] * self.scale())]

    def scale(self) -> float:
        """s, as it is now."""
        param = self.spec.scale_tanh_param
        steps = self.passes // param.step_size * param.step_size
        return param.init_scale * (1 + param.gamma * steps) ** param.power
