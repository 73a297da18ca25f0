"""ReLU: y = x for positive x, negative_slope * x below; at 0 the gradient takes the slope."""

from demitasse.layers.layer import Layer


class ReLU(Layer):
    type = "ReLU"
    launches_only = True
    in_place = takes_nhwc = True

    @property
    def relu_slope(self):
        return self.spec.relu_param.negative_slope

    def forward(self, xs):
        slope = self.relu_slope
        y = self.be.relu_forward(xs[0], slope)
        if self.keep:
            # The output tells the sides apart as well as the input does, and is kept by others anyway;
            # a negative slope makes all of it positive, though.
            self.saved = y if slope >= 0 else xs[0]
        return [y]

    def backward(self, dys, need):
        return [self.be.relu_backward(dys[0], self.saved, self.relu_slope) if need[0] else None]

    def to_onnx(self, graph, xs):
        slope = self.spec.relu_param.negative_slope
        return [graph.node("LeakyRelu", xs[0], alpha=slope) if slope else graph.node("Relu", xs[0])]
