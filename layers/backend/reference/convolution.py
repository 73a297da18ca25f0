"""Convolution as im2col and a matrix product; the transposed convolution as its adjoint.  Any number of axes."""

from __future__ import annotations

import contextlib
import math

from demitasse.layers.backend.reference.windows import per_channel, rectified, scatter, windows


def conv_forward(be, x, w, b, geom, relu=None, out=None, scale=None, residual=None, repeats=False):
    n, k, size = len(x), len(w), geom.out_size(x.shape[2:])
    cols = _grouped(be.im2col(x, geom), geom)
    y = be.xp.matmul(w.reshape(geom.group, k // geom.group, cols.shape[2]), cols).reshape(n, k, *size)
    if residual is None:
        return _epilogue(be, y, scale, b, relu)
    return rectified(be, _epilogue(be, y, scale, b, None) + residual, relu)


def conv_backward_data(be, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None, scale=None):
    if diagonal:
        w, group = _diagonal_of(be, w), len(w)
    else:
        group = geom.group
    n, k, channels = len(dy), len(w), w.shape[1] * group
    w = w.reshape(group, k // group, math.prod(w.shape[1:]))
    dy = dy.reshape(n, group, k // group, math.prod(dy.shape[2:]))
    cols = be.xp.matmul(w.transpose(0, 2, 1), dy)
    return _epilogue(be, be.col2im(cols, geom, channels, spatial), scale, b, relu)


def conv_backward_weights(be, x, dy, geom, dw):
    group, k = geom.group, len(dw)
    for image, grad in zip(x, dy, strict=True):
        cols = _grouped(be.im2col(image[None], geom), geom)[0]
        grad = grad.reshape(group, k // group, cols.shape[2])
        dw += be.xp.matmul(grad, cols.transpose(0, 2, 1)).reshape(dw.shape)


def conv_backward(be, x, dy, w, geom, dw, need):
    if dw is not None:
        be.conv_backward_weights(x, dy, geom, dw)
    return be.conv_backward_data(dy, w, geom, x.shape[2:]) if need else None


def upsample_backward(be, dy, w, geom):
    return be.conv_forward(dy, _diagonal_of(be, w), None, geom._replace(group=len(w)))


@contextlib.contextmanager
def frozen_weights(be):
    yield


def invalidate_weight_cache(be):
    """There is none."""


def bias_backward(be, dy, db):
    db += dy.sum(axis=(0, *range(2, dy.ndim)))


def is_diagonal(be, w):
    used = w.any(axis=tuple(range(2, w.ndim)))
    return not bool((used & ~be.xp.eye(len(w), dtype=bool)).any())


def im2col(be, x, geom):
    if geom.is_pointwise:
        return x
    out = geom.out_size(x.shape[2:])
    seen = windows(be.xp, x, geom.kernel, geom.stride, geom.pad, geom.dilation, out)
    kernel_before_out = (0, 1, *range(2 + len(out), 2 + 2 * len(out)), *range(2, 2 + len(out)))
    cols = be.xp.ascontiguousarray(seen.transpose(kernel_before_out))
    return cols.reshape(len(x), x.shape[1] * math.prod(geom.kernel), *out)


def col2im(be, cols, geom, channels, spatial):
    out = geom.out_size(spatial)
    if geom.is_pointwise:
        return cols.reshape(len(cols), channels, *spatial)
    cols = cols.reshape(len(cols), channels, *geom.kernel, *out)
    return scatter(be, cols, geom.kernel, geom.stride, geom.pad, geom.dilation, spatial)


def _diagonal_of(be, w):
    """(K, 1, kernel...): w[i, i] of weights (K, K, kernel...)."""
    each = be.xp.arange(len(w))
    return w[each, each][:, None]


def _grouped(cols, geom):
    """(N, group, C/group * kernel, pixels) of (N, C * kernel, out...)."""
    return cols.reshape(len(cols), geom.group, cols.shape[1] // geom.group, math.prod(cols.shape[2:]))


def _epilogue(be, y, scale, b, relu):
    if scale is not None:
        y = y * per_channel(scale, y)
    if b is not None:
        y = y + per_channel(b, y)
    return rectified(be, y, relu)
