"""ENet's Python layer `spatial_dropout`: drops whole channels of an item, as the layer type SpatialDropout does.

    python_param { module: "spatial_dropout"  layer: "SpatialDropoutLayer"
                   param_str: "{'phase': 'TRAIN', 'p': '0.1'}" }

A module of the name that lies beside the prototxt goes before this one.
"""

import ast

import numpy as np

import caffe


class SpatialDropoutLayer(caffe.Layer):
    """With phase TRAIN each channel of an item becomes 0 with probability p, and the others grow by 1 / (1 - p)."""

    def setup(self, bottom, top):
        """Read param_str; ValueError where it is no such dict."""
        fields = ast.literal_eval(self.param_str)
        self.ratio = float(fields["p"])
        self.drops = fields["phase"] == "TRAIN"
        if not 0 <= self.ratio < 1:
            raise ValueError(f"p is {self.ratio}: a probability from 0 to below 1 is needed")
        self.rng = np.random.default_rng(np.random.randint(2**31))
        self.kept = 1.0

    def reshape(self, bottom, top):
        """The top is as large as the bottom."""
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        """Drop channels."""
        shape = bottom[0].data.shape
        if self.drops:
            kept = self.rng.random(shape[:2]) >= self.ratio
            self.kept = kept.reshape(*shape[:2], *(1 for _ in shape[2:])) / (1 - self.ratio)
        top[0].data[...] = bottom[0].data * self.kept

    def backward(self, top, propagate_down, bottom):
        """Gradients pass where values did."""
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.kept

    def to_onnx(self, graph, xs):
        """A copy; with phase TRAIN it is drawn, which ONNX cannot say.  ValueError then."""
        if self.drops:
            raise ValueError("phase is TRAIN in param_str: for ONNX write TEST")
        return list(xs)

    def state(self):
        """Where the random numbers stand, for an exact restart."""
        return {"rng": self.rng.bit_generator.state}

    def load_state(self, state):
        """Go on from there."""
        self.rng.bit_generator.state = state["rng"]
