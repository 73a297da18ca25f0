"""BestmatchLoss (joyousrabbit): how far one prediction for each item is from the object that it is nearest to.

Bottoms: predictions (N, C), objects (N, C, G); C is four numbers of a box, then those of its classes.  The objects of
an item end at the first whose first number is 0.  Each item is held against the object whose box is nearest (sum of
squares), in all its C numbers; where there is none only its class numbers count, which should be 0.
Top: the sum of squares of all differences, over 2 N.

Source: the nets of joyousrabbit's fork.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault

BOX = 4  # numbers of a box


class BestmatchLoss(LossLayer):
    type = "BestmatchLoss"

    def infer(self, shapes):
        x, objects = shapes
        if len(objects) < 3 or set(objects[3:]) - {1} or objects[:2] != x[:2] or set(x[2:]) - {1} or x[1] < BOX:
            raise ShapeFault(
                f"predictions of shape {x} and objects of shape {objects}: (N, C) and (N, C, G) are expected, with C "
                f"{BOX} numbers of a box and those of its classes"
            )
        return [()]

    def forward(self, xs):
        xp, x = self.xp, xs[0].reshape(xs[0].shape[:2])
        objects = xs[1].reshape(xs[1].shape[:3])
        there = xp.cumprod(objects[:, 0] != 0, axis=1).astype(bool)  # (N, G)
        apart = xp.square(objects[:, :BOX] - x[:, :BOX, None]).sum(1)
        if objects.shape[2]:
            nearest = xp.where(there, apart, xp.inf).argmin(1)[:, None, None]
            wanted, found = xp.take_along_axis(objects, nearest, axis=2)[:, :, 0], there[:, :1]
        else:
            wanted, found = xp.zeros_like(x), xp.zeros((len(x), 1), dtype=bool)
        is_box = xp.arange(x.shape[1]) < BOX
        difference = x - xp.where(found, wanted, xp.where(is_box, x, 0))
        if self.keep:
            self.saved = difference, xs[0].shape
        return [xp.asarray(xp.square(difference).sum() / (2 * max(1, len(x))), x.dtype)]

    def backward(self, dys, need):
        difference, shape = self.saved
        return [(difference * (dys[0] / max(1, len(difference)))).reshape(shape) if need[0] else None, None]
