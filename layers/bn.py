"""BN (SegNet, PSPNet): batch normalisation with its own scale and shift, in the forms of both forks.

SegNet, ENet: two params, scale and shift (1, C, 1, 1).  bn_mode LEARN takes the statistics of the batch, in TRAIN
and in TEST, and may hand them out as tops 2 and 3 (1, C, 1, 1); INFERENCE is scale * x + shift, for files whose
statistics have been merged into scale and shift.
PSPNet, ICNet (any of slope_filler, bias_filler, momentum, eps, frozen is set): two more blobs, never learned, the
running mean and variance, which TEST takes in place of the batch's; each TRAIN pass makes them momentum * old +
(1 - momentum) * new.  frozen: the running ones in TRAIN too, and nothing is learned.
"""

from layers.layer import Layer, Param
from proto.errors import SchemaFault, ShapeFault
from proto.messages import BNParameter, FillerParameter

SEGNET_EPS = 1e-9


class BN(Layer):
    type = "BN"
    tops = (1, 3)
    in_place = True

    def setup(self, shapes):
        (shape,), field = shapes, self.spec.bn_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: BN works on channels, axis 1, which is missing")
        self.running = any(map(field.HasField, ("slope_filler", "bias_filler", "momentum", "eps", "frozen")))
        self.merged = not self.running and field.bn_mode == BNParameter.INFERENCE
        if len(self.spec.top) > 1 and (self.running or self.merged):
            raise SchemaFault(f"{len(self.spec.top)} tops: only bn_mode LEARN hands out the statistics of the batch")
        blob = (1, shape[1], 1, 1)
        if not self.running:
            scale = field.scale_filler if field.HasField("scale_filler") else constant(field.scale)
            shift = field.shift_filler if field.HasField("shift_filler") else constant(field.shift)
            return [Param(blob, scale), Param(blob, shift)]
        slope = field.slope_filler if field.HasField("slope_filler") else constant(1)
        variance = constant(1 if field.frozen else 0)
        params = [Param(blob, slope), Param(blob, field.bias_filler), Param(blob), Param(blob, variance)]
        for param in params if field.frozen else params[2:]:
            param.lr_mult = param.decay_mult = 0.0
        return params

    def infer(self, shapes):
        (shape,), channels = shapes, self.params[0].shape[1]
        if shape[1:2] != (channels,):
            raise ShapeFault(f"the bottom has shape {shape}, but there are scales for {channels} channels")
        self.axes = (0, *range(2, len(shape)))  # summed over: all but the channels
        self.column = (1, -1, *(1 for _ in shape[2:]))  # a value per channel, beside x
        return [shape, (1, channels, 1, 1), (1, channels, 1, 1)][: max(len(self.spec.top), 1)]

    def forward(self, xs):
        xp, (x,), field = self.xp, xs, self.spec.bn_param
        scale, shift, *sums = (param.data.reshape(self.column) for param in self.params)
        from_batch = not self.merged and not (self.running and (field.frozen or not self.train))
        y, std, statistics = x, None, []
        if from_batch:
            n = max(x.size // x.shape[1], 1)
            mean = x.sum(self.axes, keepdims=True) / n
            y = x - mean
            variance = xp.square(y).sum(self.axes, keepdims=True) / n
            statistics = [mean, variance]
            for total, new in zip(sums, statistics, strict=False):
                total *= field.momentum
                total += (1 - field.momentum) * new
        elif self.running:
            y, variance = x - sums[0], sums[1]
        if not self.merged:
            std = xp.sqrt(variance + (field.eps if self.running else SEGNET_EPS))
            y = y / std
        if self.keep:
            self.saved = y, std, from_batch
        shape = self.params[0].shape
        return [y * scale + shift, *(each.reshape(shape) for each in statistics)][: max(len(self.spec.top), 1)]

    def backward(self, dys, need):
        (y, std, from_batch), (scale, shift, *_), dy = self.saved, self.params, dys[0]
        if dy is not None and scale.grad is not None:
            scale.grad += (dy * y).sum(self.axes).reshape(scale.shape)
        if dy is not None and shift.grad is not None:
            shift.grad += dy.sum(self.axes).reshape(shift.shape)
        if not need[0]:
            return [None]
        dx = self.be.zeros(y.shape) if dy is None else dy * scale.data.reshape(self.column)
        if from_batch:
            n = max(y.size // y.shape[1], 1)
            dx = dx - dx.sum(self.axes, keepdims=True) / n - y * ((dx * y).sum(self.axes, keepdims=True) / n)
        if std is not None:
            dx = dx / std
        for statistic, slope in zip(dys[1:], (1, 2 * y * std if len(dys) > 2 else None), strict=False):
            if statistic is not None:
                dx = dx + statistic.reshape(self.column) * slope / n
        return [dx]


def constant(value):
    return FillerParameter(type="constant", value=value)
