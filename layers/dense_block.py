"""DenseBlock (Tongcheng's fork, caffe_ocr): a block of DenseNet as one layer.

Bottom (N, C, H, W), top (N, C + numTransition growthRate, H, W).  Each of numTransition steps takes all channels so far
through batch normalisation with scale and shift, ReLU and a convolution 3 x 3 of growthRate channels, and puts those
behind them; with use_BC a convolution 1 x 1 of 4 growthRate channels, normalisation and ReLU come in between.
Params, one for each step: the kernels 3 x 3, scales, shifts, running means and variances (1, c, 1, 1); with use_BC the
kernels 1 x 1 and their scales, shifts, means and variances; last the factor that statistics are divided by, as in
BatchNorm.  Statistics are not learned: each TRAIN pass makes them moving_average_fraction * old + new.

Source: "Densely Connected Convolutional Networks" (Huang et al., 2017), 3; the fields and weights of caffe_ocr's nets.
"""

import math

from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter

EPS = 1e-5
WIDE, NARROW = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1)), ConvGeometry((1, 1), (1, 1), (0, 0), (1, 1))


class DenseBlock(Layer):
    type = "DenseBlock"
    fields = ("denseblock_param",)

    def setup(self, shapes):
        field = self.spec.denseblock_param
        if len(shapes[0]) != 4:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: (N, C, H, W) is expected")
        if min(field.numTransition, field.growthRate) < 1:
            raise SchemaFault("denseblock_param needs numTransition and growthRate of 1 or more")
        if field.use_dropout and self.train:
            raise SchemaFault("use_dropout: true is not known here: leave it out, and put a Dropout behind the block")
        self.steps, self.channels = field.numTransition, shapes[0][1]
        widths, four = [self.channels + t * field.growthRate for t in range(self.steps)], 4 * field.growthRate
        params = [
            Param((field.growthRate, four if field.use_BC else c, 3, 3), field.Filter_Filler) for c in widths
        ] + self._normalising(widths)
        if field.use_BC:
            params += [Param((four, c, 1, 1), field.Filter_Filler) for c in widths]
            params += self._normalising([four] * self.steps)
        return [*params, _running((1,))]

    def _normalising(self, widths):
        """Scales, shifts, means and variances of so many channels each."""
        field, shapes = self.spec.denseblock_param, [(1, c, 1, 1) for c in widths]
        learned = [Param(s, filler) for filler in (field.BN_Scaler_Filler, field.BN_Bias_Filler) for s in shapes]
        return learned + [_running(shape, value) for value in (0, 1) for shape in shapes]

    def infer(self, shapes):
        (shape,), grown = shapes, self.steps * self.spec.denseblock_param.growthRate
        if len(shape) != 4 or shape[1] != self.channels:
            raise ShapeFault(f"the bottom has shape {shape}: (N, {self.channels}, H, W) is expected")
        return [(shape[0], shape[1] + grown, *shape[2:])]

    def forward(self, xs):
        x, steps, saved = xs[0], self.steps, []
        for t in range(steps):
            hidden, kept = self._normalised(x, t + steps)
            between = None
            if self.spec.denseblock_param.use_BC:
                narrow = self.be.conv_forward(hidden, self.params[5 * steps + t].data, None, NARROW)
                between = hidden, *self._normalised(narrow, 6 * steps + t)
                hidden = between[1]
            saved.append((hidden, kept, between))
            x = self.xp.concatenate([x, self.be.conv_forward(hidden, self.params[t].data, None, WIDE)], 1)
        if self.train:
            self.params[-1].data *= self.spec.denseblock_param.moving_average_fraction
            self.params[-1].data += 1
        if self.keep:
            self.saved = saved
        return [x]

    def backward(self, dys, need):
        be, dx, steps = self.be, dys[0], self.steps
        for t, (hidden, kept, between) in reversed(list(enumerate(self.saved))):
            before = dx.shape[1] - self.spec.denseblock_param.growthRate
            dx, dy = dx[:, :before], self.xp.ascontiguousarray(dx[:, before:])
            dy = be.conv_backward(hidden, dy, self.params[t].data, WIDE, self.params[t].grad, True)
            if between:
                wide, _, own = between
                kernel = self.params[5 * steps + t]
                dy = self._normalised_back(dy, own, 6 * steps + t)
                dy = be.conv_backward(wide, dy, kernel.data, NARROW, kernel.grad, True)
            dx = dx + self._normalised_back(dy, kept, t + steps)
        return [dx if need[0] else None]

    def macs(self, bottom_shapes, top_shapes):
        pixels = math.prod(top_shapes[0][2:]) * top_shapes[0][0]
        return pixels * sum(param.count for param in self.params if len(param.shape) == 4 and param.shape[0] > 1)

    def _normalised(self, x, at: int):
        """The ReLU of x (N, c, H, W), normalised by the params from `at` on, and what its gradient needs."""
        be, field = self.be, self.spec.denseblock_param
        scale, shift, *sums = (self.params[at + i * self.steps].data.reshape(-1) for i in range(4))
        if self.train:
            mean, variance = be.moments(x)
            for total, new in zip(sums, (mean, variance), strict=True):
                total *= field.moving_average_fraction
                total += new
            unit = 1 / self.xp.sqrt(variance + EPS)
        else:
            mean, unit, _ = be.running_statistics(*sums, self.params[-1].data, EPS)
        y = be.affine(x, mean, scale * unit, shift, 0.0)
        return y, (x, y, mean, unit)

    def _normalised_back(self, dy, saved, at: int):
        be, (x, y, mean, unit) = self.be, saved
        scale, shift = self.params[at], self.params[at + self.steps]
        dy, zero = be.relu_backward(dy, y, 0.0), be.zeros(unit.shape)
        plain = be.affine(x, mean, unit, zero)
        if scale.grad is not None:
            scale.grad += (dy * plain).sum((0, 2, 3)).reshape(scale.shape)
        if shift.grad is not None:
            shift.grad += dy.sum((0, 2, 3)).reshape(shift.shape)
        dplain = be.affine(dy, zero, scale.data.reshape(-1), zero)
        return be.normalize_backward(dplain, plain, unit) if self.train else be.affine(dplain, zero, unit, zero)


def _running(shape, value: float = 0.0) -> Param:
    """A statistic, which no solver learns."""
    param = Param(shape, FillerParameter(type="constant", value=value))
    param.lr_mult = param.decay_mult = 0.0
    return param
