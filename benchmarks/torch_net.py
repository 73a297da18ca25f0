"""A Demitasse net as a PyTorch module: the same layers, wired alike, with the same weights; and Caffe's SGD.

A Scale behind a BatchNorm is that one's weight and bias, as whoever writes the net in torch has it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks import torch_layers


class TorchNet(nn.Module):
    """Layers run in order; `forward({blob: tensor})` gives {blob: tensor} of the net's outputs and of `keep`.

    specs: the layers' messages.  params: {layer: its Params}; one without data (of a Plan) gets random values.
    A SoftmaxWithLoss with `normalize: true` (or VALID) averages over the labelled pixels; else it divides by the batch.
    """

    def __init__(self, specs, params, keep=()):
        super().__init__()
        specs = [spec for spec in specs if spec.type not in ("Input", "Python", "Data")]
        made = {spec.name: [_parameter(param) for param in params.get(spec.name, ())] for spec in specs}
        specs = _with_scales_in_batch_norms(specs, made)
        self.layers = nn.ModuleList(getattr(torch_layers, spec.type)(spec, *made[spec.name]) for spec in specs)
        self.bottoms = [tuple(spec.bottom) for spec in specs]
        self.tops = [tuple(spec.top) for spec in specs]
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
            blobs.update(zip(self.tops[i], y if isinstance(y, tuple) else (y,), strict=True))
            for name in self.done[i]:
                del blobs[name]
        return blobs


def _with_scales_in_batch_norms(specs, made):
    """The specs without Scales that only a BatchNorm's top goes into; their params go to that layer."""
    kept: list = []
    for spec in specs:
        before = kept[-1] if kept else spec
        if spec.type == "Scale" and before.type == "BatchNorm" and list(spec.bottom) == list(before.top):
            made[before.name] += made[spec.name]
            kept[-1] = type(spec)()
            kept[-1].CopyFrom(before)
            kept[-1].top[:] = spec.top
        else:
            kept.append(spec)
    return kept


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
