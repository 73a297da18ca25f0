"""Threshold: y = 1 where x > threshold, else 0; without a gradient."""

from demitasse.layers.layer import Layer


class Threshold(Layer):
    type = "Threshold"
    launches_only = True
    in_place = True
    never_differentiable = (0,)

    def forward(self, xs):
        return [(xs[0] > self.spec.threshold_param.threshold).astype(xs[0].dtype)]

    def backward(self, dys, need):
        return [None]

    def to_onnx(self, graph, xs):
        return [graph.cast(xs[0] > self.spec.threshold_param.threshold, "float32")]
