"""How far boxes overlap: plain formulas, for the primitives that ask and for layers.

A box is (x1, y1, x2, y2) along the last axis; `extra` is by how much it is longer than x2 - x1.  xp: the array library
of the arrays.  Source: the PASCAL VOC development kit.
"""

from __future__ import annotations


def iou(xp, a, b, extra: float = 0.0):
    """Intersection over union of each of the boxes a (..., N, 4) with each of b (..., M, 4): (..., N, M).

    Boxes without area overlap with nothing.
    """
    a, b = a[..., :, None, :], b[..., None, :, :]
    size = xp.minimum(a[..., 2:], b[..., 2:]) - xp.maximum(a[..., :2], b[..., :2]) + extra
    common = xp.maximum(size, 0).prod(axis=-1)
    union = area(xp, a, extra) + area(xp, b, extra) - common
    return xp.where(common > 0, common / xp.where(union > 0, union, 1), 0)


def area(xp, boxes, extra: float = 0.0):
    """Width times height of boxes (..., 4): (...); 0 where a corner lies before the other."""
    return xp.maximum(boxes[..., 2:] - boxes[..., :2] + extra, 0).prod(axis=-1)
