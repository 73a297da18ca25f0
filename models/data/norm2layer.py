"""norm2layer: each item over its length, for the nets of triplet losses in Python (pinguo-luhaofang's and its kin).

    python_param { module: "norm2layer"  layer: "Norm2Layer" }

It is the type Norm; a module of the name that lies beside the prototxt goes before this one.
"""

import numpy as np

import caffe


class Norm2Layer(caffe.Layer):
    """x / |x| of each item; an item of zeros stays one."""

    def setup(self, bottom, top):
        """Nothing is read."""

    def reshape(self, bottom, top):
        """The top is as large as the bottom."""
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        """Divide by lengths."""
        x = bottom[0].data
        length = np.sqrt(np.square(x).sum(tuple(range(1, x.ndim)), keepdims=True))
        self.length = np.where(length > 0, length, 1)
        top[0].data[...] = self.unit = x / self.length

    def backward(self, top, propagate_down, bottom):
        """What is left of the gradient across the item's direction."""
        if propagate_down[0]:
            along = (top[0].diff * self.unit).sum(tuple(range(1, self.unit.ndim)), keepdims=True)
            bottom[0].diff[...] = (top[0].diff - self.unit * along) / self.length
