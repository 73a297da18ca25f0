"""Affine maps per channel; LRN across channels, in jobs of some pixels of an image, all channels."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.axes import axes_along, by_channel
from demitasse.layers.backend.cpu.jit import exact_kernel, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Outputs
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

GRAIN = 1 << 16  # elements of an affine map's job
PIXELS = 512  # of a job of LRN


@takes(lambda x, centre, scale, shift, relu=None: floats(x) and x.size > 0)
def affine(be, x, centre, scale, shift, relu=None):
    y, channels = be.empty(x.shape), x.shape[1]
    centre, outputs = (
        by_channel(channels, centre, 0.0),
        Outputs(*_pair(channels, scale, shift), by_channel(channels, relu, 1.0)),
    )
    be.pool.run(_affine, 1, x.reshape(-1), centre, outputs, y.reshape(-1), math.prod(x.shape[2:]))
    return y


@kernel
def _affine(state, x, centre, outputs, y, area):
    """y = relu((x - centre) * scale + bias), all those of the plane's channel."""
    me = enter(state)
    planes, channels = x.size // area, centre.size
    each = max(1, GRAIN // area)
    jobs = (planes + each - 1) // each
    for job in work(state, me, 0, jobs):
        for plane in range(job * each, min((job + 1) * each, planes)):
            c = plane % channels
            minus, factor, plus, below = centre[c], outputs.scale[c], outputs.bias[c], outputs.slope[c]
            for i in range(np.uint64(plane * area), np.uint64((plane + 1) * area)):
                value = (x[i] - minus) * factor + plus
                y[i] = value if value > 0 else value * below + np.float32(0)


def _pair(channels, scale, shift):
    """(scale, shift), (C,) each, for kernels."""
    return by_channel(channels, scale, 1.0), by_channel(channels, shift, 0.0)


def compose_affine(be, first, then):
    channels = next(len(each) for each in (*first, *then) if each is not None)
    scale, shift = be.empty(channels), be.empty(channels)
    arrays = *_pair(channels, *first), *_pair(channels, *then)
    be.pool.run(_compose_affine, 1, *arrays, scale, shift, alone=True)
    return scale, shift


@exact_kernel
def _compose_affine(state, scale1, shift1, scale2, shift2, scale, shift):
    """y = scale * x + shift for y = scale2 * (scale1 * x + shift1) + shift2."""
    for i in range(np.uint64(0), np.uint64(scale.size)):
        scale[i] = scale1[i] * scale2[i]
        shift[i] = shift1[i] * scale2[i] + shift2[i]


@takes(lambda mean, variance, count, eps: floats(mean, variance))
def running_statistics(be, mean, variance, count, eps):
    outs = be.empty(len(mean)), be.empty(len(mean)), be.empty(len(mean))
    be.pool.run(_running_statistics, 1, mean, variance, by_channel(1, count, 1.0), np.float32(eps), *outs, alone=True)
    return outs


@exact_kernel
def _running_statistics(state, means, variances, count, eps, mean, scale, shift):
    """See the contract."""
    one = np.float32(1)
    factor = one / count[0] if count[0] != 0 else np.float32(0)
    for i in range(np.uint64(0), np.uint64(mean.size)):
        mean[i] = means[i] * factor
        scale[i] = one / np.sqrt(variances[i] * factor + eps)
        shift[i] = -mean[i] * scale[i]


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
