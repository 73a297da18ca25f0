"""BN (SegNet, PSPNet): batch normalisation with its own scale and shift, in the forms of both forks.

SegNet, ENet: two params, scale and shift (1, C, 1, 1).  bn_mode LEARN takes the statistics of the batch, in TRAIN
and in TEST, and may hand them out as tops 2 and 3 (1, C, 1, 1); INFERENCE is scale * x + shift, for files whose
statistics have been merged into scale and shift.
PSPNet, ICNet (any of slope_filler, bias_filler, momentum, eps, frozen is set): two more blobs, never learned, the
running mean and variance, which TEST takes in place of the batch's; each TRAIN pass makes them momentum * old +
(1 - momentum) * new.  frozen: the running ones in TRAIN too, and nothing is learned.

Source: the prototxts and weights of SegNet, ENet, PSPNet and ICNet.
"""

from demitasse.layers.affine import Affine, composed
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import BNParameter, FillerParameter

SEGNET_EPS = 1e-9
SEGNET = ("scale_filler", "shift_filler", "bn_mode", "scale", "shift")
PSPNET = ("slope_filler", "bias_filler", "momentum", "eps", "frozen")


class BN(Layer):
    type = "BN"
    launches_only = True
    tops = (1, 3)
    in_place = True

    @property
    def takes_nhwc(self):
        return not self.keep  # backward needs the values, and so do the statistics of a batch

    def setup(self, shapes):
        (shape,), field = shapes, self.spec.bn_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: BN works on channels, axis 1, which is missing")
        segnet, pspnet = (list(filter(field.HasField, names)) for names in (SEGNET, PSPNET))
        if segnet and pspnet:
            raise SchemaFault(f"bn_param has {segnet[0]}, of SegNet's BN, and {pspnet[0]}, of PSPNet's: keep to one")
        self.running = bool(pspnet)
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
        return [shape, (1, channels, 1, 1), (1, channels, 1, 1)][: max(len(self.spec.top), 1)]

    @property
    def from_batch(self):
        """Whether the statistics of the batch count."""
        return (self.train and not self.spec.bn_param.frozen) if self.running else not self.merged

    @property
    def is_affine(self):
        return not self.from_batch

    @property
    def fuses_affine(self):
        return self.is_affine

    @property
    def repeatable(self):
        return self.is_affine

    @property
    def fuses_relu(self):
        return not self.keep  # backward takes none

    def affine(self):
        scale, shift, *sums = (param.data.reshape(-1) for param in self.params)
        if self.merged:
            return Affine(scale, shift)
        _, *unit = self.be.running_statistics(*sums, None, self.spec.bn_param.eps)
        return composed(self.be, Affine(*unit), Affine(scale, shift))

    def forward(self, xs, relu=None, affine=None):
        be, (x,), field = self.be, xs, self.spec.bn_param
        scale, shift, *sums = (param.data.reshape(-1) for param in self.params)
        if self.from_batch:
            mean, variance = be.moments(be.to_nchw(x))
            for total, new in zip(sums, (mean, variance), strict=False):
                total *= field.momentum
                total += (1 - field.momentum) * new
            unit = 1 / self.xp.sqrt(variance + (field.eps if self.running else SEGNET_EPS))
        elif self.running:
            _, variance = sums
            mean, unit, _ = be.running_statistics(*sums, None, field.eps)
        else:  # merged
            mean = variance = be.zeros(scale.shape)
            unit = be.empty(scale.shape)
            unit[...] = 1
        if self.keep:
            self.saved = x, mean, unit
        whole = composed(be, Affine(unit, None), Affine(scale, shift), affine)
        y, blob = be.affine(x, mean, *whole, relu), self.params[0].shape
        return [y, mean.reshape(blob), variance.reshape(blob)][: max(len(self.spec.top), 1)]

    def backward(self, dys, need):
        be, (x, mean, unit), (scale, shift, *_) = self.be, self.saved, self.params
        zero, n = be.zeros(unit.shape), max(x.size // max(len(unit), 1), 1)
        y = be.affine(x, mean, unit, zero)  # before scale and shift
        dy = be.zeros(x.shape) if dys[0] is None else dys[0]
        grads = [None if param.grad is None else param.grad.reshape(-1) for param in (scale, shift)]
        dunit = be.affine_backward(dy, y, scale.data.reshape(-1), *grads)
        if not need[0]:
            return [None]
        if not self.from_batch:
            return [be.affine(dunit, zero, unit, zero)]
        dx = be.normalize_backward(dunit, y, unit)
        if len(dys) > 1 and dys[1] is not None:
            dx = be.affine(dx, zero, zero + 1, dys[1].reshape(-1) / n)
        if len(dys) > 2 and dys[2] is not None:
            dx += be.affine(y, zero, dys[2].reshape(-1) * 2 / (n * unit), zero)
        return [dx]

    def to_onnx(self, graph, xs):
        (x,), field, channels = xs, self.spec.bn_param, self.params[0].shape[1]
        scale, shift, *sums = (graph.param(i, shape=(channels,)) for i in range(len(self.params)))
        column = (channels, *(1 for _ in x.shape[2:]))
        if self.running:
            return [graph.node("BatchNormalization", x, scale, shift, *sums, epsilon=field.eps)]
        scale, shift = (graph.reshape(blob, column) for blob in (scale, shift))
        if self.merged:
            return [x * scale + shift]
        axes = [0, *range(2, len(x.shape))]
        mean = graph.mean(x, axes)
        apart = x - mean
        variance = graph.mean(apart * apart, axes)
        y = apart / graph.node("Sqrt", variance + SEGNET_EPS) * scale + shift
        blobs = [graph.reshape(blob, (1, channels, 1, 1)) for blob in (mean, variance)[: len(self.spec.top) - 1]]
        return [y, *blobs]


def constant(value):
    """A filler of one value."""
    return FillerParameter(type="constant", value=value)
