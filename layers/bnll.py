"""BNLL: binomial normal log likelihood, also called softplus: y = log(1 + exp(x))."""

from demitasse.layers.layer import Layer


class BNLL(Layer):
    type = "BNLL"
    launches_only = True
    in_place = True

    def forward(self, xs):
        xp, (x,) = self.xp, xs
        if self.keep:
            self.saved = x
        return [xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))]  # no overflow, whatever the sign

    def backward(self, dys, need):
        return [dys[0] * self.be.sigmoid(self.saved) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.node("Softplus", xs[0])]
