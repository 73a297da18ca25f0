"""CtcLoss (CRNN): how improbable a sequence of labels is, where nobody knows which step shows which label.

Bottoms: scores (T, N, C) of T steps, labels (N, L), filled up with `blank_label`.  Of the T steps each says a label, or
the blank; a run of one label is read as one, blanks are left out.  The top is -log of the sum of the softmax
probabilities of all ways to say the item's labels, averaged over the batch.  Labels that T steps cannot say cost 0.

Source: "Connectionist Temporal Classification" (Graves et al., 2006), 4.1.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault

NEVER = -1e30  # log(0)


class CtcLoss(LossLayer):
    type = "CtcLoss"
    fields = ("ctc_loss_param",)

    def infer(self, shapes):
        (scores, labels), param = shapes, self.spec.ctc_loss_param
        if len(scores) < 3 or set(scores[3:]) - {1} or len(labels) < 2 or labels[0] != scores[1]:
            raise ShapeFault(f"scores of shape {scores} and labels of shape {labels}: give (T, N, C) and (N, L)")
        if not scores[0]:
            raise ShapeFault(f"scores of shape {scores} have no steps")
        for field, size in (("time_step", scores[0]), ("alphabet_size", scores[2])):
            if param.HasField(field) and getattr(param, field) != size:
                raise SchemaFault(
                    f"ctc_loss_param.{field} is {getattr(param, field)}, but the scores {scores} say {size}"
                )
        if not 0 <= param.blank_label < scores[2]:
            raise SchemaFault(f"blank_label {param.blank_label} is none of the {scores[2]} classes")
        return [()]

    def forward(self, xs):
        be, xp, blank = self.be, self.xp, self.spec.ctc_loss_param.blank_label
        scores, labels = xs[0].reshape(xs[0].shape[:3]), self._packed(xs[1], xs[0].shape[2], blank)
        steps, items = scores.shape[:2]
        p = be.softmax_forward(scores, 2)
        said = xp.full((items, 2 * labels.shape[1] + 1), blank)  # a blank before, between and after the labels
        said[:, 1::2] = labels
        ends = 2 * (labels != blank).sum(1)  # the last blank
        logs = xp.log(xp.maximum(p, 1e-30)).transpose(1, 0, 2)
        logs = xp.take_along_axis(logs, said[:, None, :].repeat(steps, 1), 2)  # (N, T, S)
        skips = xp.zeros(said.shape, bool)  # where the blank before a label may be left out
        skips[:, 2:] = (said[:, 2:] != blank) & (said[:, 2:] != said[:, :-2])
        ahead = self._ways(logs, skips)  # of the first steps, up to each state
        total = self._total(ahead[:, -1], ends)
        possible = total > NEVER / 2
        if self.keep:
            self.saved = xs[0].shape, p, self._slope(p, said, ahead, logs, skips, ends, total, possible) / max(items, 1)
        return [xp.asarray(-xp.where(possible, total, 0).sum() / max(items, 1), p.dtype)]

    def backward(self, dys, need):
        shape, _, slope = self.saved
        return [(dys[0] * slope).reshape(shape) if need[0] else None, None]

    def _packed(self, labels, classes, blank):
        """(N, L) int: the labels of each item first, then blanks; LabelFault for one that is no class."""
        xp, labels = self.xp, labels.reshape(len(labels), math.prod(labels.shape[1:])).astype(int)
        wrong = (labels < 0) | (labels >= classes)
        if wrong.any():
            raise LabelFault(f"label {int(labels[wrong][0])} is none of the {classes} classes, 0 to {classes - 1}")
        order = xp.argsort(labels == blank, axis=1, kind="stable")
        return xp.take_along_axis(labels, order, 1)

    def _ways(self, logs, skips):
        """(N, T, S): log of the sum over all ways to be in a state (a label or a blank) after each step."""
        xp, steps = self.xp, logs.shape[1]
        ways = xp.full(logs.shape, NEVER, logs.dtype)
        ways[:, 0, :2] = logs[:, 0, :2]
        for t in range(1, steps):
            before = ways[:, t - 1]
            stay, one, two = before, self._shifted(before, 1), xp.where(skips, self._shifted(before, 2), NEVER)
            ways[:, t] = xp.maximum(xp.logaddexp(xp.logaddexp(stay, one), two) + logs[:, t], NEVER)
        return ways

    def _shifted(self, array, by):
        """(N, S) moved on by `by` states."""
        moved = self.xp.full(array.shape, NEVER, array.dtype)
        moved[:, by:] = array[:, : max(array.shape[1] - by, 0)]
        return moved

    def _total(self, last, ends):
        """(N,): both the last blank and the label before it end a sequence."""
        xp, rows = self.xp, self.xp.arange(len(last))
        before = xp.where(ends > 0, last[rows, xp.maximum(ends - 1, 0)], NEVER)
        return xp.logaddexp(last[rows, ends], before)

    def _slope(self, p, said, ahead, logs, skips, ends, total, possible):
        """(T, N, C): the derivative by the scores: the softmax less the share of ways that are at each class."""
        xp, (_, steps, states) = self.xp, logs.shape
        behind = xp.full(logs.shape, NEVER, logs.dtype)  # of the steps that follow
        state = xp.arange(states)
        final = (state == ends[:, None]) | ((state == ends[:, None] - 1) & (ends[:, None] > 0))
        behind[:, -1] = xp.where(final, 0, NEVER)
        ahead_skips = xp.zeros(skips.shape, bool)
        ahead_skips[:, :-2] = skips[:, 2:]
        for t in range(steps - 2, -1, -1):
            after = (behind[:, t + 1] + logs[:, t + 1])[:, ::-1]
            one, two = self._shifted(after, 1)[:, ::-1], self._shifted(after, 2)[:, ::-1]
            two = xp.where(ahead_skips, two, NEVER)
            behind[:, t] = xp.maximum(xp.logaddexp(xp.logaddexp(after[:, ::-1], one), two), NEVER)
        share = xp.exp(xp.minimum(ahead + behind - total[:, None, None], 0)) * possible[:, None, None]
        of_class = (said[:, :, None] == xp.arange(p.shape[2])).astype(p.dtype)  # (N, S, C)
        return p * possible[:, None] - xp.matmul(share, of_class).transpose(1, 0, 2)
