"""SoftmaxCrossEntropyLoss: the cross entropy of softmax(scores) with probabilities, as mixed or softened labels are.

Bottoms: scores and targets of one shape, with the classes along `axis` (softmax_param, 1).  The top is the sum of
-target * log(softmax(scores)) over all, divided by the number of items, or what loss_param.normalization says; a second
top is the softmax.  The targets take no gradient.

Source: "mixup: Beyond empirical risk minimization" (Zhang et al., 2018), whose labels are such.
"""

import math

from demitasse.layers.layer import LossLayer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import LossParameter


class SoftmaxCrossEntropyLoss(LossLayer):
    type = "SoftmaxCrossEntropyLoss"
    tops = (1, 2)
    fields = ("softmax_param", "loss_param")

    def setup(self, shapes):
        unread = [field.name for field, _ in self.spec.loss_param.ListFields() if not self._is_read(field.name)]
        if unread:
            raise SchemaFault(f"loss_param.{unread[0]} is not read, as targets are no class numbers: leave it out")
        return []

    @staticmethod
    def _is_read(name):
        return name.startswith("normaliz") or name == "pre_fixed_normalizer"

    def infer(self, shapes):
        scores, targets = shapes
        axis_index(self.spec.softmax_param.axis, scores)
        if scores != targets:
            raise ShapeFault(
                f"scores have shape {scores}, targets {targets}: they must be equal, a probability for each class "
                "(SoftmaxWithLoss takes numbers of classes)"
            )
        return [(), scores][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, (scores, targets) = self.xp, xs
        axis = axis_index(self.spec.softmax_param.axis, scores.shape)
        prob = self.be.softmax_forward(scores, axis)
        logarithms = xp.log(xp.maximum(prob, xp.finfo(prob.dtype).tiny))
        outer, inner = math.prod(scores.shape[:axis]), math.prod(scores.shape[axis + 1 :])
        divisor = self.divisor(outer, inner, default=LossParameter.BATCH_SIZE)
        if self.keep:
            self.saved = prob, targets, axis, divisor
        loss = xp.asarray(-(targets * logarithms).sum() / divisor, scores.dtype)
        return [loss, prob][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        prob, targets, axis, divisor = self.saved
        parts = []
        if dys[0] is not None:
            slopes = prob * targets.sum(axis, keepdims=True) - targets
            parts.append((slopes * (dys[0] / divisor)).astype(prob.dtype))
        if len(dys) > 1 and dys[1] is not None:
            parts.append(self.be.softmax_backward(dys[1], prob, axis))
        return [sum(parts[1:], parts[0]), None]
