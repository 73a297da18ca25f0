"""Arrays of the host: NumPy's, which need no transfer."""

from __future__ import annotations

import numpy as np


def asarray(be, host, dtype=None):
    return np.ascontiguousarray(host, dtype=dtype or be.dtype).reshape(np.shape(host))


def to_host(be, x):
    return np.asarray(x)


def to_host_async(be, x):
    return lambda: be.to_host(x)


def to_nchw(be, x):
    return x


def empty(be, shape, dtype=None):
    return be.xp.empty(shape, dtype or be.dtype)


def zeros(be, shape, dtype=None):
    return be.xp.zeros(shape, dtype or be.dtype)


def concatenate(be, xs, axis, out=None):
    return be.xp.concatenate(xs, axis=axis)


def interleave(be, x, rows):
    matrix = x.reshape(len(x), rows, x.shape[1] // rows, *x.shape[2:])
    return be.xp.ascontiguousarray(matrix.swapaxes(1, 2)).reshape(x.shape)


def permute(be, x, order):
    return be.xp.ascontiguousarray(x.transpose(order))


def part(be, x, axis, start, stop):
    return be.xp.ascontiguousarray(x[(slice(None),) * axis + (slice(start, stop),)])


def synchronize(be):
    """Nothing runs by itself here."""


def describe(be):
    return ["Threads: 1"]


def reducer(be, rank, size, share):
    """None: whoever has several processes sums arrays on the host."""
    return None
