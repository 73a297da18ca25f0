"""Pooling over windows that each region has for itself: one pixel of all windows after the other."""

from __future__ import annotations

import math

import numpy as np

ELEMENTS = 1 << 24  # of an intermediate product: so many regions at a time


def region_max_forward(be, x, image, rows, columns):
    xp, lowest = be.xp, np.finfo(x.dtype).min
    y = be.zeros((len(image), x.shape[1], rows.shape[1], columns.shape[1]))
    y += xp.where(_sizes(rows, columns) > 0, lowest, 0)[:, None]
    index = xp.full(y.shape, -1, np.int32)
    channel = xp.arange(x.shape[1])[None, :, None, None]
    for line, column, inside in _pixels(xp, rows, columns):
        value = x[image[:, None, None, None], channel, line, column]
        wins = inside & (value > y)
        y = xp.where(wins, value, y)
        index = xp.where(wins, line * x.shape[3] + column, index)
    return y, index


def region_max_backward(be, dy, index, image, shape):
    _, c, h, w = shape
    won = index >= 0
    plane = (image.astype(int)[:, None] * c + be.xp.arange(c))[:, :, None, None]
    dx = be.xp.bincount((plane * (h * w) + index)[won], weights=dy[won], minlength=math.prod(shape))
    return dx.astype(dy.dtype).reshape(shape)


def region_mean_forward(be, x, image, rows, columns):
    xp = be.xp
    channels = _channels(xp, x.shape, rows, columns)
    total = be.zeros((len(image), *channels.shape[1:]))
    for line, column, inside in _pixels(xp, rows, columns):
        total += xp.where(inside, x[image[:, None, None, None], channels, line, column], 0)
    return total / _areas(xp, rows, columns, x.dtype)


def region_mean_backward(be, dy, image, rows, columns, shape):
    xp, (_, c, h, w) = be.xp, shape
    plane = image.astype(int)[:, None, None, None] * c + _channels(xp, shape, rows, columns)
    share = dy / _areas(xp, rows, columns, dy.dtype)
    dx = xp.zeros(math.prod(shape))
    for line, column, inside in _pixels(xp, rows, columns):
        position = (plane * h + line) * w + column
        weights = xp.where(inside, share, 0)
        dx += xp.bincount(xp.where(inside, position, 0).reshape(-1), weights=weights.reshape(-1), minlength=dx.size)
    return dx.astype(dy.dtype).reshape(shape)


def region_weighted_forward(be, x, image, rows, columns):
    y = be.empty((len(image), x.shape[1], rows.shape[1], columns.shape[1]))
    for n, some in _portions(be.xp, image, x.shape, rows.shape[1]):
        _, channels, height, width = x.shape
        lines = x[n].swapaxes(0, 1).reshape(height, channels * width)
        by_rows = (rows[some].reshape(-1, height) @ lines).reshape(len(some), -1, channels, width)  # (r, P, C, W)
        y[some] = (by_rows @ columns[some].swapaxes(1, 2)[:, None]).swapaxes(1, 2)
    return y


def region_weighted_backward(be, dy, image, rows, columns, shape):
    dx = be.zeros(shape)
    for n, some in _portions(be.xp, image, shape, rows.shape[1]):
        by_columns = dy[some].swapaxes(1, 2) @ columns[some][:, None]  # (r, P, C, W)
        flat = rows[some].reshape(-1, shape[2]).T @ by_columns.reshape(-1, shape[1] * shape[3])
        dx[n] += flat.reshape(shape[2], shape[1], shape[3]).swapaxes(0, 1)
    return dx


def _portions(xp, image, shape, cells):
    """(item, indices of some of the regions that lie in it), until all have come."""
    at_once = max(1, ELEMENTS // max(1, cells * shape[1] * shape[3]))
    for n in range(shape[0]):
        (all_of_it,) = xp.nonzero(image == n)
        for first in range(0, len(all_of_it), at_once):
            yield n, all_of_it[first : first + at_once]


def _pixels(xp, rows, columns):
    """(line, column, inside) of the windows' first pixel, second pixel, ... row by row; each goes with (R, C, P, Q).

    Where a window has no such pixel `inside` is False, and line and column name another one.
    """
    tops, ends = rows[:, None, :, None, 0], rows[:, None, :, None, 1]
    lefts, stops = columns[:, None, None, :, 0], columns[:, None, None, :, 1]
    if not tops.size:
        return
    for i in range(int((ends - tops).max())):
        for j in range(int((stops - lefts).max())):
            inside = (tops + i < ends) & (lefts + j < stops)
            yield xp.where(inside, tops + i, 0), xp.where(inside, lefts + j, 0), inside


def _sizes(rows, columns):
    """How many pixels each window has: (R, P, Q)."""
    return (rows[..., 1] - rows[..., 0])[:, :, None] * (columns[..., 1] - columns[..., 0])[:, None]


def _areas(xp, rows, columns, dtype):
    """What each window's sum is divided by: (R, 1, P, Q)."""
    return xp.maximum(_sizes(rows, columns), 1).astype(dtype)[:, None]


def _channels(xp, shape, rows, columns):
    """The channel that each window of each number looks at: (1, D, P, Q)."""
    return xp.arange(shape[1]).reshape(1, -1, rows.shape[1], columns.shape[1])
