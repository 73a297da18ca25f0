"""ReLU, PReLU, dropout and sums: one pass over memory each, in jobs of GRAIN elements.

Indices are unsigned: a signed one might be negative, count from the end, and keep a loop from becoming vector code.
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats, of_type
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

GRAIN = 1 << 13  # some microseconds, that threads end together


@takes(lambda x, slope: floats(x))
def relu_forward(be, x, slope):
    y = be.empty(x.shape)
    be.pool.run(_relu_forward, 1, x.reshape(-1), np.float32(slope), y.reshape(-1))
    return y


@kernel
def _relu_forward(state, x, slope, y):
    """y = x where x > 0, slope * x elsewhere."""
    me = enter(state)
    jobs = (x.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, x.size))):
            value = x[i]
            y[i] = value if value > 0 else value * slope + np.float32(0)


@takes(lambda dy, y, slope: floats(dy, y))
def relu_backward(be, dy, y, slope):
    dx = be.empty(dy.shape)
    be.pool.run(_relu_backward, 1, dy.reshape(-1), y.reshape(-1), np.float32(slope), dx.reshape(-1))
    return dx


@kernel
def _relu_backward(state, dy, y, slope, dx):
    """dx = dy where y > 0, slope * dy elsewhere."""
    me = enter(state)
    jobs = (y.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, y.size))):
            value = dy[i]
            dx[i] = value if y[i] > 0 else value * slope


@takes(lambda x, slope: floats(x, slope) and x.size > 0)
def prelu_forward(be, x, slope):
    y = be.empty(x.shape)
    be.pool.run(_prelu_forward, 1, x.reshape(-1), slope.reshape(-1), y.reshape(-1), math.prod(x.shape[2:]))
    return y


@kernel
def _prelu_forward(state, x, slope, y, area):
    """y = x where x > 0, its channel's slope * x elsewhere; planes of `area` pixels."""
    me = enter(state)
    planes = x.size // area
    planes_per_job = max(1, GRAIN // area)
    jobs = (planes + planes_per_job - 1) // planes_per_job
    for job in work(state, me, 0, jobs):
        for plane in range(job * planes_per_job, min((job + 1) * planes_per_job, planes)):
            factor = slope[plane % slope.size]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = x[i]
                y[i] = value if value > 0 else value * factor


@takes(lambda dy, x, slope: floats(dy, x, slope) and x.size > 0)
def prelu_backward(be, dy, x, slope):
    dx = be.empty(x.shape)
    arrays = dy.reshape(-1), x.reshape(-1), slope.reshape(-1), dx.reshape(-1)
    be.pool.run(_prelu_backward, 1, *arrays, math.prod(x.shape[2:]))
    return dx


@kernel
def _prelu_backward(state, dy, x, slope, dx, area):
    """dx = dy where x > 0, its channel's slope * dy elsewhere; planes of `area` pixels."""
    me = enter(state)
    planes = x.size // area
    planes_per_job = max(1, GRAIN // area)
    jobs = (planes + planes_per_job - 1) // planes_per_job
    for job in work(state, me, 0, jobs):
        for plane in range(job * planes_per_job, min((job + 1) * planes_per_job, planes)):
            factor = slope[plane % slope.size]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = dy[i]
                dx[i] = value if x[i] > 0 else value * factor


@takes(lambda xs, weights, relu=None: len(xs) == 2 and floats(*xs))
def weighted_sum(be, xs, weights, relu=None):
    a, b = xs
    y, slope = be.empty(a.shape), np.float32(1 if relu is None else relu)
    be.pool.run(_weighted_sum, 1, a.reshape(-1), b.reshape(-1), *map(np.float32, weights), slope, y.reshape(-1))
    return y


@kernel
def _weighted_sum(state, a, b, weight_a, weight_b, slope, y):
    """y = relu(a * weight_a + b * weight_b); slope 1: no relu."""
    me = enter(state)
    jobs = (y.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, y.size))):
            value = a[i] * weight_a + b[i] * weight_b
            y[i] = value if value > 0 else value * slope + np.float32(0)


@takes(lambda dy, mask, ratio: floats(dy) and of_type(bool, mask))
def dropout_backward(be, dy, mask, ratio):
    dx = be.empty(dy.shape)
    be.pool.run(_dropout_backward, 1, dy.reshape(-1), mask.reshape(-1), np.float32(1 / (1 - ratio)), dx.reshape(-1))
    return dx


@kernel
def _dropout_backward(state, dy, mask, scale, dx):
    """dx = dy * scale where mask, 0 elsewhere."""
    me = enter(state)
    jobs = (dy.size + GRAIN - 1) // GRAIN
    for job in work(state, me, 0, jobs):
        for i in range(np.uint64(job * GRAIN), np.uint64(min((job + 1) * GRAIN, dy.size))):
            dx[i] = dy[i] * scale if mask[i] else np.float32(0)
