"""ReLU, PReLU, dropout and sums by own kernels, of arrays and of channels-last tensors alike."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.gpu.launch import channels, in_layout_of, launch, like
from demitasse.layers.backend.gpu.nhwc import NhwcTensor


def relu_forward(be, x, slope):
    y = like(be, x)
    launch(be, "elementwise", "relu_forward", x.size, x, y, np.int64(x.size), np.float32(slope))
    return y


def relu_backward(be, dy, y, slope):
    dy = in_layout_of(be, y, dy)
    dx, bits = like(be, dy), []
    if isinstance(dx, NhwcTensor) and dx.layout.fp16:
        bits = [be.zeros(1, np.int32)]
        dx.bits = bits[0]
    launch(be, "elementwise", "relu_backward", y.size, dy, y, dx, *bits, np.int64(y.size), np.float32(slope))
    return dx


def weighted_sum(be, xs, weights, relu=None):
    x, weight = xs[0], weights[0]
    for i, other in enumerate(xs[1:] or [None], 1):
        terms = _in_one_layout(be, x, other)
        y = like(be, terms[0])
        constants = weight, weights[i] if other is not None else 0, 1 if relu is None or i + 1 < len(xs) else relu
        launch(be, "elementwise", "weighted_sum", y.size, *terms, y, np.int64(y.size), *map(np.float32, constants))
        x, weight = y, 1
    return x


def _in_one_layout(be, *xs):
    """Channels last where all are, without scales; None stays."""
    if all(x is None or isinstance(x, NhwcTensor) for x in xs):
        return [x and x.layout.unscaled(x) for x in xs]
    return [x if x is None else be.to_nchw(x) for x in xs]


def dropout_forward(be, x, ratio):
    y, mask, draw = like(be, x), like(be, x, bool), be.uniform(x.shape)
    planes = (x.shape[1], math.prod(x.shape[2:])) if isinstance(x, NhwcTensor) else (1, 1)
    sizes = np.int64(x.size), *map(np.int32, planes)
    launch(be, "elementwise", "dropout_forward", x.size, x, draw, y, mask, *sizes, np.float32(1 - ratio))
    return y, mask


def dropout_backward(be, dy, mask, ratio):
    dy = in_layout_of(be, mask, dy)
    dx = like(be, dy)
    launch(be, "elementwise", "dropout_backward", dy.size, dy, mask, dx, np.int64(dy.size), np.float32(1 - ratio))
    return dx


def prelu_forward(be, x, slope):
    y = like(be, x)
    launch(be, "elementwise", "prelu_forward", x.size, x, slope, y, *channels(x, slope))
    return y


def prelu_backward(be, dy, x, slope):
    dx = like(be, x)
    launch(be, "elementwise", "prelu_backward", x.size, dy, x, slope, dx, *channels(x, slope))
    return dx
