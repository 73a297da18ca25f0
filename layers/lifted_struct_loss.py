"""LiftedStructSimilaritySoftmaxLoss (Deep Metric Learning): all pairs of a batch against all its negatives.

Bottoms: embeddings (N, D), labels (N,).  With the distances d, over the P pairs i < j of one label,

    J(i, j) = log(sum of exp(margin - d) over the negatives of i and those of j) + d(i, j)
    loss = sum of max(0, J)^2 / 2P

Source: "Deep metric learning via lifted structured feature embedding" (Song et al., 2016).
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class LiftedStructSimilaritySoftmaxLoss(LossLayer):
    type = "LiftedStructSimilaritySoftmaxLoss"
    fields = ("lifted_struct_sim_softmax_loss_param",)

    def infer(self, shapes):
        x, labels = shapes
        if labels[:1] != x[:1] or set(labels[1:]) - {1}:
            raise ShapeFault(f"embeddings of shape {x} and labels of shape {labels}: give one label for each item")
        return [()]

    def forward(self, xs):
        xp, x, labels = self.xp, xs[0].reshape(len(xs[0]), math.prod(xs[0].shape[1:])), xs[1].reshape(-1).astype(int)
        margin = self.spec.lifted_struct_sim_softmax_loss_param.margin
        apart = x[:, None] - x[None]
        distance = xp.sqrt(xp.square(apart).sum(2))
        same = labels[:, None] == labels[None]
        pairs = xp.triu(same, 1)
        negatives = xp.where(same, 0, xp.exp(margin - distance))
        sums = negatives.sum(1)
        both = sums[:, None] + sums[None]
        counts = pairs & (both > 0)
        both = xp.where(both > 0, both, 1)
        hinge = xp.where(counts, xp.maximum(xp.log(both) + distance, 0), 0)
        over = xp.maximum(pairs.sum(), 1)
        if self.keep:
            slope = (hinge / over).astype(x.dtype)  # of the loss along J
            through = slope / both
            ddistance = slope - (through.sum(0) + through.sum(1))[:, None] * negatives
            ddistance = (ddistance + ddistance.T) / xp.where(distance > 0, distance, 1)
            self.saved = (ddistance[:, :, None] * apart).sum(1).reshape(xs[0].shape)
        return [xp.asarray(xp.square(hinge).sum() / (2 * over), x.dtype)]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None, None]
