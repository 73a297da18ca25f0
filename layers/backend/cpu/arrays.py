"""Arrays from the memory pool, and their concatenation, which copies none that already lie where they belong."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.allocator import address_of
from demitasse.layers.backend.cpu.conv.repeated_image import RepeatedImage
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

PIECE = 1 << 14  # elements of a row per job


class _Columns(NamedTuple):
    """Rows of `width` elements, of x from x_start on, of y from y_start on, so far apart in each."""

    rows: int
    width: int
    x_start: int
    x_stride: int
    y_start: int
    y_stride: int


def empty(be, shape, dtype=None):
    return be.memory.empty(shape, dtype or be.dtype)


def zeros(be, shape, dtype=None):
    x = be.memory.empty(shape, dtype or be.dtype)
    x[...] = 0
    return x


def to_nchw(be, x):
    return x.whole(be) if isinstance(x, RepeatedImage) else x


@takes(lambda xs, axis, out=None: floats(*xs))
def concatenate(be, xs, axis, out=None):
    shape = (*xs[0].shape[:axis], sum(x.shape[axis] for x in xs), *xs[0].shape[axis + 1 :])
    y = be.empty(shape) if out is None else out.reshape(shape)
    widths, rows = [math.prod(x.shape[axis:]) for x in xs], math.prod(shape[:axis])
    row_stride, starts = sum(widths), itertools.accumulate(widths, initial=0)
    for x, start, width in zip(xs, starts, widths, strict=False):
        if out is None or rows > 1 or not _lies_in(x, y, start):
            columns = _Columns(rows, width, 0, width, start, row_stride)
            be.pool.run(_copy_columns, 1, x.reshape(-1), y.reshape(-1), columns)
    return y


@takes(lambda x, axis, start, stop: floats(x) and x.size > 0)
def part(be, x, axis, start, stop):
    view = x[(slice(None),) * axis + (slice(start, stop),)]
    if view.flags.c_contiguous:
        return view
    y = be.empty(view.shape)
    inner = math.prod(x.shape[axis + 1 :])
    width = view.shape[axis] * inner
    columns = _Columns(math.prod(x.shape[:axis]), width, start * inner, x.shape[axis] * inner, 0, width)
    be.pool.run(_copy_columns, 1, x.reshape(-1), y.reshape(-1), columns)
    return y


@kernel
def _copy_columns(state, x, y, columns):
    """Rows of y = rows of x, a piece of one at a time."""
    me = enter(state)
    pieces = (columns.width + PIECE - 1) // PIECE
    for job in work(state, me, 0, columns.rows * pieces):
        row, first = job // pieces, job % pieces * PIECE
        at, to = columns.x_start + row * columns.x_stride, columns.y_start + row * columns.y_stride
        copy(x, at + first, y, to + first, min(PIECE, columns.width - first))


@takes(lambda x, rows: floats(x) and x.size > 0)
def interleave(be, x, rows):
    y = be.empty(x.shape)
    be.pool.run(_interleave, 1, x.reshape(-1), y.reshape(-1), len(x), rows, x.shape[1] // rows)
    return y


@kernel
def _interleave(state, x, y, images, rows, columns):
    """y = planes (images, columns, rows) of x (images, rows, columns)."""
    me, area = enter(state), x.size // (images * rows * columns)
    for job in work(state, me, 0, images * columns):
        image, column = divmod(job, columns)
        for row in range(rows):
            source, target = (image * rows + row) * columns + column, job * rows + row
            copy(x, source * area, y, target * area, area)


@takes(lambda x, order: floats(x) and x.ndim == 4 and x.size > 0)
def permute(be, x, order):
    y = be.empty([x.shape[axis] for axis in order])
    steps = [math.prod(x.shape[axis + 1 :]) for axis in order]
    be.pool.run(_permute, 1, x.reshape(-1), y.reshape(-1), tuple(y.shape), tuple(steps))
    return y


@kernel
def _permute(state, x, y, sizes, steps):
    """y (sizes) = x, where one step along an axis of y is so many elements of x."""
    me, (images, channels, rows, columns) = enter(state), sizes
    for job in work(state, me, 0, images * channels):
        image, channel = divmod(job, channels)
        for i in range(rows):
            source, target = image * steps[0] + channel * steps[1] + i * steps[2], (job * rows + i) * columns
            for j in range(columns):
                y[target + j] = x[source + j * steps[3]]


def describe(be):
    return [f"Threads: {be.threads}"]


def _lies_in(x, y, start):
    """Whether x is the elements of y from number `start` on."""
    return address_of(x) == address_of(y) + start * y.itemsize
