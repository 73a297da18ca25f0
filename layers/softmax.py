"""Softmax: y = exp(x) / sum(exp(x)) along `axis`."""

from demitasse.layers.layer import Layer, axis_index


class Softmax(Layer):
    type = "Softmax"
    launches_only = True
    in_place = True

    def infer(self, shapes):
        axis_index(self.spec.softmax_param.axis, shapes[0])
        return [shapes[0]]

    def forward(self, xs):
        axis = axis_index(self.spec.softmax_param.axis, xs[0].shape)
        y = self.be.softmax_forward(xs[0], axis)
        if self.keep:
            self.saved = y, axis
        return [y]

    def backward(self, dys, need):
        return [self.be.softmax_backward(dys[0], *self.saved) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Softmax", xs[0], axis=self.spec.softmax_param.axis % len(xs[0].shape))]
