"""Boxes by their corners: how far they overlap, one written relative to another, and which of many to keep.

A box is (x1, y1, x2, y2) along the last axis.  `extra` is by how much it is longer than x2 - x1: 1 where the corners
name the first and the last pixel inside (R-CNN and its heirs), 0 where they are points of the plane (SSD).
xp is the array library of the arrays.  Sources: "Rich feature hierarchies for accurate object detection" (Girshick et
al., 2014), appendix C, for encode and decode; the PASCAL VOC development kit for iou and nms.
"""

from __future__ import annotations

BLOCK = 128  # boxes that nms decides on together


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


def nms(xp, boxes, scores, threshold: float, top: int | None = None, extra: float = 0.0, eta: float = 1.0):
    """Non-maximum suppression: the indices of the boxes (N, 4) to keep, best score (N,) first, at most `top` of them.

    From the best on, a box is dropped if its overlap with one that is kept is above the threshold; of equal scores the
    earlier box goes first.  A block of boxes at a time is decided on, and then drops its like from all that follow.
    eta below 1 (SSD): a threshold above 0.5 becomes eta times as much at each box that is kept.
    """
    order = xp.argsort(-scores, kind="stable")
    if eta < 1:
        return order[_adaptive(xp, iou(xp, boxes[order], boxes[order], extra), threshold, eta)][:top]
    kept, count = [order[:0]], 0
    while len(order) and (top is None or count < top):
        block, order = order[:BLOCK], order[BLOCK:]
        block = block[_survivors(xp, iou(xp, boxes[block], boxes[block], extra) > threshold)]
        kept.append(block)
        count += len(block)
        order = order[~(iou(xp, boxes[block], boxes[order], extra) > threshold).any(axis=0)]
    return xp.concatenate(kept)[:top]


def _adaptive(xp, overlaps, threshold, eta):
    """The indices that nms with this eta keeps, one after the other, where overlaps[i, j] is that of boxes i and j."""
    kept: list[int] = []
    for i in range(len(overlaps)):
        if not kept or float(overlaps[i, kept].max()) <= threshold:
            kept.append(i)
            threshold *= eta if threshold > 0.5 else 1
    return xp.asarray(kept, dtype="int64")


def _survivors(xp, overlaps):
    """Which boxes are kept, where overlaps[i, j] says whether i would drop j: j is if no earlier one that is kept
    would drop it.  Each round settles at least one more box from the front, so it ends; mostly after two or three."""
    drops = xp.triu(overlaps, 1)
    alive = xp.ones(len(drops), bool)
    while True:
        before, alive = alive, ~(drops & alive[:, None]).any(axis=0)
        if (before == alive).all():
            return alive
