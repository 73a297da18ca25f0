"""Dropout: in TRAIN a share `dropout_ratio` of values becomes 0 and the rest grows by 1 / (1 - ratio); else a copy.

With sample_weights_test (Bayesian SegNet) TEST draws too, so that several runs tell how sure a net is.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Dropout(Layer):
    type = "Dropout"
    launches_only = True
    in_place = takes_nhwc = True

    @property
    def repeatable(self):
        return not self.draws

    def setup(self, shapes):
        self.ratio = self.spec.dropout_param.dropout_ratio
        self.draws = self.train or self.spec.dropout_param.sample_weights_test
        if not 0 <= self.ratio < 1 and (self.draws or self.ratio != 1):  # Caffe's TEST takes 1, too
            raise SchemaFault(f"dropout_ratio {self.ratio:g} is not a share from 0 (drop nothing) to below 1")
        return []

    def forward(self, xs):
        if not self.draws:
            return [xs[0]]
        y, mask = self.be.dropout_forward(xs[0], self.ratio)
        if self.keep:
            self.saved = mask
        return [y]

    def backward(self, dys, need):
        if not need[0] or not self.draws:
            return [dys[0] if need[0] else None]
        return [self.be.dropout_backward(dys[0], self.saved, self.ratio)]

    def to_onnx(self, graph, xs):
        if self.draws:
            raise SchemaFault("sample_weights_test draws random numbers in every run, which ONNX cannot: take it out")
        return [xs[0]]
