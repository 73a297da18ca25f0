"""Non-maximum suppression: a block of boxes at a time is decided on, and then drops its like from all that follow."""

from __future__ import annotations

from demitasse.layers.backend.overlap import iou

BLOCK = 128  # boxes that are decided on together


def suppress(be, boxes, threshold, top=None, extra=0.0, eta=1.0):
    xp = be.xp
    if eta < 1:
        return _adaptive(xp, iou(xp, boxes, boxes, extra), threshold, eta)[:top]
    left = xp.arange(len(boxes))
    kept, count = [left[:0]], 0
    while len(left) and (top is None or count < top):
        block, left = left[:BLOCK], left[BLOCK:]
        block = block[_survivors(xp, iou(xp, boxes[block], boxes[block], extra) > threshold)]
        kept.append(block)
        count += len(block)
        left = left[~(iou(xp, boxes[block], boxes[left], extra) > threshold).any(axis=0)]
    return xp.concatenate(kept)[:top]


def _adaptive(xp, overlaps, threshold, eta):
    """The indices that are kept with this eta, one after the other; overlaps[i, j] is that of boxes i and j."""
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
