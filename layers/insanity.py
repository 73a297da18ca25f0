"""Insanity (happynear): y = x for positive x, x / a below, where in TRAIN each a is drawn between lb and ub; in TEST it
is their mean.

Source: "Empirical Evaluation of Rectified Activations in Convolution Network" (Xu et al., 2015), 2.4.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Insanity(Layer):
    type = "Insanity"
    in_place = True

    def setup(self, shapes):
        param = self.spec.insanity_param
        if not 0 < param.lb <= param.ub:
            raise SchemaFault(f"insanity_param has lb {param.lb:g} and ub {param.ub:g}: 0 < lb <= ub is needed")
        return []

    def forward(self, xs):
        xp, (x,), param = self.xp, xs, self.spec.insanity_param
        by = 2 / (param.lb + param.ub)
        if self.train:
            by = 1 / self.be.asarray(self.be.rng.uniform(param.lb, param.ub, x.shape), x.dtype)
        slopes = xp.where(x > 0, 1, by).astype(x.dtype)
        if self.keep:
            self.saved = slopes
        return [x * slopes]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None]

    def to_onnx(self, graph, xs):
        if self.train:
            raise SchemaFault("Insanity draws random numbers in TRAIN, which ONNX cannot: export the net of TEST")
        param = self.spec.insanity_param
        return [graph.node("LeakyRelu", xs[0], alpha=2 / (param.lb + param.ub))]
