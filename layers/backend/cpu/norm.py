"""Affine maps per channel; LRN across channels, in jobs of some pixels of an image, all channels."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.axes import axes_along
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

GRAIN = 1 << 16  # elements of an affine map's job
PIXELS = 512  # of a job of LRN


@takes(lambda x, centre, scale, shift, relu=None: floats(x, centre, scale, shift) and x.size > 0)
def affine(be, x, centre, scale, shift, relu=None):
    y, slope = be.empty(x.shape), np.empty(len(scale), np.float32)
    slope[:] = 1 if relu is None else relu
    be.pool.run(_affine, 1, x.reshape(-1), centre, scale, shift, slope, y.reshape(-1), math.prod(x.shape[2:]))
    return y


@kernel
def _affine(state, x, centre, scale, shift, slope, y, area):
    """y = relu((x - centre) * scale + shift), all those of the plane's channel; slope 1: no relu."""
    me = enter(state)
    planes, channels = x.size // area, scale.size
    each = max(1, GRAIN // area)
    jobs = (planes + each - 1) // each
    for job in work(state, me, 0, jobs):
        for plane in range(job * each, min((job + 1) * each, planes)):
            c = plane % channels
            minus, factor, plus, below = centre[c], scale[c], shift[c], slope[c]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = (x[i] - minus) * factor + plus
                y[i] = value if value > 0 else value * below + np.float32(0)


@inner_kernel
def _power(scale, beta):
    """scale ** -beta"""
    if beta == np.float32(0.75):
        root = np.sqrt(scale)
        return np.float32(1) / (root * np.sqrt(root))
    return scale**-beta


@takes(lambda x, size, alpha, beta, k: floats(x))
def lrn_forward(be, x, size, alpha, beta, k):
    y, scale = be.empty(x.shape), be.empty(x.shape)
    arrays = x.reshape(-1), y.reshape(-1), scale.reshape(-1)
    be.pool.run(
        _lrn_forward, 1, *arrays, axes_along(x.shape, 1), size, np.float32(alpha), np.float32(beta), np.float32(k)
    )
    return y, scale


@kernel
def _lrn_forward(state, x, y, scale, axes, size, alpha, beta, k):
    """scale = k + alpha / size * (sum of x^2 over `size` channels); y = x * scale ** -beta."""
    me, (outer, channels, inner) = enter(state), axes
    strips = (inner + PIXELS - 1) // PIXELS
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base = min(PIXELS, inner - first), job // strips * channels * inner + first
        for c in range(channels):
            at = base + c * inner
            total = scale[at : at + n]
            for i in range(n):
                total[i] = 0
            for other in range(max(0, c - size // 2), min(channels, c + size // 2 + 1)):
                line = x[base + other * inner : base + other * inner + n]
                for i in range(n):
                    total[i] += line[i] * line[i]
            line, out = x[at : at + n], y[at : at + n]
            if beta == np.float32(0.75):
                for i in range(n):
                    total[i] = k + alpha / size * total[i]
                    out[i] = line[i] * _power(total[i], np.float32(0.75))
            else:
                for i in range(n):
                    total[i] = k + alpha / size * total[i]
                    out[i] = line[i] * _power(total[i], beta)


@takes(lambda dy, x, y, scale, size, alpha, beta: floats(dy, x, y, scale))
def lrn_backward(be, dy, x, y, scale, size, alpha, beta):
    dx = be.empty(x.shape)
    arrays = [a.reshape(-1) for a in (dy, x, y, scale, dx)]
    lrn = size, np.float32(alpha), np.float32(beta)
    scratch = (x.shape[1] + 1) * PIXELS
    be.pool.run(_lrn_backward, 1, *arrays, axes_along(x.shape, 1), lrn, scratch=scratch)
    return dx


@kernel
def _lrn_backward(state, scratch, dy, x, y, scale, dx, axes, lrn):
    """dx = dy * scale ** -beta - 2 alpha beta / size * x * (sum of dy * y / scale over `size` channels).

    lrn: (size, alpha, beta).
    """
    me, (outer, channels, inner), (size, alpha, beta) = enter(state), axes, lrn
    strips = (inner + PIXELS - 1) // PIXELS
    around, ratio = scratch[me][:PIXELS], scratch[me][PIXELS:]
    factor = np.float32(2) * alpha * beta / size
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base = min(PIXELS, inner - first), job // strips * channels * inner + first
        for c in range(channels):
            at = base + c * inner
            for i in range(n):
                ratio[c * PIXELS + i] = dy[at + i] * y[at + i] / scale[at + i]
        for c in range(channels):
            at = base + c * inner
            for i in range(n):
                around[i] = 0
            for other in range(max(0, c - size // 2), min(channels, c + size // 2 + 1)):
                for i in range(n):
                    around[i] += ratio[other * PIXELS + i]
            if beta == np.float32(0.75):
                for i in range(n):
                    dx[at + i] = dy[at + i] * _power(scale[at + i], np.float32(0.75)) - factor * x[at + i] * around[i]
            else:
                for i in range(n):
                    dx[at + i] = dy[at + i] * _power(scale[at + i], beta) - factor * x[at + i] * around[i]
