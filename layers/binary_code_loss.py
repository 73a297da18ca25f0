"""K1_EuclideanLoss, K2_EuclideanLoss (SSDH): codes between 0 and 1 are to be far from 0.5, and 0.5 on average.

Bottoms: codes (N, ...), and the same again, which is not read.  With C numbers in all,

    K1 = -sum (x - 0.5)^2 / (2 C N)        K2 = (mean of x - 0.5)^2 / (2 N)

Source: "Supervised Learning of Semantics-Preserving Hash via Deep Convolutional Neural Networks" (Yang et al., 2018),
3.2, whose nets call them so; the factors are those of its fork.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class _CodeLoss(LossLayer):
    def infer(self, shapes):
        if shapes[0] != shapes[1] or not shapes[0]:
            raise ShapeFault(f"the bottoms have shapes {shapes[0]} and {shapes[1]}: write the codes (N, ...) twice")
        return [()]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None, None]


class K1EuclideanLoss(_CodeLoss):
    """How far codes are from one half, negative, for them to be binary."""

    type = "K1_EuclideanLoss"
    launches_only = True

    def forward(self, xs):
        xp, apart = self.xp, xs[0] - 0.5
        over = max(1, math.prod(apart.shape) * len(apart))
        if self.keep:
            self.saved = apart / -over
        return [xp.asarray(-xp.square(apart).sum() / (2 * over), apart.dtype)]


class K2EuclideanLoss(_CodeLoss):
    """How far the mean of all codes is from one half, for as many to be 0 as 1."""

    type = "K2_EuclideanLoss"
    launches_only = True

    def forward(self, xs):
        xp, (x, _) = self.xp, xs
        apart, n = x.sum() / max(1, x.size) - 0.5, max(1, len(x))
        if self.keep:
            self.saved = xp.zeros_like(x) + apart / (max(1, x.size) * n)
        return [xp.asarray(xp.square(apart) / (2 * n), x.dtype)]
