"""Boxes by their corners: how far they overlap, one written relative to another, and which of many to keep.

A box is (x1, y1, x2, y2) along the last axis.  `extra` is by how much it is longer than x2 - x1: 1 where the corners
name the first and the last pixel inside (R-CNN and its heirs), 0 where they are points of the plane (SSD).
xp is the array library of the arrays.  Sources: "Rich feature hierarchies for accurate object detection" (Girshick et
al., 2014), appendix C, for encode and decode; the PASCAL VOC development kit for nms.
"""

from __future__ import annotations

from demitasse.layers.backend.overlap import area, iou

__all__ = ["area", "centre_size", "decode", "encode", "iou", "nms"]


def centre_size(boxes, extra: float = 0.0):
    """The centres (..., 2) and sizes (..., 2) of boxes (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2] + extra
    return boxes[..., :2] + size / 2, size


def encode(xp, boxes, targets, extra: float = 0.0):
    """Targets (..., 4) as seen from boxes (..., 4): the way between the centres in units of the box's size, and the
    logarithms of the ratios of the sizes; (dx, dy, dw, dh) along the last axis."""
    (centre, size), (wanted, wanted_size) = centre_size(boxes, extra), centre_size(targets, extra)
    return xp.concatenate([(wanted - centre) / size, xp.log(wanted_size / size)], axis=-1)


def decode(xp, boxes, deltas, extra: float = 0.0):
    """The boxes (..., 4) that deltas (dx, dy, dw, dh), as encode makes them, describe from boxes: its inverse."""
    centre, size = centre_size(boxes, extra)
    centre, size = centre + deltas[..., :2] * size, size * xp.exp(deltas[..., 2:])
    return xp.concatenate([centre - size / 2, centre + size / 2 - extra], axis=-1)


def nms(be, boxes, scores, threshold: float, top: int | None = None, extra: float = 0.0, eta: float = 1.0):
    """Non-maximum suppression: the indices of the boxes (N, 4) to keep, best score (N,) first, at most `top` of them.

    threshold: the intersection over union above which the worse box goes.  Of equal scores the earlier box comes
    first.  be: the backend of the arrays, whose `suppress` says the rest.
    """
    order = be.xp.argsort(-scores, kind="stable")
    return order[be.suppress(boxes[order], threshold, top, extra, eta)]
