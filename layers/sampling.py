"""Images at points between their pixels: bilinear samples, and how these change with the image and with the points.

An image is flat, (N, C, H * W), points are rows and columns (N, P) in pixels, pixel (0, 0) at (0, 0); what lies outside
the image counts as zeros.
Source: "Spatial transformer networks" (Jaderberg et al., 2015), 3.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Corner(NamedTuple):
    """One of the four pixels around each point, all (N, P): its index in the flat image, its part in the sample, and
    how that part grows with the point's row and column."""

    index: Any
    part: Any
    by_row: Any
    by_column: Any


def corners_of(xp, rows, columns, size: tuple[int, int]) -> list[Corner]:
    """The four pixels around points in images of size (H, W); those outside have no part."""
    height, width = size
    found = []
    for row, down, down_slope in _along(xp, rows, height):
        for column, across, across_slope in _along(xp, columns, width):
            index = row * width + column
            found.append(Corner(index, down * across, down_slope * across, down * across_slope))
    return found


def _along(xp, points, size):
    """(pixel, its part, the slope of that) of the pixels before and after each point, along one axis."""
    low = xp.floor(points)
    for step in (0, 1):
        pixel = low + step
        inside = (pixel >= 0) & (pixel < size)
        part = 1 - abs(points - pixel)
        yield xp.clip(pixel, 0, max(size - 1, 0)).astype("int64"), part * inside, (2 * step - 1) * inside


def area_weights(xp, source: int, size: int, first: float = 0.0, last: float = 1.0):
    """(size, source): how much of each of `size` pixels is covered by each of `source` pixels, which together lie from
    `first` to `last` in shares of the whole; `weights @ image @ weights.T` is an image resized by area."""
    lows, edges = xp.arange(size) / size, first + (last - first) * xp.arange(source + 1) / source
    covered = xp.minimum(lows[:, None] + 1 / size, edges[1:]) - xp.maximum(lows[:, None], edges[:-1])
    return xp.maximum(covered, 0) * size


def sampled(xp, image, corners: list[Corner]):
    """The samples (N, C, P) of a flat image."""
    y = 0
    for corner in corners:
        y = y + _taken(xp, image, corner) * corner.part[:, None]
    return y


def image_gradient(be, dy, corners: list[Corner], shape):
    """The gradient of the flat image of this shape, from that of its samples (N, C, P)."""
    dx = be.zeros(shape)
    n, c = be.xp.arange(shape[0])[:, None, None], be.xp.arange(shape[1])[:, None]
    for corner in corners:
        be.xp.add.at(dx, (n, c, corner.index[:, None]), (dy * corner.part[:, None]).astype(dx.dtype))
    return dx


def point_gradients(xp, dy, image, corners: list[Corner]):
    """The gradients of the points' rows and columns, (N, P) each, from that of the samples (N, C, P)."""
    drows = dcolumns = 0
    for corner in corners:
        along = (dy * _taken(xp, image, corner)).sum(1)
        drows, dcolumns = drows + along * corner.by_row, dcolumns + along * corner.by_column
    return drows, dcolumns


def _taken(xp, image, corner):
    return xp.take_along_axis(image, corner.index[:, None], 2)
