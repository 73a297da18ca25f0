"""Max, average and stochastic pooling over 2-D windows."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.reference.windows import scatter, windows

NOT_DILATED = (1, 1)


def max_pool_forward(be, x, geom):
    xp, lowest = be.xp, np.finfo(x.dtype).min
    cells = _cells(xp, xp.where(xp.isnan(x), lowest, x), geom, fill=lowest)
    y = cells.max(axis=-1)
    index = xp.where(y > lowest, _positions(xp, cells.argmax(axis=-1), geom, x.shape[3]), -1).astype(np.int32)
    rows, columns = (xp.arange(geom.out[a]) * geom.stride[a] - geom.pad[a] < x.shape[2 + a] for a in (0, 1))
    holds_pixels = rows[:, None] & columns
    return xp.where(index >= 0, y, xp.where(holds_pixels, lowest, 0)).astype(x.dtype), index


def max_pool(be, x, geom, repeats=False):
    return be.max_pool_forward(x, geom)[0]


def max_pool_backward(be, dy, index, geom, spatial):
    n, c = dy.shape[:2]
    area = math.prod(spatial)
    plane = be.xp.arange(n * c).reshape(n, c, 1, 1) * area
    won = index >= 0
    dx = be.xp.bincount((plane + index)[won], weights=dy[won], minlength=n * c * area)
    return dx.astype(dy.dtype).reshape(n, c, *spatial)


def ave_pool_forward(be, x, geom):
    seen = windows(be.xp, x, geom.kernel, geom.stride, geom.pad, NOT_DILATED, geom.out)
    return seen.sum(axis=(4, 5)) / _areas(be.xp, geom, x.shape[2:], x.dtype)


def ave_pool_backward(be, dy, geom, spatial):
    shares = dy / _areas(be.xp, geom, spatial, dy.dtype)
    cells = be.xp.broadcast_to(shares[:, :, None, None], (*dy.shape[:2], *geom.kernel, *geom.out))
    return scatter(be, cells, geom.kernel, geom.stride, geom.pad, NOT_DILATED, spatial)


def stochastic_pool_forward(be, x, geom, train):
    xp, cells = be.xp, _cells(be.xp, x, geom)
    if not train:
        total = cells.sum(axis=-1)
        return (cells * cells).sum(axis=-1) / xp.where(total > 0, total, 1), None
    ladder = xp.cumsum(cells, axis=-1)
    threshold = be.uniform(ladder.shape[:4]).astype(x.dtype)[..., None] * ladder[..., -1:]
    chosen = xp.minimum((ladder < threshold).sum(axis=-1), cells.shape[-1] - 1)
    y = xp.take_along_axis(cells, chosen[..., None], axis=-1)[..., 0]
    index = _positions(xp, chosen, geom, x.shape[3])
    heights, widths = geom.areas(x.shape[2:])
    holds_pixels = (xp.asarray(heights) > 0)[:, None] & (xp.asarray(widths) > 0)
    return y, xp.where(holds_pixels, index, -1).astype(np.int32)


def _cells(xp, x, geom, fill=0):
    """(N, C, OH, OW, cells of a window)."""
    seen = windows(xp, x, geom.kernel, geom.stride, geom.pad, NOT_DILATED, geom.out, fill)
    return seen.reshape(*seen.shape[:4], math.prod(geom.kernel))


def _positions(xp, tap, geom, width):
    """The position in a plane of `width` of the window's cell number `tap` (N, C, OH, OW)."""
    rows = xp.arange(geom.out[0])[:, None] * geom.stride[0] - geom.pad[0] + tap // geom.kernel[1]
    return rows * width + xp.arange(geom.out[1]) * geom.stride[1] - geom.pad[1] + tap % geom.kernel[1]


def _areas(xp, geom, spatial, dtype):
    heights, widths = (xp.asarray(sizes, dtype) for sizes in geom.areas(spatial))
    return xp.maximum(heights[:, None] * widths, 1)  # 1: a window without pixels, whose sum is 0
