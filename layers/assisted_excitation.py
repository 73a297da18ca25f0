"""AssistedExcitation (MobileNet-YOLO): early in training objects stand out, so that a detector sees where to look.

Bottoms: x (N, C, H, W); label, R rows of (class, centre x, centre y, width, height) for each image, in shares of its
sides, (N, R, 5) or (N, 1, R, 5), of which the first with x = 0 is after the last; the mean of x over its channels,
(N, H, W) or (N, 1, H, W).  Top: x, and in TRAIN

    x + cos(pi / 2 * min(1, passes / max_iter)) * mean      in every pixel that a box covers

where passes in TRAIN are counted.  A box covers the pixels from floor(left W) to floor(right W + 0.95), without the
last, and at least one; rows alike.  In TEST the top is x.

The cosine is the fork's: the paper fades by (1 + cos(pi passes / max_iter)) / 2.
Source: "Assisted Excitation of Activations" (Derakhshani et al., 2019), 3.
"""

import math

from demitasse.layers.counted import CountsPasses
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class AssistedExcitation(CountsPasses, Layer):
    type = "AssistedExcitation"
    fields = ("assisted_excitation_param",)
    bottoms = (3, 3)
    never_differentiable = (1,)

    def setup(self, shapes):
        self.max_iter = self.spec.assisted_excitation_param.max_iter
        if self.be is not None and self.train and self.max_iter < 1:
            raise SchemaFault(
                "training needs to know when it ends: assisted_excitation_param { max_iter: <the solver's> }"
            )
        return []

    def infer(self, shapes):
        x, label, mean = shapes
        if len(x) != 4 or mean not in ((x[0], *x[2:]), (x[0], 1, *x[2:])):
            raise ShapeFault(f"bottoms 0 and 2 have shapes {x} and {mean}: (N, C, H, W) and (N, H, W) are expected")
        if len(label) < 3 or label[0] != x[0] or label[-1] != 5:
            raise ShapeFault(f"the label has shape {label}: ({x[0]}, rows, 5) is expected")
        return [x]

    def forward(self, xs):
        x, label, mean = xs
        weight = self.strength() * self._covered(self.be.to_host(label), x.shape)
        self.passes += self.train
        self.saved = (weight, mean.shape) if self.keep else None
        return [x + weight * mean.reshape(weight.shape)]

    def backward(self, dys, need):
        weight, shape = self.saved
        spread = (weight * dys[0].sum(axis=1, keepdims=True)).reshape(shape) if need[2] else None
        return [dys[0] if need[0] else None, None, spread]

    def to_onnx(self, graph, xs):
        return [xs[0]]

    def strength(self) -> float:
        """What the next pass multiplies the mean by."""
        return math.cos(math.pi / 2 * min(1.0, self.passes / self.max_iter)) if self.train else 0.0

    def _covered(self, label, shape):
        """(N, 1, H, W), 1 in the pixels of boxes and 0 elsewhere."""
        n, _, height, width = shape
        covered = self.be.zeros((n, 1, height, width))
        for i in range(n):
            for _, x, y, w, h in label[i].reshape(math.prod(label.shape[1:-1]), 5).tolist():
                if not x:
                    break
                covered[i, 0, _span(y, h, height), _span(x, w, width)] = 1
        return covered


def _span(centre: float, extent: float, side: int) -> slice:
    """The pixels of one axis that a box covers."""
    first = min(max(int((centre - extent / 2) * side), 0), side - 1)
    return slice(first, min(max(int((centre + extent / 2) * side + 0.95), first + 1), side))
