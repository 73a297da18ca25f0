"""Elementwise kernels and sums per channel: one pass over memory each, in jobs of GRAIN.

Indices are unsigned: a signed one might be negative, count from the end, and keep a loop from becoming vector code.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.gemm_microkernel import sum_of
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

GRAIN, PIECE = 1 << 16, 1 << 14


@kernel
def place(state, x, y, rows, width, start, y_width):
    """y[row, start : start + width] = x[row] for matrices of `rows` and of width and y_width columns."""
    me = enter(state)
    pieces = (width + PIECE - 1) // PIECE
    for job in work(state, me, 0, rows * pieces):
        row, first = job // pieces, job % pieces * PIECE
        copy(x, row * width + first, y, row * y_width + start + first, min(PIECE, width - first))


@kernel
def relu_forward(state, x, slope, y):
    """y = x where x > 0, slope * x elsewhere."""
    me = enter(state)
    jobs = (x.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, x.size))):
            value = x[i]
            y[i] = value if value > 0 else value * slope + np.float32(0)


@kernel
def relu_backward(state, dy, y, slope, dx):
    """dx = dy where y > 0, slope * dy elsewhere."""
    me = enter(state)
    jobs = (y.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, y.size))):
            value = dy[i]
            dx[i] = value if y[i] > 0 else value * slope


@kernel
def prelu_forward(state, x, slope, y, area):
    """y = x where x > 0, its channel's slope * x elsewhere; planes of `area` pixels."""
    me = enter(state)
    planes = x.size // area
    each = max(1, GRAIN // area)
    jobs = (planes + each - 1) // each
    for job in work(state, me, 0, jobs):
        for plane in range(job * each, min((job + 1) * each, planes)):
            factor = slope[plane % slope.size]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = x[i]
                y[i] = value if value > 0 else value * factor


@kernel
def prelu_backward(state, dy, x, slope, dx, area):
    """dx = dy where x > 0, its channel's slope * dy elsewhere."""
    me = enter(state)
    planes = x.size // area
    each = max(1, GRAIN // area)
    jobs = (planes + each - 1) // each
    for job in work(state, me, 0, jobs):
        for plane in range(job * each, min((job + 1) * each, planes)):
            factor = slope[plane % slope.size]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = dy[i]
                dx[i] = value if x[i] > 0 else value * factor


@kernel
def affine(state, x, centre, scale, shift, y, area):
    """y = (x - centre) * scale + shift, each that of the plane's channel."""
    me = enter(state)
    planes, channels = x.size // area, scale.size
    each = max(1, GRAIN // area)
    jobs = (planes + each - 1) // each
    for job in work(state, me, 0, jobs):
        for plane in range(job * each, min((job + 1) * each, planes)):
            c = plane % channels
            minus, factor, plus = centre[c], scale[c], shift[c]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                y[i] = (x[i] - minus) * factor + plus


@kernel
def dropout(state, x, mask, scale, y):
    """y = x * scale where mask, 0 elsewhere."""
    me = enter(state)
    jobs = (x.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, x.size))):
            y[i] = x[i] * scale if mask[i] else np.float32(0)


@kernel
def bias_backward(state, dy, n_images, area, db):
    """db[c] += the sum of dy (N, C, area): runs of 4096 in float32, those in float64."""
    me = enter(state)
    channels = db.size
    for c in work(state, me, 0, channels):
        total = 0.0
        for image in range(n_images):
            plane = (image * channels + c) * area
            for i in range(0, area, 4096):
                total += sum_of(dy, plane + i, min(4096, area - i))
        db[c] += np.float32(total)
