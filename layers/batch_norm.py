"""BatchNorm: y = (x - mean) / sqrt(variance + eps) per channel; scale and shift are left to a Scale layer.

NVIDIA's fork may do both at once: with scale_bias (or one of their fillers) y = scale * that + bias, which are two more
params (C,), of 1 and 0 at the start.

TRAIN uses the statistics of the batch, TEST the running ones (`use_global_stats` overrides).  Three blobs,
never learned: running sums of mean (C,) and variance (C,), and the factor (1,) by which they are to be divided.
A pass over batch statistics multiplies all three by moving_average_fraction, then adds mean, n / (n - 1) * variance
and 1.
"""

from demitasse.layers.affine import Affine, composed
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter


class BatchNorm(Layer):
    type = "BatchNorm"
    launches_only = True
    in_place = fuses_relu = fuses_affine = True

    @property
    def takes_nhwc(self):
        return not self.keep  # backward needs the values, and so do the statistics of a batch

    def setup(self, shapes):
        self.channels, field = shapes[0][1] if len(shapes[0]) > 1 else 1, self.spec.batch_norm_param
        if any(param.HasField("lr_mult") and param.lr_mult for param in self.spec.param[:3]):
            raise SchemaFault("the running statistics are not learned by the solver: write lr_mult: 0, or no param")
        if not 0 <= field.moving_average_fraction <= 1:
            share = field.moving_average_fraction
            raise SchemaFault(f"moving_average_fraction {share:g} is not a share from 0 to 1, such as 0.999")
        params = [Param((self.channels,)), Param((self.channels,)), Param((1,))]
        for param in params:
            param.lr_mult = param.decay_mult = 0.0
        self.scaled = field.scale_bias or field.HasField("scale_filler") or field.HasField("bias_filler")
        if self.scaled:
            one = field.scale_filler if field.HasField("scale_filler") else FillerParameter(type="constant", value=1)
            params += [Param((self.channels,), one), Param((self.channels,), field.bias_filler)]
        return params

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) > 1 and shape[1] != self.channels:
            raise ShapeFault(
                f"the bottom has {shape[1]} channels (shape {shape}), "
                f"but the running statistics were made for {self.channels}"
            )
        return [shape]

    @property
    def use_global(self):
        """Whether the running statistics count, not the batch's."""
        field = self.spec.batch_norm_param
        return field.use_global_stats if field.HasField("use_global_stats") else not self.train

    @property
    def is_affine(self):
        return self.use_global

    @property
    def repeatable(self):
        return self.use_global

    def affine(self):
        _, scale, shift = self._running()
        return composed(self.be, Affine(scale, shift), self._after())

    def forward(self, xs, relu=None, affine=None):
        be, use_global = self.be, self.use_global
        x = xs[0].reshape(-1, 1) if xs[0].ndim == 1 else xs[0]
        mean, scale = self._running()[:2] if use_global else self._of_batch(x)
        y = be.affine(x, mean, *composed(be, Affine(scale, None), self._after(), affine), relu)
        if self.keep:
            wanted = self.scaled or not use_global  # before scale, shift and ReLU
            there = not self.scaled and relu is None
            unit = y if there else be.affine(x, mean, scale, None) if wanted else None
            self.saved = unit, scale, use_global, y if relu is not None else None
        return [y.reshape(xs[0].shape)]

    def _running(self):
        """(mean, 1 / deviation, -mean / deviation), (C,) each, of the running statistics."""
        sums = (param.data for param in self.params[:3])
        return self.be.running_statistics(*sums, self.spec.batch_norm_param.eps)

    def _of_batch(self, x):
        """(mean, 1 / deviation) of the bottom x, which the running statistics take up."""
        be, field = self.be, self.spec.batch_norm_param
        mean, variance = be.moments(be.to_nchw(x))
        n = max(x.size // self.channels, 1)
        for param, new in zip(self.params, (mean, variance * (n / max(n - 1, 1)), 1), strict=False):
            param.data *= field.moving_average_fraction
            param.data += new
        return mean, 1 / self.xp.sqrt(variance + field.eps)

    def _after(self):
        """What follows on the normalisation, if there is anything: gamma and beta."""
        return Affine(*(param.data for param in self.params[3:])) if self.scaled else None

    def backward(self, dys, need, relu=None):
        (dy,), (unit, scale, use_global, y) = dys, self.saved
        dy = dy.reshape(-1, 1) if dy.ndim == 1 else dy
        if self.scaled:
            gamma, beta = self.params[3:]
            dy = self.be.affine_backward(dy, unit, gamma.data, gamma.grad, beta.grad, y, relu)
        elif relu is not None:
            dy = self.be.relu_backward(dy, y, relu)
        if not need[0]:
            return [None]
        dx = self.be.affine(dy, None, scale, None) if use_global else self.be.normalize_backward(dy, unit, scale)
        return [dx.reshape(dys[0].shape)]

    def to_onnx(self, graph, xs):
        (x,), field = xs, self.spec.batch_norm_param
        if field.HasField("use_global_stats") and not field.use_global_stats:
            axes = [axis for axis in range(len(x.shape)) if axis != 1 or len(x.shape) < 2]
            apart = x - graph.mean(x, axes)
            y = apart / graph.node("Sqrt", graph.mean(apart * apart, axes) + field.eps)
            column = (-1, *(1 for _ in x.shape[2:]))
            return [y * graph.param(3, shape=column) + graph.param(4, shape=column) if self.scaled else y]
        mean, variance, factor = graph.params[:3]
        scale = 1 / factor[0] if factor[0] else 0  # the file's sums are written as the means they stand for
        graph.stand_in(2, [1.0])
        unit = [graph.constant([value] * self.channels) for value in (1.0, 0.0)]
        affine = [graph.param(3), graph.param(4)] if self.scaled else unit
        rows = graph.reshape(x, [-1, 1]) if len(x.shape) < 2 else x
        y = graph.node(
            "BatchNormalization",
            *(rows, *affine, graph.param(0, values=mean * scale), graph.param(1, values=variance * scale)),
            epsilon=field.eps,
        )
        return [graph.reshape(y, [-1]) if rows is not x else y]
