"""A Demitasse net as a PyTorch module: the same layers, wired alike, with the same weights; and Caffe's SGD."""

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
        self.specs = [spec for spec in specs if spec.type not in ("Input", "Python", "Data")]
        for name, of_layer in params.items():
            for i, param in enumerate(of_layer):
                value = nn.Parameter(_values(param), requires_grad=param.lr_mult != 0)
                value.lr_mult, value.decay_mult = param.lr_mult, param.decay_mult
                self.register_parameter(_attribute(name, i), value)
        last_use = {name: i for i, spec in enumerate(self.specs) for name in spec.bottom}
        self.done = [
            [name for name, use in last_use.items() if use == i and name not in (*keep, *spec.top)]
            for i, spec in enumerate(self.specs)
        ]

    @classmethod
    def like(cls, net, keep=()):
        """With the weights of a netdef.Net."""
        return cls(net.specs, net.params, keep)

    def weights(self, name):
        """The learned arrays of a layer, None for those it does not have."""
        return getattr(self, _attribute(name, 0), None), getattr(self, _attribute(name, 1), None)

    def forward(self, blobs):
        blobs = dict(blobs)
        for spec, done in zip(self.specs, self.done, strict=True):
            y = getattr(self, spec.type)(spec, *(blobs[name] for name in spec.bottom))
            if spec.top:
                blobs[spec.top[0]] = y
            for name in done:
                del blobs[name]
        return blobs

    def Convolution(self, spec, x):  # noqa: N802 (methods are named like the types)
        p = spec.convolution_param
        w, b = self.weights(spec.name)
        return functional.conv2d(
            x,
            w,
            b,
            _pair(p.stride, p.stride_h, p.stride_w, 1),
            _pair(p.pad, p.pad_h, p.pad_w, 0),
            _pair(p.dilation, 0, 0, 1),
            p.group,
        )

    def Deconvolution(self, spec, x):  # noqa: N802
        p = spec.convolution_param
        w, b = self.weights(spec.name)
        stride, pad = _pair(p.stride, p.stride_h, p.stride_w, 1), _pair(p.pad, p.pad_h, p.pad_w, 0)
        return functional.conv_transpose2d(x, w, b, stride, pad, groups=p.group)

    def InnerProduct(self, spec, x):  # noqa: N802
        return functional.linear(x.flatten(1), *self.weights(spec.name))

    def ReLU(self, spec, x):  # noqa: N802
        slope = spec.relu_param.negative_slope
        return functional.leaky_relu(x, slope) if slope else functional.relu(x, inplace=spec.top[0] == spec.bottom[0])

    def Power(self, spec, x):  # noqa: N802
        p = spec.power_param
        return (p.shift + p.scale * x) ** p.power

    def Pooling(self, spec, x):  # noqa: N802
        p = spec.pooling_param
        if p.global_pooling:
            reduce = x.amax if p.pool == PoolingParameter.MAX else x.mean
            return reduce((2, 3), keepdim=True)
        pool = functional.max_pool2d if p.pool == PoolingParameter.MAX else functional.avg_pool2d
        ceil = p.round_mode == PoolingParameter.CEIL
        return pool(x, p.kernel_size, p.stride, p.pad, ceil_mode=ceil)

    def LRN(self, spec, x):  # noqa: N802
        p = spec.lrn_param
        assert p.norm_region == LRNParameter.ACROSS_CHANNELS
        return functional.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)

    def Dropout(self, spec, x):  # noqa: N802
        return functional.dropout(x, spec.dropout_param.dropout_ratio, self.training)

    def Crop(self, spec, x, like):  # noqa: N802
        offset = spec.crop_param.offset[0] if spec.crop_param.offset else 0
        return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    def Eltwise(self, spec, *xs):  # noqa: N802
        p = spec.eltwise_param
        assert p.operation == EltwiseParameter.SUM
        factors = list(p.coeff) or [1.0] * len(xs)
        return sum(x if factor == 1 else x * factor for x, factor in zip(xs, factors, strict=True))

    def Scale(self, spec, x):  # noqa: N802
        w, b = self.weights(spec.name)
        y = x * w.view(1, -1, 1, 1)
        return y if b is None else y + b.view(1, -1, 1, 1)

    def Concat(self, spec, *xs):  # noqa: N802
        return torch.cat(xs, spec.concat_param.axis)

    def Softmax(self, spec, x):  # noqa: N802
        return functional.softmax(x, spec.softmax_param.axis)

    def Accuracy(self, spec, x, label):  # noqa: N802
        return (x.argmax(1) == label.view(x.shape[:1] + x.shape[2:])).float().mean()

    def SoftmaxWithLoss(self, spec, x, label):  # noqa: N802
        label = label.reshape(x.shape[:1] + x.shape[2:]).long()
        p = spec.loss_param
        ignore = p.ignore_label if p.HasField("ignore_label") else -100
        if p.HasField("normalize") and not p.normalize:
            return functional.cross_entropy(x, label, ignore_index=ignore, reduction="sum") / len(x)
        return functional.cross_entropy(x, label, ignore_index=ignore)


def _attribute(layer, index):
    return f"{layer}:{index}".replace(".", "_")


def _values(param):
    """A copy of a Param's array, else random values of its shape, of a spread that keeps that of a ReLU's inputs."""
    if param.data is not None:
        host = param.data if isinstance(param.data, np.ndarray) else param.data.get()
        return torch.from_numpy(host.copy())
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
