"""Normalisation: by the statistics of each channel, and across channels (LRN)."""

from __future__ import annotations

from demitasse.layers.backend.reference.windows import per_channel, rectified


def affine(be, x, centre, scale, shift, relu=None):
    y = x if centre is None else x - per_channel(centre, x)
    y = y if scale is None else y * per_channel(scale, y)
    return rectified(be, y if shift is None else y + per_channel(shift, y), relu)


def affine_backward(be, dy, x, scale, dscale, dshift, y=None, relu=None):
    dy = dy if relu is None else be.relu_backward(dy, y, relu)
    if dscale is not None:
        dscale += (dy * x).sum((0, *range(2, dy.ndim)))
    if dshift is not None:
        be.bias_backward(dy, dshift)
    return dy if scale is None else be.affine(dy, None, scale, None)


def compose_affine(be, first, then):
    (scale, shift), (later_scale, later_shift) = (
        (1 if scale is None else scale, 0 if shift is None else shift) for scale, shift in (first, then)
    )
    zero = 0 * next(each for each in (*first, *then) if each is not None)
    return scale * later_scale + zero, shift * later_scale + later_shift + zero


def running_statistics(be, mean, variance, count, eps):
    factor = 1 if count is None else (count != 0) / (count + (count == 0))
    mean, scale = mean * factor, 1 / be.xp.sqrt(variance * factor + eps)
    return mean, scale, -mean * scale


def moments(be, x):
    axes, n = _elements_of_a_channel(x)
    mean = x.sum(axes) / n
    return mean, be.xp.square(x - per_channel(mean, x)).sum(axes) / n


def normalize_backward(be, dy, y, scale):
    axes, n = _elements_of_a_channel(y)
    dx = dy - y * per_channel((dy * y).sum(axes) / n, y)
    dx -= per_channel(dy.sum(axes) / n, y)
    dx *= per_channel(scale, y)
    return dx


def lrn_forward(be, x, size, alpha, beta, k):
    scale = _sums_across_channels(x * x, size) * (alpha / size) + k
    return x * scale**-beta, scale


def lrn_backward(be, dy, x, y, scale, size, alpha, beta):
    around = _sums_across_channels(dy * y / scale, size)
    return dy * scale**-beta - x * around * (2 * alpha * beta / size)


def _elements_of_a_channel(x):
    """(all axes but 1, how many elements lie along them: 1 where there is none)."""
    return (0, *range(2, x.ndim)), max(x.size // max(x.shape[1], 1), 1)


def _sums_across_channels(x, size):
    """At each channel, the sum over the `size` (odd) channels around it."""
    half, channels = size // 2, x.shape[1]
    sums = x.copy()
    for step in range(1, min(half, channels - 1) + 1):
        sums[:, step:] += x[:, :-step]
        sums[:, :-step] += x[:, step:]
    return sums
