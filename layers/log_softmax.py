"""LogSoftmax: y = x - log(sum(exp(x))) along `axis`, the logarithm of Softmax.

MyCaffe's name for it is Softmax with `algorithm: LOG`, or `algorithm_train: LOG`, which are upgraded to it; with the
latter alone TEST gives the softmax itself (in_test: false).

Source: the prototxts of MyCaffe.
"""

from demitasse.layers.layer import Layer, axis_index


class LogSoftmax(Layer):
    type = "LogSoftmax"
    in_place = True

    def setup(self, shapes):
        param = self.spec.log_softmax_param
        self.logs = param.in_train if self.train else param.in_test
        return []

    def infer(self, shapes):
        axis_index(self.spec.log_softmax_param.axis, shapes[0])
        return [shapes[0]]

    def forward(self, xs):
        xp, x = self.xp, xs[0]
        axis = axis_index(self.spec.log_softmax_param.axis, x.shape)
        y = soft = self.be.softmax_forward(x, axis)
        if self.logs:
            highest = x.max(axis=axis, keepdims=True)
            y = x - highest - xp.log(xp.exp(x - highest).sum(axis=axis, keepdims=True))
        if self.keep:
            self.saved = soft, axis
        return [y]

    def backward(self, dys, need):
        soft, axis = self.saved
        if not need[0]:
            return [None]
        if not self.logs:
            return [self.be.softmax_backward(dys[0], soft, axis)]
        return [dys[0] - soft * dys[0].sum(axis=axis, keepdims=True)]

    def to_onnx(self, graph, xs):
        kind = "LogSoftmax" if self.logs else "Softmax"
        return [graph.node(kind, xs[0], axis=self.spec.log_softmax_param.axis % len(xs[0].shape))]
