"""GlobalLSEMargin (AMSoftmax): takes a margin from the score of each item's label, and learns a scale for all scores.

Bottoms: cosines (N, C), labels (N,) and, if given, the lengths (N,) of the items, which then are the scale.  Top: scale
* (cosine - margin for the label); a second one holds five numbers for the log: the scale, the mean cosine of labels,
the mean of log(sum exp(scale * cosine of others)) / scale, the mean of the highest other cosine, and the margin.

Params: the scale (30, or scale_param's filler) and the margin.  The margin is not learned by gradient: each TRAIN run
moves it a tenth towards the mode of (cosine of the label - that soft maximum of others), by mean shift with a window
of 0.1.

Source: the prototxts of AMSoftmax; "Additive margin softmax for face verification" (Wang et al., 2018).
"""

from __future__ import annotations

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import FillerParameter

WINDOW, CLOSE = 0.1, 0.001  # of the mean shift


class GlobalLSEMargin(Layer):
    type = "GlobalLSEMargin"
    fields = ("scale_param",)
    bottoms, tops = (2, 3), (1, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        param = self.spec.scale_param
        scale = Param((1,), param.filler if param.HasField("filler") else FillerParameter(type="constant", value=30))
        scale.decay_mult = 0.0
        margin = Param((1,))
        margin.lr_mult = margin.decay_mult = 0.0
        return [scale, margin]

    def infer(self, shapes):
        scores, labels = shapes[:2]
        if len(scores) != 2:
            raise ShapeFault(f"the cosines have shape {scores}: (N, C) expected")
        check_labels(scores, labels, 1)
        if len(shapes) > 2:
            check_labels(scores, shapes[2], 1)
        return [scores, (5,)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, x, (scale_param, margin_param) = self.xp, xs[0], self.params
        labels, _ = self.be.checked_labels(x.shape, xs[1].reshape(-1), 1, None)
        own = labels.reshape(-1, 1).astype(int) == xp.arange(x.shape[1])
        scale = xs[2].reshape(-1, 1) if len(xs) > 2 else scale_param.data.reshape(1, 1)
        target = xp.where(own, x, 0).sum(1)
        highest = xp.where(own, -1, x).max(1)
        others = xp.where(own, 0, xp.exp(scale * (x - highest[:, None]))).sum(1)
        soft = xp.log(xp.maximum(others, 1e-30)) / scale[:, 0] + highest
        if self.train and len(x):
            self._move(margin_param.data, target - soft)
        apart = x - own * margin_param.data.reshape(1, 1)
        if self.keep:
            self.saved = scale, apart, [each.shape for each in xs]
        means = [each.sum() / max(each.size, 1) for each in (scale, target, soft, highest)]
        statistics = [*means, margin_param.data[0]]
        tops = [(apart * scale).astype(x.dtype), xp.stack([xp.asarray(each, x.dtype) for each in statistics])]
        return tops[: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        scale, apart, shapes = self.saved
        dy = dys[0] if dys[0] is not None else self.be.zeros(apart.shape)
        along = (dy * apart).sum(1)
        dxs = [dy * scale if need[0] else None, None]
        if len(shapes) > 2:
            dxs.append(along.reshape(shapes[2]) if need[2] else None)
        elif self.params[0].grad is not None:
            self.params[0].grad += along.sum()
        return dxs

    def _move(self, margin, found):
        """The margin, in place, a tenth towards the mode of what was found; at first to it."""
        first = not bool(margin[0])
        mode = self._mode(found, found.mean() if first else margin[0], 20 if first else 1)
        margin[...] = mode if first else 0.9 * margin + 0.1 * mode

    def _mode(self, values, start, rounds):
        xp = self.xp
        for _ in range(rounds):
            near = abs(values - start) < WINDOW
            new = (values * near).sum() / xp.maximum(near.sum(), 1) if near.any() else values.mean()
            if abs(new - start) < CLOSE:
                return new
            start = new
        return start
