"""SoftmaxWithLossOHEM (R-FCN): SoftmaxWithLoss, which can also tell the loss of each pixel.

Bottoms: scores and labels, one for each pixel of the scores; tops: the loss, the probabilities, and the loss of each
pixel, in the scores' shape with 1 for the classes and 0 where the label is `ignore_label`, for BoxAnnotatorOHEM to
choose by.  The sum is divided as in SoftmaxWithLoss, or by pre_fixed_normalizer with normalization: PRE_FIXED.
Source: "R-FCN" (Dai et al., 2016), 2.2; "Training Region-based Object Detectors with Online Hard Example Mining"
(Shrivastava et al., 2016).
"""

import math

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import LossLayer, axis_index


class SoftmaxWithLossOHEM(LossLayer):
    type = "SoftmaxWithLossOHEM"
    ignores = "loss_param"
    fields = ("softmax_param", "loss_param")
    tops = (1, 3)
    later_tops_send = False

    def setup(self, shapes):
        param = self.spec.loss_param
        self.axis = axis_index(self.spec.softmax_param.axis, shapes[0])
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.weights = self.class_weights(shapes[0][self.axis])
        return []

    def infer(self, shapes):
        check_labels(*shapes, self.axis)
        return [(), shapes[0], self._places(shapes[0])][: max(1, len(self.spec.top))]

    def forward(self, xs):
        scores, labels = xs[0], xs[1].astype("int32")
        weights = self._weights()
        prob, loss, valid = self.be.softmax_loss_forward(scores, labels, self.axis, self.ignore, weights)
        outer, inner = math.prod(scores.shape[: self.axis]), math.prod(scores.shape[self.axis + 1 :])
        divisor = self.divisor(outer, inner, valid)
        if self.keep:
            self.saved = prob, labels, divisor
        tops = [self.be.asarray(loss / divisor), prob]
        if len(self.spec.top) > 2:
            tops.append(self._losses(prob, labels, weights))
        return tops[: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        prob, labels, divisor = self.saved
        parts = []
        if len(dys) > 1 and dys[1] is not None:
            parts.append(self.be.softmax_backward(dys[1], prob, self.axis))
        scale = 0 if dys[0] is None else dys[0] / divisor
        if len(dys) > 2 and dys[2] is not None:
            scale = scale + dys[2]
        if len(dys) > 2 or dys[0] is not None:
            each = self.be.softmax_loss_backward(prob, labels, self.axis, self.ignore, 1, self._weights())
            parts.append(each * self.xp.asarray(scale, prob.dtype))
        return [sum(parts[1:], parts[0]), None]

    def _losses(self, prob, labels, weights):
        """The loss of each pixel."""
        shape = self._places(prob.shape)
        classes, counts = self.be.checked_labels(prob.shape, labels, self.axis, self.ignore)
        chosen = self.xp.take_along_axis(prob, classes.reshape(shape), axis=self.axis)
        losses = -self.xp.log(self.xp.maximum(chosen, self.xp.finfo(prob.dtype).tiny))
        if weights is not None:
            losses = losses * weights[classes].reshape(shape)
        return self.xp.where(counts.reshape(shape), losses, 0)

    def _places(self, shape):
        return (*shape[: self.axis], 1, *shape[self.axis + 1 :])

    def _weights(self):
        return self.be.asarray(self.weights) if self.weights else None
