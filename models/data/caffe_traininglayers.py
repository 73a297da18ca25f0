"""caffe_traininglayers: what interactive colorization's global net deploys with, of its authors' module of this name.

    python_param { module: "caffe_traininglayers"  layer: "SpatialRepLayer" }

Their layers for training are not here; a module of the name that lies beside the prototxt goes before this one.
Source: "Real-Time User-Guided Image Colorization with Learned Deep Priors" (Zhang et al., 2017), whose global hints are
added to every pixel.
"""

import caffe
from demitasse.proto.errors import ShapeFault


class SpatialRepLayer(caffe.Layer):
    """Bottom 0, (N, C, 1, 1), at every pixel of bottom 1's size: (N, C, H, W)."""

    def setup(self, bottom, top):
        """ShapeFault unless there are two bottoms."""
        if len(bottom) != 2:
            raise ShapeFault(f"{len(bottom)} bottoms: what is repeated, and a blob of the size, are needed")

    def reshape(self, bottom, top):
        """The top has bottom 0's channels and bottom 1's size.  ShapeFault for other axes."""
        own, like = bottom[0].data.shape, bottom[1].data.shape
        if len(own) != 4 or len(like) != 4 or own[2:] != (1, 1):
            raise ShapeFault(f"bottoms of shapes {own} and {like}: (N, C, 1, 1) and (N, C, H, W) are needed")
        top[0].reshape(*own[:2], *like[2:])

    def forward(self, bottom, top):
        """Repeat it."""
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        """The sum over all pixels."""
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.sum(axis=(2, 3), keepdims=True)
        if propagate_down[1]:
            bottom[1].diff[...] = 0

    def to_onnx(self, graph, xs):
        """Repeat it, in ONNX's operators."""
        x, like = xs
        return [graph.node("Expand", x, graph.vector([1, 1, *graph.sizes(like)[2:]]))]
