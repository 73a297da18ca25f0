"""PairwiseLoss (HashNet): codes of items that share a label are to be alike, those of others not.

Bottoms: codes a (N, D), labels of a (N, L), codes b (N, D), labels of b (N, L); labels are 0 and 1 for each of L
classes.  All N x N pairs count.  With d = sigmoid_param * (a . b) and s = 1 where the two share a label, else 0,

    loss = 2 * l_lambda * sum of w * (log(1 + exp(d)) - s * d) / sum of v

v is class_num where s = 1 and else 1; w is v, and with continous_similarity (so spelt) times 4 (y . z)^2 / |y|^2 |z|^2
of the labels y and z where s = 1.  Pairs whose labels are unknown (y . z negative, or not below L) do not count.
The fork shows half of this, whose gradient it has, without the factors of continous_similarity.

Source: "HashNet: Deep Learning to Hash by Continuation" (Cao et al., 2017), 3.1.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class PairwiseLoss(LossLayer):
    type = "PairwiseLoss"
    fields = ("pairwise_param",)
    bottoms = (4, 4)
    never_differentiable = (1, 3)

    def infer(self, shapes):
        a, y, b, z = shapes
        if len(a) < 2 or a != b or len(y) < 2 or y != z or y[0] != a[0]:
            raise ShapeFault(
                f"codes of shapes {a} and {b} and labels of shapes {y} and {z}: as many items of each are expected, "
                "codes of one length, and labels with a number for each class (label_dim of ImageData)"
            )
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.pairwise_param
        a, y, b, z = (x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0) for x in xs)
        shared = y @ z.T
        known, same = (shared >= 0) & (shared < y.shape[1]), shared > 0
        counts = xp.where(known, xp.where(same, param.class_num, 1), 0)
        weights = counts
        if param.continous_similarity:
            lengths = xp.square(y).sum(1)[:, None] * xp.square(z).sum(1)
            weights = xp.where(same, counts * 4 * xp.square(shared) / xp.where(lengths > 0, lengths, 1), counts)
        alike = param.sigmoid_param * (a @ b.T)
        losses = xp.maximum(alike, 0) + xp.log1p(xp.exp(-abs(alike))) - xp.where(same, alike, 0)
        over = xp.maximum(counts.sum(), 1e-20)
        factor = 2 * param.l_lambda / over
        if self.keep:
            likely = 0.5 * (1 + xp.tanh(alike / 2))
            slopes = (weights * (likely - same) * (factor * param.sigmoid_param)).astype(a.dtype)
            self.saved = (slopes @ b).reshape(xs[0].shape), (slopes.T @ a).reshape(xs[2].shape)
        return [xp.asarray((weights * losses).sum() * factor, a.dtype)]

    def backward(self, dys, need):
        da, db = self.saved
        return [dys[0] * da if need[0] else None, None, dys[0] * db if need[2] else None, None]
