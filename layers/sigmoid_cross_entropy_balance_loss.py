"""SigmoidCrossEntropyBalanceLoss (HED, OSVOS): cross entropy of sigmoid(x) in which both classes weigh as much.

A pixel of an edge (target above 0.5) weighs the share of pixels without one, and the other way round; shares are those
of the image.  The sum over all pixels is divided by the batch size.  Pixels of loss_param's ignore_label do not count.

Source: "Holistically-nested edge detection" (Xie and Tu, 2015).
"""

import math

from demitasse.layers.labels import check_targets
from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import LossParameter


class SigmoidCrossEntropyBalanceLoss(LossLayer):
    type = "SigmoidCrossEntropyBalanceLoss"
    fields = ("loss_param",)

    def setup(self, shapes):
        param = self.spec.loss_param
        if param.class_weight or param.class_weighting or param.weight_by_label_freqs:
            raise SchemaFault("the two classes are weighed by their shares of the image: leave class weights out")
        return []

    def infer(self, shapes):
        check_targets(*shapes)
        return [()]

    def forward(self, xs):
        xp, x, target = self.xp, xs[0], xs[1].reshape(xs[0].shape)
        param, axes = self.spec.loss_param, tuple(range(1, x.ndim))
        counts = xp.ones(x.shape, x.dtype)
        if param.HasField("ignore_label"):
            counts = (xp.trunc(target) != param.ignore_label).astype(x.dtype)
        edges = (target > 0.5).astype(x.dtype)
        total = xp.maximum(counts.sum(axes, keepdims=True), 1)
        share = (edges * counts).sum(axes, keepdims=True) / total
        weights = counts * (edges * (1 - share) + (1 - edges) * share)
        losses = xp.maximum(x, 0) - x * edges + xp.log1p(xp.exp(-xp.abs(x)))
        over = self.divisor(math.prod(x.shape[:1]), math.prod(x.shape[1:]), None, LossParameter.BATCH_SIZE)
        if self.keep:
            self.saved = x, edges, weights / over
        return [xp.asarray((weights * losses).sum() / over, x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        x, edges, weights = self.saved
        return [(self.be.sigmoid(x) - edges) * weights * dys[0], None]
