"""tripletlosslayer: how much nearer anchors should be to their positives, for the nets of triplet losses in Python.

    python_param { module: "tripletlosslayer"  layer: "TripletLayer"  param_str: "'margin': 0.2" }

It is the type TripletLoss of three bottoms; a module of the name that lies beside the prototxt goes before this one.
"""

import numpy as np

import caffe
from demitasse.models.data.options import parse_options
from demitasse.models.data.rcnn_layer import number, read_param_str
from demitasse.proto.errors import ShapeFault


class TripletLayer(caffe.Layer):
    """The mean of max(0, |a - p|^2 - |a - n|^2 + margin), halved."""

    def setup(self, bottom, top):
        """Read param_str: `margin`.  SchemaFault where it is none."""
        given = parse_options(repr(read_param_str(self.param_str)), {"margin": number(0.2, 0)})
        self.margin = given["margin"]

    def reshape(self, bottom, top):
        """The top is one number.  ShapeFault unless there are three bottoms of one shape."""
        shapes = [tuple(blob.shape) for blob in bottom]
        if len(shapes) != 3 or len(set(shapes)) != 1:
            raise ShapeFault(f"bottoms of shapes {shapes}: anchors, positives and negatives of one shape are needed")
        top[0].reshape(1)

    def forward(self, bottom, top):
        """Sum over the triplets that are too near."""
        anchor, positive, negative = (blob.data.reshape(len(blob.data), -1) for blob in bottom)
        gap = np.square(anchor - positive).sum(1) - np.square(anchor - negative).sum(1) + self.margin
        counts = (gap > 0)[:, None] / max(len(anchor), 1)
        self.slopes = [counts * apart for apart in (negative - positive, positive - anchor, anchor - negative)]
        top[0].data[...] = np.maximum(gap, 0).sum() / (2 * max(len(anchor), 1))

    def backward(self, top, propagate_down, bottom):
        """Of all three."""
        for blob, wanted, slope in zip(bottom, propagate_down, self.slopes, strict=True):
            if wanted:
                blob.diff[...] = (top[0].diff.reshape(-1)[0] * slope).reshape(blob.diff.shape)
