"""MultiLabelAccuracy: how scores of 0 and more, yes, and below, no, agree with labels above 0, yes, and below, no.

Labels of 0 are not known.  Top (1, 5, 1, 1): the share of the yes that are found (recall); of the no; the harmonic mean
of both; the share of what is found that is right (precision); the harmonic mean of precision and recall.  0 where there
is nothing to share.

Source: the prototxts and docs of the forks for several labels an image (BVLC's pull request 523).
"""

from demitasse.layers.labels import check_targets
from demitasse.layers.layer import Layer


class MultiLabelAccuracy(Layer):
    type = "MultiLabelAccuracy"
    launches_only = True
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def infer(self, shapes):
        check_targets(*shapes)
        return [(1, 5, 1, 1)]

    def forward(self, xs):
        xp, x, label = self.xp, xs[0], xs[1].reshape(xs[0].shape)
        yes, no, found = label > 0, label < 0, x >= 0
        hits, misses = (yes & found).sum(), (no & ~found).sum()
        recall, specificity = self._share(hits, yes.sum()), self._share(misses, no.sum())
        precision = self._share(hits, ((yes | no) & found).sum())
        shares = [recall, specificity, self._mean(recall, specificity), precision, self._mean(precision, recall)]
        return [xp.stack(shares).astype(x.dtype).reshape(1, 5, 1, 1)]

    def backward(self, dys, need):
        return [None, None]

    def _share(self, part, whole):
        return part / self.xp.maximum(whole, 1)

    def _mean(self, a, b):
        """The harmonic mean."""
        return 2 * a * b / self.xp.where(a + b > 0, a + b, 1)
