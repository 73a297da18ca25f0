"""Sigmoid: y = 1 / (1 + exp(-x))."""

from demitasse.layers.layer import Layer


class Sigmoid(Layer):
    type = "Sigmoid"
    launches_only = True
    in_place = True

    def forward(self, xs):
        y = self.be.sigmoid(xs[0])
        if self.keep:
            self.saved = y
        return [y]

    def backward(self, dys, need):
        y = self.saved
        return [dys[0] * y * (1 - y) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Sigmoid", xs[0])]
