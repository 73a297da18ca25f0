"""PReLU: y = x for positive x, slope * x below; one learned slope per channel, or one for all (channel_shared)."""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import FillerParameter


class PReLU(Layer):
    type = "PReLU"
    launches_only = True
    in_place = is_prelu = True

    @property
    def relu_slope(self):
        return self.params[0].data

    @property
    def takes_nhwc(self):
        return not self.keep  # backward needs the numbers

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.prelu_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: slopes belong to channels, axis 1, which is missing")
        filler = param.filler if param.HasField("filler") else FillerParameter(type="constant", value=0.25)
        return [Param(() if param.channel_shared else (shape[1],), filler)]

    def infer(self, shapes):
        (shape,), slopes = shapes, self.params[0].shape
        if slopes and shape[1:2] != slopes:
            raise ShapeFault(f"the bottom has shape {shape}, but there are slopes for {slopes[0]} channels")
        return [shape]

    def forward(self, xs):
        if self.keep:
            self.saved = xs[0]
        return [self.be.prelu_forward(xs[0], self.params[0].data)]

    def backward(self, dys, need):
        x, (dy,), (slope,) = self.saved, dys, self.params
        if slope.grad is not None:
            axes = (0, *range(2, x.ndim)) if slope.shape else None
            slope.grad += (dy * self.xp.minimum(x, 0)).sum(axes)
        return [self.be.prelu_backward(dy, x, slope.data) if need[0] else None]

    def to_onnx(self, graph, xs):
        column = (-1, *(1 for _ in xs[0].shape[2:]))
        return [graph.node("PRelu", xs[0], graph.param(0, shape=column))]
