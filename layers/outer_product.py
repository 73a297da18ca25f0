"""OuterProduct: every number of an item's first bottom times every number of its second.

Bottoms: a (N, ...) of A and b (N, ...) of B numbers an item.  Top: (N, 1, A, B).

Source: "Multi-Adversarial Domain Adaptation" (Pei et al., 2018) and the nets of its repository.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class OuterProduct(Layer):
    type = "OuterProduct"
    bottoms = (2, 2)
    launches_only = True

    def infer(self, shapes):
        a, b = shapes
        if not a or not b or a[0] != b[0]:
            raise ShapeFault(f"the bottoms have shapes {a} and {b}: as many items of both are expected")
        return [(a[0], 1, math.prod(a[1:]), math.prod(b[1:]))]

    def forward(self, xs):
        a, b = (x.reshape(len(x), math.prod(x.shape[1:])) for x in xs)
        if self.keep:
            self.saved = a, b, [x.shape for x in xs]
        return [(a[:, :, None] * b[:, None, :])[:, None]]

    def backward(self, dys, need):
        xp, (a, b, shapes) = self.xp, self.saved
        dy = dys[0][:, 0]
        da = xp.matmul(dy, b[:, :, None]).reshape(shapes[0]) if need[0] else None
        db = xp.matmul(a[:, None], dy).reshape(shapes[1]) if need[1] else None
        return [da, db]

    def to_onnx(self, graph, xs):
        a, b = (
            graph.reshape(x, [graph.size(x, 0), 1, *sides]) for x, sides in zip(xs, ([-1, 1], [1, -1]), strict=True)
        )
        return [a * b]
