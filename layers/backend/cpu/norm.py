"""LRN across channels, softmax and the gradient of its loss: jobs of some pixels of an image, all channels.

Arrays are (outer, channels, inner), flat.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

PIXELS = 512
LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)


@kernel
def _exp(x):
    """exp of x <= 0 to the last digit or two of float32, in code that becomes vector code."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * LOG2E + np.float32(0.5))
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel
def softmax_forward(state, x, y, outer, channels, inner):
    """y = exp(x - max) over its sum along the channels."""
    me = enter(state)
    strips = (inner + PIXELS - 1) // PIXELS
    top, total = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
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


@kernel
def softmax_loss_backward(state, prob, labels, factor, dx, outer, channels, inner):
    """dx = (prob - (label is this channel)) * factor; labels, factor (outer, inner)."""
    me = enter(state)
    strips = (inner + PIXELS - 1) // PIXELS
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base, pixel = min(PIXELS, inner - first), job // strips * channels * inner + first, job // strips * inner
        label, scale = labels[pixel + first : pixel + first + n], factor[pixel + first : pixel + first + n]
        for c in range(channels):
            line, out = prob[base + c * inner : base + c * inner + n], dx[base + c * inner : base + c * inner + n]
            for i in range(n):
                out[i] = (line[i] - np.float32(label[i] == c)) * scale[i]


@kernel
def _power(scale, beta):
    """scale ** -beta"""
    if beta == np.float32(0.75):
        root = np.sqrt(scale)
        return np.float32(1) / (root * np.sqrt(root))
    return scale**-beta


@kernel
def lrn_forward(state, x, y, scale, outer, channels, inner, size, alpha, beta, k):
    """scale = k + alpha / size * (sum of x^2 over `size` channels); y = x * scale ** -beta."""
    me = enter(state)
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


@kernel
def lrn_backward(state, dy, x, y, scale, dx, outer, channels, inner, size, alpha, beta):
    """dx = dy * scale ** -beta - 2 alpha beta / size * x * (sum of dy * y / scale over `size` channels)."""
    me = enter(state)
    strips = (inner + PIXELS - 1) // PIXELS
    ratio = np.empty((channels, PIXELS), np.float32)
    around = np.empty(PIXELS, np.float32)
    factor = np.float32(2) * alpha * beta / size
    for job in work(state, me, 0, outer * strips):
        first = job % strips * PIXELS
        n, base = min(PIXELS, inner - first), job // strips * channels * inner + first
        for c in range(channels):
            at = base + c * inner
            for i in range(n):
                ratio[c, i] = dy[at + i] * y[at + i] / scale[at + i]
        for c in range(channels):
            at = base + c * inner
            for i in range(n):
                around[i] = 0
            for other in range(max(0, c - size // 2), min(channels, c + size // 2 + 1)):
                for i in range(n):
                    around[i] += ratio[other, i]
            if beta == np.float32(0.75):
                for i in range(n):
                    dx[at + i] = dy[at + i] * _power(scale[at + i], np.float32(0.75)) - factor * x[at + i] * around[i]
            else:
                for i in range(n):
                    dx[at + i] = dy[at + i] * _power(scale[at + i], beta) - factor * x[at + i] * around[i]
