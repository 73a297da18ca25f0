"""Demitasse's layer types in PyTorch, one class of the same name for each: `Type(spec, *params)`, called with the
bottoms, gives the top, or several.  Whatever a message says is read when it is made: torch.compile finds one graph.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from demitasse.proto.messages import BNParameter, EltwiseParameter, LRNParameter, PoolingParameter


class _Learned(nn.Module):
    """w and b: its parameters, None where it has none."""

    def __init__(self, spec, w=None, b=None):
        super().__init__()
        self.w, self.b = w, b
        self.read(spec)

    def read(self, spec) -> None:
        """Take from the message what forward needs."""


class Convolution(_Learned):
    def read(self, spec):
        p = spec.convolution_param
        self.stride, self.pad = _pair(p.stride, p.stride_h, p.stride_w, 1), _pair(p.pad, p.pad_h, p.pad_w, 0)
        self.dilation, self.group = _pair(p.dilation, 0, 0, 1), p.group

    def forward(self, x):
        return functional.conv2d(x, self.w, self.b, self.stride, self.pad, self.dilation, self.group)


class Deconvolution(Convolution):
    def forward(self, x):
        return functional.conv_transpose2d(x, self.w, self.b, self.stride, self.pad, groups=self.group)


class DepthwiseConvolution(Convolution):
    def read(self, spec):
        super().read(spec)
        self.group = len(self.w)


ConvolutionDepthwise = DepthwiseConvolution


class InnerProduct(_Learned):
    def forward(self, x):
        return functional.linear(x.flatten(1), self.w, self.b)


class ReLU(_Learned):
    def read(self, spec):
        self.slope, self.in_place = spec.relu_param.negative_slope, spec.top[0] == spec.bottom[0]

    def forward(self, x):
        return functional.leaky_relu(x, self.slope) if self.slope else functional.relu(x, inplace=self.in_place)


class PReLU(_Learned):
    def forward(self, x):
        return functional.prelu(x, self.w.reshape(-1))


class Power(_Learned):
    def read(self, spec):
        p = spec.power_param
        self.shift, self.scale, self.power = p.shift, p.scale, p.power

    def forward(self, x):
        return (self.shift + self.scale * x) ** self.power


class Pooling(_Learned):
    def read(self, spec):
        p = spec.pooling_param
        self.is_max, self.is_global = p.pool == PoolingParameter.MAX, p.global_pooling
        self.window = p.kernel_size, p.stride, p.pad
        self.ceil = p.round_mode == PoolingParameter.CEIL and p.ceil_mode
        self.tells_where = len(spec.top) > 1

    def forward(self, x):
        if self.is_global:
            return (x.amax if self.is_max else x.mean)((2, 3), keepdim=True)
        if self.is_max:
            return functional.max_pool2d(x, *self.window, ceil_mode=self.ceil, return_indices=self.tells_where)
        return functional.avg_pool2d(x, *self.window, ceil_mode=self.ceil)


class Upsample(_Learned):
    """From the mask that a Pooling gives, or by repeating each pixel."""

    def read(self, spec):
        p = spec.upsample_param
        self.scale, self.size = p.scale, (p.upsample_h, p.upsample_w)

    def forward(self, x, mask=None):
        size = self.size if all(self.size) else [n * self.scale for n in x.shape[2:]]
        if mask is None:
            return functional.interpolate(x, size, mode="nearest")
        return functional.max_unpool2d(x, mask, self.scale, output_size=size)


class LRN(_Learned):
    def read(self, spec):
        p = spec.lrn_param
        assert p.norm_region == LRNParameter.ACROSS_CHANNELS
        self.numbers = p.local_size, p.alpha, p.beta, p.k

    def forward(self, x):
        return functional.local_response_norm(x, *self.numbers)


class Dropout(_Learned):
    def read(self, spec):
        self.ratio = spec.dropout_param.dropout_ratio

    def forward(self, x):
        return functional.dropout(x, self.ratio, self.training)


class Crop(_Learned):
    def read(self, spec):
        self.offset = spec.crop_param.offset[0] if spec.crop_param.offset else 0

    def forward(self, x, like):
        first = self.offset
        return x[:, :, first : first + like.shape[2], first : first + like.shape[3]]


class Eltwise(_Learned):
    def read(self, spec):
        p = spec.eltwise_param
        self.factors = list(p.coeff) or [1.0] * len(spec.bottom)
        self.join = {EltwiseParameter.PROD: torch.mul, EltwiseParameter.MAX: torch.maximum}.get(p.operation)

    def forward(self, *xs):
        if self.join is not None:
            return functools.reduce(self.join, xs)
        return sum(x if factor == 1 else x * factor for x, factor in zip(xs, self.factors, strict=True))


class BatchNorm(nn.Module):
    """By the running statistics where Caffe takes those (a variance of 1 where there are none yet); with the weight and
    bias of a Scale behind it."""

    def __init__(self, spec, mean, variance, share, weight=None, bias=None):
        super().__init__()
        p, unit = spec.batch_norm_param, 1 / share.item() if share.item() else 0.0
        self.register_buffer("mean", mean.detach() * unit)
        self.register_buffer("variance", variance.detach() * unit if unit else torch.ones_like(variance))
        self.weight, self.bias, self.eps = weight, bias, p.eps
        self.by_batch = not p.use_global_stats if p.HasField("use_global_stats") else None

    def forward(self, x):
        by_batch = self.training if self.by_batch is None else self.by_batch
        statistics = (None, None) if by_batch else (self.mean, self.variance)
        return functional.batch_norm(x, *statistics, self.weight, self.bias, training=by_batch, eps=self.eps)


class BN(_Learned):
    """SegNet's, by the batch's statistics unless it is merged."""

    def read(self, spec):
        self.merged = spec.bn_param.bn_mode == BNParameter.INFERENCE

    def forward(self, x):
        w, b = self.w.view(-1), self.b.view(-1)
        if self.merged:
            return x * w.view(1, -1, 1, 1) + b.view(1, -1, 1, 1)
        return functional.batch_norm(x, None, None, w, b, training=True, eps=1e-9)


class Permute(_Learned):
    def read(self, spec):
        self.order = list(spec.permute_param.order)

    def forward(self, x):
        return x.permute(*self.order, *(axis for axis in range(x.ndim) if axis not in self.order)).contiguous()


class Reshape(_Learned):
    def read(self, spec):
        self.shape = list(spec.reshape_param.shape.dim)

    def forward(self, x):
        return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(self.shape)])


class Flatten(_Learned):
    def forward(self, x):
        return x.flatten(1)


class ShuffleChannel(_Learned):
    def read(self, spec):
        self.group = spec.shuffle_channel_param.group

    def forward(self, x):
        return functional.channel_shuffle(x, self.group)


class Scale(_Learned):
    def forward(self, x):
        y = x * self.w.view(1, -1, 1, 1)
        return y if self.b is None else y + self.b.view(1, -1, 1, 1)


class Concat(_Learned):
    def read(self, spec):
        self.axis = spec.concat_param.axis

    def forward(self, *xs):
        return torch.cat(xs, self.axis)


class Softmax(_Learned):
    def read(self, spec):
        self.axis = spec.softmax_param.axis

    def forward(self, x):
        return functional.softmax(x, self.axis)


class Accuracy(_Learned):
    def forward(self, x, label):
        return (x.argmax(1) == label.view(x.shape[:1] + x.shape[2:])).float().mean()


class SoftmaxWithLoss(_Learned):
    def read(self, spec):
        p = spec.loss_param
        self.ignore = p.ignore_label if p.HasField("ignore_label") else -100
        self.over_batch = p.HasField("normalize") and not p.normalize

    def forward(self, x, label):
        label = label.reshape(x.shape[:1] + x.shape[2:]).long()
        if self.over_batch:
            return functional.cross_entropy(x, label, ignore_index=self.ignore, reduction="sum") / len(x)
        return functional.cross_entropy(x, label, ignore_index=self.ignore)


def _pair(values, high, wide, default):
    """(h, w) of a repeated field and its _h and _w forms."""
    if high or wide:
        return high or default, wide or default
    if len(values) == 2:
        return tuple(values)
    return (values[0],) * 2 if values else (default,) * 2
