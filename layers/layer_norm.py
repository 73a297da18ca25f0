"""LayerNorm (MyCaffe): each vector of values (axes 2 and later) to mean 0 and variance 1; nothing is learned.

y = (x - mean) / sqrt(variance + epsilon).  Bottom and top: (N, T, ...).

Source: "Layer Normalization" (Ba et al., 2016), without gain and bias, which MyCaffe's has not.
"""

from demitasse.layers.gated import normalise, normalise_backward, rows
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
        y, spread = normalise(self.xp, rows(x, 2), self.spec.layer_norm_param.epsilon)
        return y.reshape(x.shape), spread

    def normalised_in(self, graph, x, axes):
        """x of a graph, normalised over these axes."""
        y = x - graph.mean(x, axes)
        return y / graph.node("Sqrt", graph.mean(y * y, axes) + self.spec.layer_norm_param.epsilon)

    def derivative(self, dy, y, spread):
        """The gradient of x, from that of y."""
        return normalise_backward(rows(dy, 2), rows(y, 2), spread).reshape(dy.shape)
