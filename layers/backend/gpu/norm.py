"""Affine maps per channel, their statistics, and LRN across channels, by own kernels."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.dispatch import takes
from demitasse.layers.backend.gpu.launch import channels, launch, like
from demitasse.layers.backend.gpu.nhwc import NhwcTensor


def affine(be, x, centre, scale, shift, relu=None):
    x = x.layout.unscaled(x) if isinstance(x, NhwcTensor) else x
    by_channel = next((each for each in (centre, scale, shift) if each is not None), None)
    if by_channel is not None:
        y, slope = like(be, x), relu if np.isscalar(relu) else 1
        sizes = *channels(x, by_channel), np.float32(slope)
        launch(be, "elementwise", "affine", x.size, x, centre, scale, shift, y, *sizes)
        x, relu = y, None if np.isscalar(relu) else relu
    if relu is None:
        return x
    return be.relu_forward(x, relu) if np.isscalar(relu) else be.prelu_forward(x, relu)


def running_statistics(be, mean, variance, count, eps):
    def make(sources, outs):
        sizes = np.int64(len(mean)), np.float32(eps)
        launch(be, "elementwise", "running_statistics", len(mean), *sources, *outs, *sizes)

    def empty():
        return tuple(be.empty(mean.shape) for _ in range(3))

    return be.derived.arrays(f"statistics {eps}", (mean, variance, count), empty, make)


def compose_affine(be, first, then):
    size = next(len(each) for each in (*first, *then) if each is not None)

    def make(sources, outs):
        launch(be, "elementwise", "compose_affine", size, *sources, *outs, np.int64(size))

    def empty():
        return be.empty((size,)), be.empty((size,))

    arrays, of_weights = (*first, *then), be.derived.holds(first[0]) or (first[0] is None and be.derived.holds(then[0]))
    if of_weights:  # what follows on a map of weights is one too; others may come from a batch
        return be.derived.arrays("composed", arrays, empty, make)
    outs = empty()
    make(arrays, outs)
    return outs


@takes(lambda x: x.size > 0 and x.dtype == np.float32)
def moments(be, x):
    return _means(be, x, None)


@takes(lambda dy, y, scale: y.size > 0 and y.dtype == np.float32)
def normalize_backward(be, dy, y, scale):
    dy, dx = be.to_nchw(dy), be.empty(y.shape)
    launch(be, "norm", "normalize_backward", y.size, dy, y, *_means(be, dy, y), scale, dx, *channels(y, scale))
    return dx


def _means(be, a, b):
    """(mean, variance), (C,) each, of a; with b the means of a and of a * b."""
    n, many, inner = len(a), a.shape[1], math.prod(a.shape[2:])
    strips = max(1, min(n * inner // 4096, 64))
    partial, first, second = be.empty((many, strips, 2)), be.empty((many,)), be.empty((many,))
    cut = np.int32(many), np.int32(strips)
    sizes = np.int64(n), np.int32(inner)
    launch(be, "norm", "pair_sums", a.size, a, b, partial, *cut, *sizes, blocks=many * strips)
    x = a if b is None else None
    sizes = np.int64(n * inner), np.int32(inner)
    launch(be, "norm", "pair_means", many, partial, x, first, second, *cut, *sizes)
    return first, second


def lrn_forward(be, x, size, alpha, beta, k):
    x = x.layout.unscaled(x) if isinstance(x, NhwcTensor) else x
    y, scale = like(be, x), like(be, x, np.float32)
    constants = np.int32(size), np.float32(alpha), np.float32(beta), np.float32(k)
    launch(be, "lrn", "lrn_forward", x.size, x, y, scale, *_elements(x), *constants)
    return y, scale


def lrn_backward(be, dy, x, y, scale, size, alpha, beta):
    dx = be.empty(x.shape)
    constants = np.int32(size), np.float32(alpha), np.float32(beta)
    launch(be, "lrn", "lrn_backward", x.size, dy, x, y, scale, dx, *_elements(x), *constants)
    return dx


def _elements(x):
    """(elements, channels, elements of a channel in a row) as a kernel takes them."""
    inner = 1 if isinstance(x, NhwcTensor) else math.prod(x.shape[2:])
    return np.int64(x.size), np.int32(x.shape[1]), np.int32(inner)
