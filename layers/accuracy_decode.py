"""AccuracyDecode (MyCaffe): the share of items whose nearest class is theirs; a metric, without a gradient.

Bottoms: distances from each class (N, classes, 1, 1), as Decode gives them, and labels (N, ...), of which the first
column counts.  Of equally near classes the first is taken.

Source: the prototxts of MyCaffe.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class AccuracyDecode(Layer):
    type = "AccuracyDecode"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def infer(self, shapes):
        apart, labels = shapes
        if len(apart) < 2 or set(apart[2:]) - {1} or labels[:1] != apart[:1]:
            raise ShapeFault(f"distances {apart} and labels {labels}: (N, classes) and (N, ...) are needed")
        return [()]

    def forward(self, xs):
        apart, labels = xs[0].reshape(xs[0].shape[:2]), xs[1].reshape(len(xs[1]), math.prod(xs[1].shape[1:]))
        if not len(apart):
            return [self.be.zeros(())]
        return [(apart.argmin(1) == labels[:, 0].astype(int)).mean().astype(xs[0].dtype)]

    def backward(self, dys, need):
        return [None] * len(need)
