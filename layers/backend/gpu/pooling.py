"""Pooling by own kernels, of arrays and of channels-last tensors alike."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.backend.gpu.launch import in_layout_of, launch, like
from demitasse.layers.backend.gpu.nhwc import NhwcTensor


def max_pool_forward(be, x, geom):
    y, index = like(be, x, None, geom.out), like(be, x, np.int32, geom.out)
    _pool(be, "max_pool_forward", y, geom, x.shape[2:], x, y, index)
    return y, index


def max_pool(be, x, geom, repeats=False):
    y = like(be, x, None, geom.out)
    _pool(be, "max_pool_forward", y, geom, x.shape[2:], x, y, None)
    return y


def max_pool_backward(be, dy, index, geom, spatial):
    dy = in_layout_of(be, index, dy)
    dx = like(be, dy, None, spatial)
    _pool(be, "max_pool_backward", dx, geom, spatial, dy, index, dx)
    return dx


def ave_pool_forward(be, x, geom):
    y = like(be, x, None, geom.out)
    _pool(be, "ave_pool_forward", y, geom, x.shape[2:], x, y)
    return y


def ave_pool_backward(be, dy, geom, spatial):
    dy = be.to_nchw(dy) if isinstance(dy, NhwcTensor) and dy.layout.fp16 else dy  # shares are too small for fp16
    dx = like(be, dy, None, spatial)
    _pool(be, "ave_pool_backward", dx, geom, spatial, dy, dx)
    return dx


def stochastic_pool_forward(be, x, geom, train):
    y = like(be, x, None, geom.out)
    draw = be.uniform(y.shape) if train else None
    index = be.empty(y.shape, np.int32) if train else None
    _pool(be, "stochastic_pool_forward", y, geom, x.shape[2:], x, draw, y, index)
    return y, index


def _pool(be, kernel, result, geom: PoolGeometry, spatial, *arrays):
    channels = result.shape[1] if isinstance(result, NhwcTensor) else 1  # (N, C, h, w) is read as (N * C, h, w, 1)
    constants = be.runtime.constants((*spatial, *geom.out, *geom.kernel, *geom.stride, *geom.pad, channels))
    launch(be, "pooling", kernel, result.size, *arrays, np.int64(result.size), constants)
