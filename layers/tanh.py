"""TanH: y = tanh(x)."""

from demitasse.layers.layer import Layer


class TanH(Layer):
    type = "TanH"
    launches_only = True
    in_place = True

    def forward(self, xs):
        y = self.xp.tanh(xs[0])
        if self.keep:
            self.saved = y
        return [y]

    def backward(self, dys, need):
        return [dys[0] * (1 - self.xp.square(self.saved)) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Tanh", xs[0])]
