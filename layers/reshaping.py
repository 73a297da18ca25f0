"""The base of Reshape and Flatten: the bottom's numbers in another shape."""

from demitasse.layers.layer import Layer


class ReshapingLayer(Layer):
    """The base of layers whose top holds the bottom's numbers in the shape that infer gives."""

    def forward(self, xs):
        """The bottom's values in the shape that `infer` gives: a view."""
        if self.keep:
            self.saved = xs[0].shape
        return [xs[0].reshape(self.infer([xs[0].shape])[0])]

    def backward(self, dys, need):
        return [dys[0].reshape(self.saved) if need[0] else None]
