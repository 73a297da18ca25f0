"""Affine maps per channel, and LRN across channels, by own kernels."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.gpu.launch import channels, launch, like, pixels
from demitasse.layers.backend.gpu.nhwc import NhwcTensor


def affine(be, x, centre, scale, shift, relu=None):
    x = x.layout.unscaled(x) if isinstance(x, NhwcTensor) else x
    zero = be.zeros(x.shape[1:2])
    centre, shift = (zero if each is None else each for each in (centre, shift))
    scale = zero + 1 if scale is None else scale
    y = like(be, x)
    launch(be, "elementwise", "affine", x.size, x, centre, scale, shift, y, *channels(x, scale))
    return y if relu is None else be.relu_forward(y, relu)


def lrn_forward(be, x, size, alpha, beta, k):
    y, scale = be.empty(x.shape), be.empty(x.shape)
    sizes = pixels(x, 1)
    constants = np.int32(size), np.float32(alpha), np.float32(beta), np.float32(k)
    launch(be, "lrn", "lrn_forward", int(sizes[0]), x, y, scale, *sizes, *constants)
    return y, scale


def lrn_backward(be, dy, x, y, scale, size, alpha, beta):
    dx = be.empty(x.shape)
    sizes = pixels(x, 1)
    constants = np.int32(size), np.float32(alpha), np.float32(beta)
    launch(be, "lrn", "lrn_backward", int(sizes[0]), dy, x, y, scale, dx, *sizes, *constants)
    return dx
