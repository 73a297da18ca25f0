"""LayerNorm (MyCaffe): each vector of values (axes 2 and later) to mean 0 and variance 1; nothing is learned.

y = (x - mean) / sqrt(variance + epsilon).  Bottom and top: (N, T, ...).

Source: "Layer Normalization" (Ba et al., 2016), without gain and bias, which MyCaffe's has not.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class LayerNorm(Layer):
    type = "LayerNorm"
    in_place = True

    def infer(self, shapes):
        if len(shapes[0]) < 3:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: (N, T, ...) is expected, of which ... is normalised")
        return [shapes[0]]

    def forward(self, xs):
        y, spread = self.normalised(xs[0])
        if self.keep:
            self.saved = y, spread
        return [y]

    def backward(self, dys, need):
        return [self.derivative(dys[0], *self.saved) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [self.normalised_in(graph, xs[0], range(2, len(xs[0].shape)))]

    def normalised(self, x):
        """(y, what x was divided by), both of which `derivative` takes."""
        rows, n = self._rows(x)
        y = rows - rows.sum(1, keepdims=True) / n
        spread = self.xp.sqrt(self.xp.square(y).sum(1, keepdims=True) / n + self.spec.layer_norm_param.epsilon)
        return (y / spread).reshape(x.shape), spread

    def normalised_in(self, graph, x, axes):
        """x of a graph, normalised over these axes."""
        y = x - graph.mean(x, axes)
        return y / graph.node("Sqrt", graph.mean(y * y, axes) + self.spec.layer_norm_param.epsilon)

    def derivative(self, dy, y, spread):
        """The gradient of x, from that of y."""
        (rows, n), (own, _) = self._rows(dy), self._rows(y)
        dx = rows - rows.sum(1, keepdims=True) / n - own * ((rows * own).sum(1, keepdims=True) / n)
        return (dx / spread).reshape(dy.shape)

    @staticmethod
    def _rows(x):
        """x as a matrix whose rows are normalised, and how many numbers a row has."""
        n = math.prod(x.shape[2:])
        return x.reshape(math.prod(x.shape[:2]), n), max(n, 1)
