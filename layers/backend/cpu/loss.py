"""Softmax and the gradient of its loss: jobs of some pixels of an image, all channels."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.axes import axes_along
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

PIXELS = 512  # of a job
LEAST = np.float32(-87.3365)  # whose exp is the smallest normal number
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)


@inner_kernel
def _exp(x):
    """exp of x <= 0 to the last digit or two of float32, in code that becomes vector code; 0 for what is not normal."""
    normal, x = x >= LEAST, max(x, LEAST)
    n = np.floor(x * LOG2E + np.float32(0.5))
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * power if normal else np.float32(0)


@takes(lambda x, axis: floats(x) and x.size > 0 and (axes_along(x.shape, axis).inner == 1 or _in_lines(x, axis)))
def softmax_forward(be, x, axis):
    y = be.empty(x.shape)
    if _in_lines(x, axis):
        be.pool.run(_softmax_forward, 1, x.reshape(-1), y.reshape(-1), axes_along(x.shape, axis), scratch=2 * PIXELS)
    else:
        be.pool.run(_softmax_rows, 1, x.reshape(-1), y.reshape(-1), x.shape[axis])
    return y


def _in_lines(x, axis):
    """Whether pixels of a channel lie beside each other, enough of them for vector code."""
    return axes_along(x.shape, axis).inner >= 16


@kernel
def _softmax_rows(state, x, y, channels):
    """_softmax_forward where all channels of a pixel lie beside each other."""
    me, at_once, rows = enter(state), max(1, PIXELS // channels), x.size // channels
    for job in work(state, me, 0, (rows + at_once - 1) // at_once):
        for row in range(job * at_once, min((job + 1) * at_once, rows)):
            line, out = x[row * channels : (row + 1) * channels], y[row * channels : (row + 1) * channels]
            top, total = line[0], np.float32(0)
            for c in range(1, channels):
                top = line[c] if line[c] > top else top
            for c in range(channels):
                value = line[c] - top
                out[c] = _exp(value) if value == value else value
            for c in range(channels):
                total += out[c]
            total = np.float32(1) / total
            for c in range(channels):
                out[c] *= total


@kernel
def _softmax_forward(state, scratch, x, y, axes):
    """y = exp(x - max) over its sum along the channels."""
    me, (outer, channels, inner) = enter(state), axes
    strips = (inner + PIXELS - 1) // PIXELS
    top, total = scratch[me][:PIXELS], scratch[me][PIXELS : 2 * PIXELS]
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base = min(PIXELS, inner - first), job // strips * channels * inner + first
        for i in range(n):
            top[i] = x[base + i]
            total[i] = 0
        for c in range(1, channels):
            line = x[base + c * inner : base + c * inner + n]
            for i in range(n):
                top[i] = line[i] if line[i] > top[i] else top[i]
        for c in range(channels):
            line, out = x[base + c * inner : base + c * inner + n], y[base + c * inner : base + c * inner + n]
            for i in range(n):
                value = line[i] - top[i]
                value = _exp(value) if value == value else value
                out[i] = value
                total[i] += value
        for i in range(n):
            total[i] = np.float32(1) / total[i]
        for c in range(channels):
            out = y[base + c * inner : base + c * inner + n]
            for i in range(n):
                out[i] *= total[i]


@takes(lambda prob, labels, axis, ignore, scale, weights=None: floats(prob))
def softmax_loss_backward(be, prob, labels, axis, ignore, scale, weights=None):
    labels, valid = be.checked_labels(prob.shape, labels, axis, ignore)
    factor = (valid * scale).astype(np.float32)
    if weights is not None:
        factor *= weights[labels]
    dx = be.empty(prob.shape)
    labels = labels.astype(np.int32)
    arrays = prob.reshape(-1), labels.reshape(-1), factor.reshape(-1), dx.reshape(-1)
    be.pool.run(_softmax_loss_backward, 1, *arrays, axes_along(prob.shape, axis))
    return dx


@kernel
def _softmax_loss_backward(state, prob, labels, factor, dx, axes):
    """dx = (prob - (label is this channel)) * factor; labels, factor (outer, inner)."""
    me, (outer, channels, inner) = enter(state), axes
    strips = (inner + PIXELS - 1) // PIXELS
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base, pixel = min(PIXELS, inner - first), job // strips * channels * inner + first, job // strips * inner
        label, scale = labels[pixel + first : pixel + first + n], factor[pixel + first : pixel + first + n]
        for c in range(channels):
            line, out = prob[base + c * inner : base + c * inner + n], dx[base + c * inner : base + c * inner + n]
            for i in range(n):
                out[i] = (line[i] - np.float32(label[i] == c)) * scale[i]
