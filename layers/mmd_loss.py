"""MMDLoss: how far apart two domains' features are, as their maximum mean discrepancy.

Bottoms: features of the source (N, ...) and of the target (M, ...), as many numbers an item.  Top: over the pairs of
different items within each domain, and those of one from each,

    mean k(s, s') + mean k(t, t') - 2 mean k(s, t),    k(a, b) = sum of exp(-g m^i |a - b|^2), i from -(kernel_num // 2)

with m = kernel_mul and g one over the mean squared distance of all pairs of items, which is taken for a constant when
the gradients are made; with fix_gamma it stays what the first batch made it.  The forks draw as many pairs as there are
items; this is what they estimate.

Source: "Learning Transferable Features with Deep Adaptation Networks" (Long et al., 2015), 3; the fields of its nets.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class MMDLoss(LossLayer):
    type = "MMDLoss"
    fields = ("mmd_param",)
    never_differentiable = ()
    gamma: float | None = None

    def setup(self, shapes):
        param = self.spec.mmd_param
        if param.kernel_num < 1 or param.kernel_mul <= 0:
            raise SchemaFault("kernel_num has to be 1 or more and kernel_mul above 0: they say which widths are summed")
        return []

    def infer(self, shapes):
        a, b = shapes
        if not a or not b or math.prod(a[1:]) != math.prod(b[1:]):
            raise ShapeFault(f"the domains have shapes {a} and {b}: as many numbers an item are expected of both")
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.mmd_param
        source, target = (x.reshape(len(x), math.prod(x.shape[1:])) for x in xs)
        x, n, total = xp.concatenate([source, target]), len(source), len(source) + len(target)
        squares = xp.square(x).sum(1)
        apart = xp.maximum(squares[:, None] + squares - 2 * (x @ x.T), 0)
        gamma = self.gamma
        if gamma is None or not param.fix_gamma:
            gamma = total * (total - 1) / max(float(apart.sum()), 1e-20)
        if self.train:
            self.gamma = gamma
        own = xp.arange(total) < n
        same = own[:, None] == own
        pairs = xp.where(own, n * (n - 1), (total - n) * (total - n - 1))[:, None]
        weights = xp.where(same, 1 / xp.maximum(pairs, 1), -1 / max(1, n * (total - n)))
        weights = xp.where(xp.eye(total, dtype=bool), 0, weights).astype(x.dtype)
        loss, slopes = 0, 0
        for i in range(param.kernel_num):
            steep = gamma * param.kernel_mul ** (i - param.kernel_num // 2)
            alike = weights * xp.exp(-steep * apart)
            loss, slopes = loss + alike.sum(), slopes - steep * alike
        if self.keep:
            grads = 4 * (slopes.sum(1, keepdims=True) * x - slopes @ x)
            self.saved = grads[:n].reshape(xs[0].shape), grads[n:].reshape(xs[1].shape)
        return [xp.asarray(loss, x.dtype)]

    def backward(self, dys, need):
        return [dys[0] * grads if wanted else None for grads, wanted in zip(self.saved, need, strict=True)]

    def state(self):
        return {"gamma": self.gamma}

    def load_state(self, state):
        self.gamma = state["gamma"]
