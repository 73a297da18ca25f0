"""PReLU: y = x for positive x, slope * x below; one learned slope per channel, or one for all (channel_shared)."""

from layers.layer import Layer, Param
from proto.errors import ShapeFault
from proto.messages import FillerParameter


class PReLU(Layer):
    type = "PReLU"
    in_place = True

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.prelu_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: slopes belong to channels, axis 1, which is missing")
        filler = param.filler if param.HasField("filler") else FillerParameter(type="constant", value=0.25)
        return [Param(() if param.channel_shared else (shape[1],), filler)]

    def infer(self, shapes):
        (shape,), slopes = shapes, self.params[0].shape
        if slopes and shape[1:2] != slopes:
            raise ShapeFault(f"the bottom has shape {shape}, but there are slopes for {slopes[0]} channels")
        return [shape]

    def forward(self, xs):
        xp, (x,) = self.xp, xs
        if self.keep:
            self.saved = x
        return [xp.maximum(x, 0) + self.column(x.ndim) * xp.minimum(x, 0)]

    def backward(self, dys, need):
        xp, x, (dy,), (slope,) = self.xp, self.saved, dys, self.params
        if slope.grad is not None:
            axes = (0, *range(2, x.ndim)) if slope.shape else None
            slope.grad += (dy * xp.minimum(x, 0)).sum(axes)
        return [xp.where(x > 0, dy, self.column(x.ndim) * dy) if need[0] else None]  # at 0: the slope

    def column(self, axes):
        """The slopes, to be multiplied with an array of so many axes."""
        slope = self.params[0].data
        return slope.reshape(-1, *(1,) * (axes - 2)) if slope.ndim else slope
