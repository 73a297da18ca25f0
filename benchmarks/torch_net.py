"""A Demitasse net as a PyTorch module: the same layers, wired alike, with the same weights; and Caffe's SGD.

One class for each layer type, of its name: `Type(spec, *params)`, called with the bottoms, gives the top.  Whatever a
message says is read when it is made, so that torch.compile finds one graph without breaks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from demitasse.proto.messages import EltwiseParameter, LRNParameter, PoolingParameter


class TorchNet(nn.Module):
    """Layers run in order; `forward({blob: tensor})` gives {blob: tensor} of the net's outputs and of `keep`.

    specs: the layers' messages.  params: {layer: its Params}; one without data (of a Plan) gets random values.
    A SoftmaxWithLoss with `normalize: true` (or VALID) averages over the labelled pixels; else it divides by the batch.
    """

    def __init__(self, specs, params, keep=()):
        super().__init__()
        specs = [spec for spec in specs if spec.type not in ("Input", "Python", "Data")]
        made = {name: [_parameter(param) for param in of_layer] for name, of_layer in params.items()}
        self.layers = nn.ModuleList(globals()[spec.type](spec, *made.get(spec.name, ())) for spec in specs)
        self.bottoms = [tuple(spec.bottom) for spec in specs]
        self.tops = [spec.top[0] if spec.top else None for spec in specs]
        last_use = {name: i for i, spec in enumerate(specs) for name in spec.bottom}
        self.done = [
            [name for name, use in last_use.items() if use == i and name not in (*keep, *spec.top)]
            for i, spec in enumerate(specs)
        ]

    @classmethod
    def like(cls, net, keep=()):
        """With the weights of a netdef.Net."""
        return cls(net.specs, net.params, keep)

    def forward(self, blobs):
        blobs = dict(blobs)
        for i, layer in enumerate(self.layers):
            y = layer(*[blobs[name] for name in self.bottoms[i]])
            if self.tops[i] is not None:
                blobs[self.tops[i]] = y
            for name in self.done[i]:
                del blobs[name]
        return blobs


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


class InnerProduct(_Learned):
    def forward(self, x):
        return functional.linear(x.flatten(1), self.w, self.b)


class ReLU(_Learned):
    def read(self, spec):
        self.slope, self.in_place = spec.relu_param.negative_slope, spec.top[0] == spec.bottom[0]

    def forward(self, x):
        return functional.leaky_relu(x, self.slope) if self.slope else functional.relu(x, inplace=self.in_place)


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
        self.ceil = p.round_mode == PoolingParameter.CEIL

    def forward(self, x):
        if self.is_global:
            return (x.amax if self.is_max else x.mean)((2, 3), keepdim=True)
        pool = functional.max_pool2d if self.is_max else functional.avg_pool2d
        return pool(x, *self.window, ceil_mode=self.ceil)


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
        assert p.operation == EltwiseParameter.SUM
        self.factors = list(p.coeff) or [1.0] * len(spec.bottom)

    def forward(self, *xs):
        return sum(x if factor == 1 else x * factor for x, factor in zip(xs, self.factors, strict=True))


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


def _parameter(param) -> nn.Parameter:
    value = nn.Parameter(_values(param), requires_grad=param.lr_mult != 0)
    value.lr_mult, value.decay_mult = param.lr_mult, param.decay_mult
    return value


def _values(param):
    """A copy of a Param's array, where that lies; else random values of its shape, of a spread that keeps that of a
    ReLU's inputs."""
    if isinstance(param.data, np.ndarray):
        return torch.from_numpy(param.data.copy())
    if param.data is not None and torch.cuda.is_available():
        return torch.as_tensor(param.data, device="cuda").clone()
    if param.data is not None:
        return torch.from_numpy(param.data.get())
    spread = (2 / np.prod(param.shape[1:])) ** 0.5 if len(param.shape) > 1 else 0.0
    return torch.randn(param.shape) * spread


def _pair(values, high, wide, default):
    """(h, w) of a repeated field and its _h and _w forms."""
    if high or wide:
        return high or default, wide or default
    if len(values) == 2:
        return tuple(values)
    return (values[0],) * 2 if values else (default,) * 2


class CaffeSGD:
    """SGD as Caffe writes it: the rate inside the history."""

    def __init__(self, module, momentum, decay):
        self.params = [p for p in module.parameters() if p.requires_grad]
        self.histories = [torch.zeros_like(p) for p in self.params]
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, rate):
        for p, h in zip(self.params, self.histories, strict=True):
            g = p.grad.add(p, alpha=self.decay * p.decay_mult)
            h.mul_(self.momentum).add_(g, alpha=rate * p.lr_mult)
            p.sub_(h)
            p.grad = None
