"""Mish (YOLOv4's fork): y = x * tanh(log(1 + exp(x))).

Source: "Mish: a self regularized non-monotonic activation function" (Misra, 2019).
"""

from demitasse.layers.layer import Layer


class Mish(Layer):
    type = "Mish"
    launches_only = True
    in_place = True

    def forward(self, xs):
        (x,) = xs
        squashed = self.xp.tanh(self.xp.logaddexp(x, self.xp.zeros_like(x)))
        if self.keep:
            self.saved = x, squashed
        return [x * squashed]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        x, squashed = self.saved
        return [dys[0] * (squashed + x * (1 - squashed * squashed) * self.be.sigmoid(x))]

    def to_onnx(self, graph, xs):
        return [xs[0] * graph.node("Tanh", graph.node("Softplus", xs[0]))]
