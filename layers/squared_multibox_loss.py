"""MultiboxLoss (joyousrabbit, not SSD's MultiBoxLoss): squared differences of a detector's boxes and class scores.

Bottoms: predictions (N, K (4 + C), Q), for each of Q pixels K boxes with four numbers and C class scores; objects
(N, 5, G), corners x1, y1, x2, y2 and class, which end at the first of a class below 0; priors (1, 2, 4 Q K), of which
the second row is not read.  A prior that overlaps an object by more than 0.3 answers for the one that it overlaps most:
its numbers should be the object as seen from it (boxes.encode), its class score 1, and all other class scores 0.  The
four numbers of the others do not count.  Classes count from 1.  Top: the sum of squares, over 2 N.

Source: the nets of joyousrabbit's fork.
"""

import math

from demitasse.layers.boxes import encode, iou
from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import LabelFault, ShapeFault

BOX, OVERLAP = 4, 0.3


class MultiboxLoss(LossLayer):
    type = "MultiboxLoss"
    bottoms = (3, 3)
    never_differentiable = (1, 2)

    def infer(self, shapes):
        x, objects, priors = shapes
        if len(x) < 3 or set(x[3:]) - {1} or objects[:2] != (x[0], 5) or len(objects) < 3 or set(objects[3:]) - {1}:
            raise ShapeFault(f"predictions {x} and objects {objects}: (N, K (4 + C), Q) and (N, 5, G) are expected")
        count = math.prod(priors) // 8
        if priors[:2] != (1, 2) or not x[2] or count % x[2] or not count or x[1] % (count // x[2]):
            raise ShapeFault(
                f"predictions {x} and priors {priors}: at each of {x[2]} pixels as many priors are expected, of which "
                f"{x[1]} channels are a multiple"
            )
        if x[1] // (count // x[2]) <= BOX:
            raise ShapeFault(f"{x[1]} channels for {count // x[2]} priors: each takes 4 and one for each class")
        return [()]

    def forward(self, xs):
        xp = self.xp
        priors = xs[2].reshape(2, -1, BOX)[0]
        items, channels, pixels = xs[0].shape[:3]
        each = len(priors) // pixels
        numbers = channels // each
        x = xs[0].reshape(items, each, numbers, pixels).transpose(0, 3, 1, 2).reshape(items, len(priors), numbers)
        wanted = xp.zeros_like(x)
        wanted[..., :BOX] = x[..., :BOX]  # of a prior that answers for nothing
        for item, rows in zip(wanted, xs[1].reshape(xs[1].shape[:3]).transpose(0, 2, 1), strict=True):
            rows = rows[xp.cumprod(rows[:, BOX] >= 0).astype(bool)]
            if not len(rows):
                continue
            overlaps = iou(xp, priors, rows[:, :BOX])
            at = xp.nonzero(overlaps.max(1) > OVERLAP)[0]
            objects = rows[overlaps[at].argmax(1)]
            item[at, :BOX] = encode(xp, priors[at], objects[:, :BOX])
            item[at, BOX - 1 + self._classes(objects[:, BOX], numbers - BOX)] = 1
        difference = x - wanted
        if self.keep:
            self.saved = difference, xs[0].shape, each
        return [xp.asarray(xp.square(difference).sum() / (2 * max(1, items)), x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None] * 3
        difference, shape, each = self.saved
        items, channels, pixels = shape[:3]
        dx = difference.reshape(items, pixels, each, channels // each).transpose(0, 2, 3, 1).reshape(shape)
        return [dx * (dys[0] / max(1, items)), None, None]

    def _classes(self, labels, count: int):
        classes = labels.astype(int)
        if bool(((classes < 1) | (classes > count)).any()):
            raise LabelFault(f"an object has a class outside of 1 to {count}")
        return classes
