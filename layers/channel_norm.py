"""ChannelNorm (FlowNet): the length of each pixel's vector of channels, such as how wrong a warped image is.

Bottom: (N, C, H, W).  Top: (N, 1, H, W), the root of the sum of squares.  Where that is 0 no gradient passes.
Source: "FlowNet 2.0" (Ilg et al., 2017), 3, whose fork this follows.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class ChannelNorm(Layer):
    type = "ChannelNorm"

    def infer(self, shapes):
        shape = shapes[0]
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: (N, C, H, W) is expected")
        return [(shape[0], 1, *shape[2:])]

    def forward(self, xs):
        y = self.xp.sqrt(self.xp.square(xs[0]).sum(axis=1, keepdims=True))
        self.saved = (xs[0], y) if self.keep else None
        return [y]

    def backward(self, dys, need):
        x, y = self.saved
        return [dys[0] * x / (y + x.dtype.type(1e-9)) if need[0] else None]
