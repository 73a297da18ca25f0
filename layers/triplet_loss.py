"""TripletLoss (MyCaffe and others): an anchor should be nearer to its positive than to its negative, by a margin.

Bottoms: anchors, positives, negatives, (N, ...) each, and in MyCaffe labels, which are not looked at.  Distances are
sums of squares; the top is the mean of max(0, d(a, p) - d(a, n) + alpha) over the items, halved.  Forks without labels
say `margin` for alpha; it is 1 there where it is not given.

Source: "FaceNet" (Schroff et al., 2015), 3.1.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class TripletLoss(LossLayer):
    type = "TripletLoss"
    bottoms = (3, 4)
    never_differentiable = (3,)

    def setup(self, shapes):
        param = self.spec.triplet_loss_param
        if param.HasField("alpha") and param.HasField("margin"):
            raise SchemaFault("alpha and margin are two words for one number: give one of them")
        name = "alpha" if param.HasField("alpha") or len(shapes) == 4 and not param.HasField("margin") else "margin"
        self.margin = getattr(param, name)
        if self.margin < 0:
            raise SchemaFault(f"{name} {self.margin:g}, how much nearer the positive should be, is 0 or more")
        return []

    def infer(self, shapes):
        if not shapes[0] or shapes[1:3] != [shapes[0]] * 2:
            raise ShapeFault(f"anchors, positives and negatives have shapes {shapes[:3]}: they must be equal, (N, ...)")
        return [()]

    def forward(self, xs):
        xp, (anchor, positive, negative), count = self.xp, xs[:3], max(1, len(xs[0]))
        axes = tuple(range(1, anchor.ndim))
        gap = xp.square(anchor - positive).sum(axes) - xp.square(anchor - negative).sum(axes) + self.margin
        loses = gap > 0
        if self.keep:
            counts = loses.astype(anchor.dtype).reshape(-1, *[1] * len(axes)) / count
            self.saved = counts, negative - positive, positive - anchor, anchor - negative
        return [xp.asarray((gap * loses).sum() / (2 * count), anchor.dtype)]

    def backward(self, dys, need):
        counts, *slopes = self.saved
        grads = [slope * (counts * dys[0]) if needed else None for slope, needed in zip(slopes, need, strict=False)]
        return [*grads, *[None] * (len(need) - 3)]
