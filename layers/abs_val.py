"""AbsVal: y = |x|."""

from demitasse.layers.layer import Layer


class AbsVal(Layer):
    type = "AbsVal"
    launches_only = True
    in_place = True

    def forward(self, xs):
        if self.keep:
            self.saved = xs[0]
        return [self.xp.abs(xs[0])]

    def backward(self, dys, need):
        return [dys[0] * self.xp.sign(self.saved) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Abs", xs[0])]
