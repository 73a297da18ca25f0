"""EntropyLoss: how undecided probabilities are, over the items.

Bottoms: probabilities (N, ...), and maybe labels, which are not read.  Top: -sum p^prob_pow * log(p) / N over those p
that are at least `threshold`; 0 for the first iterations_num passes in TRAIN.

Source: "Unsupervised Domain Adaptation with Residual Transfer Networks" (Long et al., 2016), 3.3; MADA's fields.
"""

from demitasse.layers.counted import CountsPasses
from demitasse.layers.layer import LossLayer


class EntropyLoss(CountsPasses, LossLayer):
    type = "EntropyLoss"
    fields = ("entropy_param",)
    bottoms = (1, 2)

    def infer(self, shapes):
        return [()]

    def forward(self, xs):
        xp, x, param = self.xp, xs[0], self.spec.entropy_param
        n, power = max(1, len(x) if x.ndim else 1), param.prob_pow
        counts = (x >= param.threshold) & (x > 0) & (self.passes >= param.iterations_num)
        self.passes += self.train
        p = xp.where(counts, x, 1)
        sharp, log = p**power, xp.log(p)
        if self.keep:
            self.saved = xp.where(counts, sharp / p * (1 + power * log), 0) / -n, len(xs)
        return [xp.asarray(-(sharp * log).sum() / n, x.dtype)]

    def backward(self, dys, need):
        slopes, count = self.saved
        return [dys[0] * slopes if need[0] else None, None][:count]
