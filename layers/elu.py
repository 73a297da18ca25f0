"""ELU: y = x for positive x, alpha * (exp(x) - 1) below."""

from demitasse.layers.layer import Layer


class ELU(Layer):
    type = "ELU"
    launches_only = True
    in_place = True

    def forward(self, xs):
        xp, (x,), alpha = self.xp, xs, self.spec.elu_param.alpha
        if self.keep:
            self.saved = x
        return [xp.maximum(x, 0) + alpha * xp.expm1(xp.minimum(x, 0))]

    def backward(self, dys, need):
        xp, x, alpha = self.xp, self.saved, self.spec.elu_param.alpha
        return [dys[0] * xp.where(x > 0, 1, alpha * xp.exp(xp.minimum(x, 0))) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Elu", xs[0], alpha=self.spec.elu_param.alpha)]
