"""Swish: y = x * sigmoid(beta * x)."""

from demitasse.layers.layer import Layer


class Swish(Layer):
    type = "Swish"
    launches_only = True
    in_place = True

    def forward(self, xs):
        gate = self.be.sigmoid(self.spec.swish_param.beta * xs[0])
        if self.keep:
            self.saved = xs[0], gate
        return [xs[0] * gate]

    def backward(self, dys, need):
        x, gate = self.saved
        slope = 1 + self.spec.swish_param.beta * x * (1 - gate)
        return [dys[0] * gate * slope if need[0] else None]

    def to_onnx(self, graph, xs):
        return [xs[0] * graph.node("Sigmoid", self.spec.swish_param.beta * xs[0])]
