"""Affine maps per channel; LRN across channels, in jobs of some pixels of an image, all channels."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.axes import axes_along, by_channel
from demitasse.layers.backend.cpu.conv.repeated_image import RepeatedImage
from demitasse.layers.backend.cpu.gemm_microkernel import dot_of, sum_of
from demitasse.layers.backend.cpu.jit import exact_kernel, inner_kernel, inner_kernel_of_sums, kernel
from demitasse.layers.backend.cpu.operands import Outputs
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

GRAIN = 1 << 13  # elements of an affine map's job: some microseconds, that threads end together
PIXELS = 512  # of a job of LRN
RUN = 1 << 12  # elements that are added up in float32, and stay in the innermost cache; runs are added up in float64
NONE = np.empty(0, np.float32)


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


def _or_none(x):
    """A flat array for kernels, empty where there is none."""
    return NONE if x is None else x.reshape(-1)


@takes(
    lambda dy, x, scale, dscale, dshift, y=None, relu=None: (
        isinstance(y, RepeatedImage)
        or (dy.size > 0 and floats(*[each for each in (dy, x, scale, dscale, dshift, y) if each is not None]))
    )
)
def affine_backward(be, dy, x, scale, dscale, dshift, y=None, relu=None):
    if isinstance(y, RepeatedImage):  # no other kernel takes it: whatever dy is
        y, dy = be.to_nchw(y), np.require(dy, np.float32, "CW")
    dx, slope = be.empty(dy.shape), np.float32(1 if relu is None else relu)
    sums = _or_none(dscale), _or_none(dshift)
    arrays = dy.reshape(-1), *map(_or_none, (x if dscale is not None else None, y, scale)), slope, dx.reshape(-1)
    be.pool.run(_affine_backward, 1, *arrays, *sums, axes_along(dy.shape, 1))
    return dx


@kernel
def _affine_backward(state, dy, x, y, scale, slope, dx, dscale, dshift, axes):
    """dx = scale * dy of y = relu(scale * x + shift), after the ReLU's own gradient, whose sum is added to dshift, and
    to dscale times x.  What is empty is not there.  A job is a channel."""
    me, (outer, channels, area) = enter(state), axes
    for c in work(state, me, 0, channels):
        factor = scale[c] if scale.size > 0 else np.float32(1)
        with_x = total = 0.0
        for image in range(outer):
            plane = (image * channels + c) * area
            for start in range(plane, plane + area, RUN):
                n = min(RUN, plane + area - start)
                _rectify(dy, y, start, n, slope, dx)
                if dscale.size > 0:
                    with_x += dot_of(dx, start, x, start, n)
                if dshift.size > 0:
                    total += sum_of(dx, start, n)
                if scale.size > 0:
                    for i in range(np.uint64(start), np.uint64(start + n)):
                        dx[i] *= factor
        if dscale.size > 0:
            dscale[c] += np.float32(with_x)
        if dshift.size > 0:
            dshift[c] += np.float32(total)


@inner_kernel
def _rectify(dy, y, start, n, slope, dx):
    """dx = dy where y > 0 or there is no y, slope * dy elsewhere."""
    if y.size == 0:
        copy(dy, start, dx, start, n)
        return
    for i in range(np.uint64(start), np.uint64(start + n)):
        value = dy[i]
        dx[i] = value if y[i] > 0 else value * slope


@inner_kernel_of_sums
def _sum_of_squares(x, centre, start, n):
    """(x[start] - centre)^2 + ... of n elements."""
    total = np.float32(0)
    for i in range(np.uint64(start), np.uint64(start + n)):
        total += (x[i] - centre) * (x[i] - centre)
    return total


@takes(lambda x: floats(x) and x.size > 0)
def moments(be, x):
    mean, variance = be.empty(x.shape[1]), be.empty(x.shape[1])
    be.pool.run(_moments, 1, x.reshape(-1), mean, variance, axes_along(x.shape, 1))
    return mean, variance


@kernel
def _moments(state, x, mean, variance, axes):
    """A job is a channel, which is gone through twice."""
    me, (outer, channels, area) = enter(state), axes
    for c in work(state, me, 0, channels):
        total = squares = 0.0
        for image in range(outer):
            plane = (image * channels + c) * area
            for start in range(plane, plane + area, RUN):
                total += sum_of(x, start, min(RUN, plane + area - start))
        mean[c] = np.float32(total / (outer * area))
        for image in range(outer):
            plane = (image * channels + c) * area
            for start in range(plane, plane + area, RUN):
                squares += _sum_of_squares(x, mean[c], start, min(RUN, plane + area - start))
        variance[c] = np.float32(squares / (outer * area))


@takes(lambda dy, y, scale: floats(dy, y, scale) and dy.size > 0)
def normalize_backward(be, dy, y, scale):
    dx = be.empty(dy.shape)
    arrays = dy.reshape(-1), y.reshape(-1), scale.reshape(-1), dx.reshape(-1)
    be.pool.run(_normalize_backward, 1, *arrays, axes_along(dy.shape, 1))
    return dx


@kernel
def _normalize_backward(state, dy, y, scale, dx, axes):
    """dx = scale * (dy - the mean of dy - y * the mean of dy * y).  A job is a channel."""
    me, (outer, channels, area) = enter(state), axes
    for c in work(state, me, 0, channels):
        total = with_y = 0.0
        for image in range(outer):
            plane = (image * channels + c) * area
            for start in range(plane, plane + area, RUN):
                n = min(RUN, plane + area - start)
                total += sum_of(dy, start, n)
                with_y += dot_of(dy, start, y, start, n)
        mean, slope = np.float32(total / (outer * area)), np.float32(with_y / (outer * area))
        for image in range(outer):
            plane = (image * channels + c) * area
            for i in range(np.uint64(plane), np.uint64(plane + area)):
                dx[i] = (dy[i] - y[i] * slope - mean) * scale[c]


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
