"""ReLU, PReLU, dropout, sums and the sigmoid."""

from __future__ import annotations

from demitasse.layers.backend.reference.windows import per_channel


def relu_forward(be, x, slope):
    return be.xp.where(x > 0, x, x * slope) if slope else be.xp.maximum(x, 0)


def relu_backward(be, dy, y, slope):
    return be.xp.where(y > 0, dy, dy * slope) if slope else dy * (y > 0)


def prelu_forward(be, x, slope):
    return be.xp.where(x > 0, x, x * per_channel(slope, x))


def prelu_backward(be, dy, x, slope):
    return be.xp.where(x > 0, dy, dy * per_channel(slope, x))


def weighted_sum(be, xs, weights, relu=None):
    first, *terms = (x if weight == 1 else x * weight for x, weight in zip(xs, weights, strict=True))
    for term in terms:
        first = first + term
    return first if relu is None else be.relu_forward(first, relu)


def dropout_forward(be, x, ratio):
    mask = be.bernoulli(x.shape, 1 - ratio)
    return be.dropout_backward(x, mask, ratio), mask


def dropout_backward(be, dy, mask, ratio):
    return dy * mask * (1 / (1 - ratio))


def sigmoid(be, x):
    small = be.xp.exp(-be.xp.abs(x))  # never overflows
    return be.xp.where(x >= 0, 1, small) / (1 + small)
