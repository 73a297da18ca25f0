"""NLLLoss (MyCaffe): minus the mean of what the labels have, where bottom 0 holds logarithms of probabilities.

Bottoms: logarithms (LogSoftmax), classes along `axis`; labels, one for each pixel.  Ignored labels and the divisor are
those of SoftmaxWithLoss.

Source: the prototxts of MyCaffe.
"""

import math

from demitasse.layers.labels import check_labels, transposed
from demitasse.layers.layer import LossLayer, axis_index


class NLLLoss(LossLayer):
    type = "NLLLoss"
    ignores = "loss_param"
    fields = ("nll_loss_param", "loss_param")

    def setup(self, shapes):
        param = self.spec.loss_param
        self.axis = axis_index(self.spec.nll_loss_param.axis, shapes[0])
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.weights = self.class_weights(shapes[0][self.axis])
        return []

    def infer(self, shapes):
        check_labels(*shapes, self.axis)
        return [()]

    def advice(self, shapes):
        return transposed(shapes[0], shapes[1], self.axis)

    def forward(self, xs):
        shape = xs[0].shape
        labels, counts = self.be.checked_labels(shape, xs[1].astype("int32"), self.axis, self.ignore)
        factor = counts * self.be.asarray(self.weights)[labels] if self.weights else counts
        outer, inner = math.prod(shape[: self.axis]), math.prod(shape[self.axis + 1 :])
        divisor = self.divisor(outer, inner, counts.sum())
        own = self.xp.take_along_axis(xs[0], labels, axis=self.axis)
        if self.keep:
            self.saved = shape, labels, factor, divisor
        return [self.be.asarray(-(own * factor).sum() / divisor)]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        shape, labels, factor, divisor = self.saved
        classes = self.xp.arange(shape[self.axis]).reshape(-1, *[1] * len(shape[self.axis + 1 :]))
        return [((labels == classes) * (factor * (-dys[0] / divisor))).astype(dys[0].dtype), None]
