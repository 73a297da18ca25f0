"""pyloss: the Euclidean loss of pycaffe's example net for Python layers (linreg.prototxt).

    python_param { module: "pyloss"  layer: "EuclideanLossLayer" }

It is the type EuclideanLoss; a module of the name that lies beside the prototxt goes before this one.
"""

import numpy as np

import caffe
from demitasse.proto.errors import ShapeFault


class EuclideanLossLayer(caffe.Layer):
    """sum((a - b)^2) / 2N over bottoms of equal count."""

    def setup(self, bottom, top):
        """ShapeFault unless there are two bottoms."""
        if len(bottom) != 2:
            raise ShapeFault(f"{len(bottom)} bottoms: a prediction and a target are needed")

    def reshape(self, bottom, top):
        """The top is one number.  ShapeFault where the bottoms' counts differ."""
        shapes = [blob.data.shape for blob in bottom]
        if np.prod(shapes[0]) != np.prod(shapes[1]):
            raise ShapeFault(
                f"prediction of shape {shapes[0]} and target of shape {shapes[1]}: equal counts are needed"
            )
        top[0].reshape(1)

    def forward(self, bottom, top):
        """Half the mean squared distance of an item."""
        self.apart = bottom[0].data - bottom[1].data.reshape(bottom[0].data.shape)
        top[0].data[...] = np.square(self.apart).sum() / (2 * max(len(self.apart), 1))

    def backward(self, top, propagate_down, bottom):
        """The difference, over the batch size."""
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1), strict=True):
            if wanted:
                slope = top[0].diff.reshape(-1)[0] * sign * self.apart / max(len(self.apart), 1)
                blob.diff[...] = slope.reshape(blob.diff.shape)
