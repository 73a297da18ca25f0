"""SpatialDropout (ENet): drops whole channels of an item, with probability dropout_ratio; scales the rest by
1 / (1 - dropout_ratio).  TEST copies, unless sample_weights_test is set.

Source: "ENet" (Paszke et al., 2016); "Efficient object localization" (Tompson et al., 2015).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class SpatialDropout(Layer):
    type = "SpatialDropout"
    launches_only = True
    in_place = True

    @property
    def repeatable(self):
        return not self.draws

    @property
    def draws(self):
        """Whether a pass drops anything."""
        return self.train or self.spec.spatial_dropout_param.sample_weights_test

    def setup(self, shapes):
        ratio = self.spec.spatial_dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            raise SchemaFault(f"dropout_ratio is {ratio:g}: it is the part that is dropped, from 0 to less than 1")
        return []

    def infer(self, shapes):
        if len(shapes[0]) < 2:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: channels, axis 1, are missing")
        return shapes

    def forward(self, xs):
        (x,), param = xs, self.spec.spatial_dropout_param
        if not self.draws:
            return [x]
        channels = (*x.shape[:2], *(1 for _ in x.shape[2:]))
        factor = self.be.bernoulli(channels, 1 - param.dropout_ratio) * x.dtype.type(1 / (1 - param.dropout_ratio))
        if self.keep:
            self.saved = factor
        return [x * factor]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        return [dys[0] if self.saved is None else dys[0] * self.saved]

    def to_onnx(self, graph, xs):
        if self.draws:
            raise SchemaFault("sample_weights_test draws random numbers in every run, which ONNX cannot: take it out")
        return [xs[0]]
