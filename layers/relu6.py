"""ReLU6 (MobileNet forks): y = x held between 0 and 6.

Source: "Convolutional deep belief networks on CIFAR-10" (Krizhevsky, 2010).
"""

from demitasse.layers.layer import Layer


class ReLU6(Layer):
    type = "ReLU6"
    launches_only = True
    in_place = True

    def forward(self, xs):
        y = self.xp.clip(xs[0], 0, 6)
        if self.keep:
            self.saved = y
        return [y]

    def backward(self, dys, need):
        y = self.saved
        return [dys[0] * ((y > 0) & (y < 6)) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.clip(xs[0], 0.0, 6.0)]
