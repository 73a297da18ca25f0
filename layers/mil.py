"""MIL (R*CNN): of each region's contexts the one that scores best, class by class.

Bottom: scores (R K, C), K = context_per_roi contexts of each region, one after the other; top (R, C), the largest.

Source: "Contextual action recognition with R*CNN" (Gkioxari et al., 2015), 3, and the fields of its nets.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class MIL(Layer):
    type = "MIL"

    def infer(self, shapes):
        (shape,), count = shapes, self.spec.mil_param.context_per_roi
        if not shape or not count or shape[0] % count:
            raise ShapeFault(f"the bottom has shape {shape}: context_per_roi {count} must divide its first size evenly")
        return [(shape[0] // count, *shape[1:])]

    def forward(self, xs):
        (x,) = xs
        count = self.spec.mil_param.context_per_roi
        contexts = x.reshape(len(x) // count, count, *x.shape[1:])
        if self.keep:
            self.saved = contexts.argmax(1)[:, None], contexts.shape
        return [contexts.max(1)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        best, shape = self.saved
        own = best == self.xp.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
        return [(dys[0][:, None] * own).reshape(shape[0] * shape[1], *shape[2:])]

    def to_onnx(self, graph, xs):
        sizes, count = graph.sizes(xs[0]), self.spec.mil_param.context_per_roi
        contexts = graph.reshape(xs[0], [-1, count, *sizes[1:]])
        return [graph.maximum(contexts, [1], keep=False)]
