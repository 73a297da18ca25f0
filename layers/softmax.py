"""Softmax: y = exp(x) / sum(exp(x)) along `axis`."""

from demitasse.layers.layer import Layer, axis_index


class Softmax(Layer):
    type = "Softmax"
    in_place = True

    def infer(self, shapes):
        self.axis = axis_index(self.spec.softmax_param.axis, shapes[0])
        return [shapes[0]]

    def forward(self, xs):
        y = self.be.softmax_forward(xs[0], self.axis)
        if self.keep:
            self.saved = y
        return [y]

    def backward(self, dys, need):
        return [self.be.softmax_backward(dys[0], self.saved, self.axis) if need[0] else None]
