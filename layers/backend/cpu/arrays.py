"""Arrays from the memory pool, and their concatenation, which copies none that already lie where they belong."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

PIECE = 1 << 14  # elements of a row per job


class _Columns(NamedTuple):
    """Columns start ... start + width - 1 of a matrix (rows, row_stride)."""

    rows: int
    width: int
    start: int
    row_stride: int


def empty(be, shape, dtype=None):
    return be.memory.empty(shape, dtype or be.dtype)


def zeros(be, shape, dtype=None):
    x = be.memory.empty(shape, dtype or be.dtype)
    x[...] = 0
    return x


@takes(lambda xs, axis, out=None: floats(*xs))
def concatenate(be, xs, axis, out=None):
    shape = (*xs[0].shape[:axis], sum(x.shape[axis] for x in xs), *xs[0].shape[axis + 1 :])
    y = be.empty(shape) if out is None else out.reshape(shape)
    widths, rows = [math.prod(x.shape[axis:]) for x in xs], math.prod(shape[:axis])
    row_stride, starts = sum(widths), itertools.accumulate(widths, initial=0)
    for x, start, width in zip(xs, starts, widths, strict=False):
        if out is None or rows > 1 or not _lies_in(x, y, start):
            be.pool.run(_copy_into_columns, 1, x.reshape(-1), y.reshape(-1), _Columns(rows, width, start, row_stride))
    return y


@kernel
def _copy_into_columns(state, x, y, columns):
    """The columns of y = x (rows, width)."""
    me = enter(state)
    pieces = (columns.width + PIECE - 1) // PIECE
    for job in work(state, me, 0, columns.rows * pieces):
        row, first = job // pieces, job % pieces * PIECE
        start = row * columns.row_stride + columns.start + first
        copy(x, row * columns.width + first, y, start, min(PIECE, columns.width - first))


def describe(be):
    return [f"Threads: {be.threads}"]


def _lies_in(x, y, start):
    """Whether x is the elements of y from number `start` on."""
    return x.__array_interface__["data"][0] == y.__array_interface__["data"][0] + start * y.itemsize
