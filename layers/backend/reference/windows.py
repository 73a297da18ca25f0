"""What several families have in common: windows over images, and values per channel."""

from __future__ import annotations

import numpy as np


def windows(xp, x, kernel, stride, pad, dilation, out, fill=0):
    """A view (N, C, out..., kernel...) of x (N, C, spatial...) padded with `fill` as far as windows reach."""
    reach = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, stride, dilation, kernel, strict=True)]
    edges = [(p, max(0, r - n - p)) for r, n, p in zip(reach, x.shape[2:], pad, strict=True)]
    if any(map(any, edges)):
        x = xp.pad(x, [(0, 0), (0, 0), *edges], constant_values=fill)
    # CuPy's sliding_window_view copies the extent to the device, which a recording refuses.
    steps = [(step * s, step * d) for step, s, d in zip(x.strides[2:], stride, dilation, strict=True)]
    strides = (*x.strides[:2], *(over for over, _ in steps), *(within for _, within in steps))
    return xp.lib.stride_tricks.as_strided(x, (*x.shape[:2], *out, *kernel), strides)


def scatter(be, cells, kernel, stride, pad, dilation, spatial):
    """The adjoint of `windows`: (N, C, *spatial) with cells (N, C, kernel..., out...) added up where they came from."""
    out = cells.shape[2 + len(kernel) :]
    reach = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, stride, dilation, kernel, strict=True)]
    padded = [max(n + 2 * p, r) for n, p, r in zip(spatial, pad, reach, strict=True)]
    image = be.zeros((*cells.shape[:2], *padded), cells.dtype)
    everything = (slice(None), slice(None))
    for tap in np.ndindex(*kernel):
        seen = [slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride, strict=True)]
        image[(*everything, *seen)] += cells[(*everything, *tap)]
    inner = [slice(p, p + n) for p, n in zip(pad, spatial, strict=True)]
    return be.xp.ascontiguousarray(image[(*everything, *inner)])


def per_channel(values, x):
    """values (C,) shaped to go with x (N, C, ...); () as it is."""
    return values.reshape(-1, *[1] * (x.ndim - 2)) if values.ndim else values


def rectified(be, y, relu):
    """The ReLU of y; relu: its slope, a number or one for each channel, or None for y itself."""
    if relu is None:
        return y
    return be.relu_forward(y, relu) if isinstance(relu, int | float) else be.prelu_forward(y, relu)
