"""Split: the bottom under several names; its gradient is the sum of theirs.

A net needs none, because a blob may be read any number of times; old prototxts and weight files have them.
"""

import functools

from demitasse.layers.layer import SAME_COORDS, Layer


class Split(Layer):
    type = "Split"
    launches_only = True
    tops = (1, None)

    def infer(self, shapes):
        return [shapes[0]] * len(self.spec.top)

    def forward(self, xs):
        return [xs[0]] * len(self.spec.top)

    def backward(self, dys, need):
        given = [dy for dy in dys if dy is not None]
        return [functools.reduce(self._added, given) if need[0] else None]

    def _added(self, a, b):
        return self.be.weighted_sum((a, b), (1, 1))

    def to_onnx(self, graph, xs):
        return [xs[0]] * len(self.spec.top)

    def coords(self):
        return SAME_COORDS
