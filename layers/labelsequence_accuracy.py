"""LabelsequenceAccuracy (CRNN): the share of items whose whole sequence of labels is read right; a metric.

Bottoms: scores (N, T, C) of T steps, labels (N, L), filled up with `blank_label`.  What is read are the classes of the
highest scores, a run of one class as one, without blanks.

Source: "An End-to-End Trainable Neural Network for Image-based Sequence Recognition" (Shi et al., 2017).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class LabelsequenceAccuracy(Layer):
    type = "LabelsequenceAccuracy"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def infer(self, shapes):
        scores, labels = shapes
        if len(scores) < 3 or set(scores[3:]) - {1} or len(labels) < 2 or labels[0] != scores[0]:
            raise ShapeFault(f"scores of shape {scores} and labels of shape {labels}: give (N, T, C) and (N, L)")
        return [()]

    def forward(self, xs):
        xp, blank = self.xp, self.spec.labelsequence_accuracy_param.blank_label
        said = xs[0].reshape(xs[0].shape[:3]).argmax(2)
        before = xp.concatenate([xp.full((len(said), 1), blank), said[:, :-1]], 1)
        wanted = xs[1].reshape(len(said), math.prod(xs[1].shape[1:])).astype(int)
        read = self._packed(said, (said != before) & (said != blank))
        truth = self._packed(wanted, wanted != blank)
        length = max(read.shape[1], truth.shape[1])
        read, truth = (
            xp.pad(each, ((0, 0), (0, length - each.shape[1])), constant_values=-1) for each in (read, truth)
        )
        return [xp.asarray((read == truth).all(1).sum() / max(len(said), 1), xs[0].dtype)]

    def backward(self, dys, need):
        return [None, None]

    def _packed(self, values, keep):
        """Each row's values that are kept first, in their order, then -1."""
        xp = self.xp
        order = xp.argsort(~keep, axis=1, kind="stable")
        return xp.take_along_axis(xp.where(keep, values, -1), order, 1)
