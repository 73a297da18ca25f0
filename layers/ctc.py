"""What losses of connectionist temporal classification share: the sum over all ways to say labels, and its derivative.

Source: "Connectionist Temporal Classification" (Graves et al., 2006), 4.1.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import LabelFault

NEVER = -1e30  # log(0)


class SumOfWays(LossLayer):
    """The base of losses whose forward ends in `loss`, of labels that `packed` has brought into order."""

    def loss(self, p, labels, blank, shape, ended=None):
        """Of probabilities (T, N, C), and labels (N, L) with blanks after them; `shape` is that of the scores.

        ended: (T, N), the steps of which it is certain that they say the blank.
        """
        xp, (steps, items) = self.xp, p.shape[:2]
        said = xp.full((items, 2 * labels.shape[1] + 1), blank)  # a blank before, between and after the labels
        said[:, 1::2] = labels
        ends = 2 * (labels != blank).sum(1)  # the last blank
        logs = xp.log(xp.maximum(p, 1e-30)).transpose(1, 0, 2)
        logs = xp.take_along_axis(logs, said[:, None, :].repeat(steps, 1), 2)  # (N, T, S)
        if ended is not None:
            certain = xp.where(said == blank, 0, NEVER).astype(logs.dtype)
            logs = xp.where(ended.T[:, :, None], certain[:, None], logs)
        skips = xp.zeros(said.shape, bool)  # where the blank before a label may be left out
        skips[:, 2:] = (said[:, 2:] != blank) & (said[:, 2:] != said[:, :-2])
        ahead = self._ways(logs, skips)  # of the first steps, up to each state
        total = self._total(ahead[:, -1], ends)
        possible = total > NEVER / 2
        if self.keep:
            self.saved = shape, self._slope(p, said, ahead, logs, skips, ends, total, possible) / max(items, 1)
        return xp.asarray(-xp.where(possible, total, 0).sum() / max(items, 1), p.dtype)

    def backward(self, dys, need):
        shape, slope = self.saved
        return [(dys[0] * slope).reshape(shape) if need[0] else None] + [None] * (len(need) - 1)

    def packed(self, labels, classes, blank):
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
