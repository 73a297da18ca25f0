"""Softmax and its loss by own kernels; the loss and the count of labels stay on the device."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.gpu.launch import launch, pixels

ROW = 64  # classes in a row from which on a block takes a row; else a thread does


def softmax_forward(be, x, axis):
    y, (rows, classes, inner) = be.empty(x.shape), pixels(x, axis)
    if _takes_rows(classes, inner):
        launch(be, "softmax", "softmax_rows", x.size, x, y, rows, classes, blocks=min(int(rows), 1 << 16))
    else:
        launch(be, "softmax", "softmax_forward", x.size, x, y, rows, classes, inner)
    return y


def _takes_rows(classes, inner):
    return inner == 1 and classes >= ROW


def softmax_backward(be, dy, y, axis):
    dx = be.empty(y.shape)
    launch(be, "softmax", "softmax_backward", y.size, dy, y, dx, *pixels(y, axis))
    return dx


def softmax_loss_forward(be, x, labels, axis, ignore, weights=None):
    sizes = pixels(x, axis)
    if _takes_rows(*sizes[1:]):
        x, prob = None, softmax_forward(be, x, axis)
    else:
        prob = be.empty(x.shape)
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
    sizes = np.int64(prob.size), *pixels(prob, axis)[1:]
    arrays = prob, labels, weights, scale, dx
    launch(be, "softmax", "softmax_loss_backward", prob.size, *arrays, *sizes, *_ignored(ignore))
    return dx


def _ignored(ignore):
    return np.int32(ignore is not None), np.int32(ignore or 0)
