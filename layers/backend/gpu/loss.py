"""Softmax and its loss by own kernels; the loss and the count of labels stay on the device."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.gpu.launch import launch, pixels


def softmax_forward(be, x, axis):
    y = be.empty(x.shape)
    launch(be, "softmax", "softmax_forward", x.size, x, y, *pixels(x, axis))
    return y


def softmax_backward(be, dy, y, axis):
    dx = be.empty(y.shape)
    launch(be, "softmax", "softmax_backward", y.size, dy, y, dx, *pixels(y, axis))
    return dx


def softmax_loss_forward(be, x, labels, axis, ignore, weights=None):
    prob = be.empty(x.shape)
    sizes = pixels(x, axis)
    n = int(sizes[0])
    labels = be.xp.ascontiguousarray(labels, dtype=np.int32)
    blocks = max(1, min(-(-n // 256), 1024))
    losses, counts = be.zeros(blocks, np.float64), be.zeros(blocks, np.int64)
    arrays = x, labels, weights, prob, losses, counts
    launch(be, "softmax", "softmax_loss_forward", n, *arrays, *sizes, *_ignored(ignore), blocks=blocks)
    loss, count = be.empty((), np.float64), be.empty((), np.int64)
    launch(be, "softmax", "softmax_loss_total", blocks, losses, counts, loss, count, np.int32(blocks), blocks=1)
    return prob, loss, count


def softmax_loss_backward(be, prob, labels, axis, ignore, scale, weights=None):
    dx = be.empty(prob.shape)
    labels = be.xp.ascontiguousarray(labels, dtype=np.int32)
    scale = be.xp.asarray(scale, dtype=np.float32)
    sizes = pixels(prob, axis)
    arrays = prob, labels, weights, scale, dx
    launch(be, "softmax", "softmax_loss_backward", int(sizes[0]), *arrays, *sizes, *_ignored(ignore))
    return dx


def _ignored(ignore):
    return np.int32(ignore is not None), np.int32(ignore or 0)
