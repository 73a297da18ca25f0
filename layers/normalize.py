"""Normalize (SSD): x over its Euclidean length, times a learned scale.

The length is that of all numbers of an item, or with across_spatial: false that of the channels at each pixel.
Param: one scale, shape (), or with channel_shared: false one per channel, (C,); 1 at the start.
"""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import FillerParameter


class Normalize(Layer):
    type = "Normalize"
    in_place = True

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.norm_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: channels, axis 1, are missing")
        filler = param.scale_filler if param.HasField("scale_filler") else FillerParameter(type="constant", value=1)
        return [Param(() if param.channel_shared else (shape[1],), filler)]

    def infer(self, shapes):
        (shape,), scales = shapes, self.params[0].shape
        if scales and shape[1:2] != scales:
            raise ShapeFault(f"the bottom has shape {shape}, but there are scales for {scales[0]} channels")
        return shapes

    def forward(self, xs):
        xp, (x,) = self.xp, xs
        length = xp.sqrt(xp.square(x).sum(self._axes(x), keepdims=True) + self.spec.norm_param.eps)
        unit = x / length
        if self.keep:
            self.saved = unit, length
        return [unit * self._column(x)]

    def backward(self, dys, need):
        (unit, length), (scale,), (dy,) = self.saved, self.params, dys
        if scale.grad is not None:
            scale.grad += (dy * unit).sum((0, *range(2, dy.ndim)) if scale.shape else None)
        if not need[0]:
            return [None]
        dunit = dy * self._column(dy)
        return [(dunit - unit * (dunit * unit).sum(self._axes(dy), keepdims=True)) / length]

    def _axes(self, x):
        """The axes over which a length goes."""
        return tuple(range(1, x.ndim)) if self.spec.norm_param.across_spatial else (1,)

    def _column(self, x):
        """The scales, to be combined with x."""
        scale = self.params[0].data
        return scale.reshape(-1, *(1 for _ in x.shape[2:])) if scale.shape else scale
