"""Which prior box answers for which true box, and which of those without one a loss learns from (SSD).

Source: "SSD: Single Shot MultiBox Detector" (Liu et al., 2016), 2.2: matching strategy, hard negative mining; "Training
Region-based Object Detectors with Online Hard Example Mining" (Shrivastava et al., 2016).
"""

from __future__ import annotations

from demitasse.layers.boxes import nms

UNMATCHED, IGNORED = -1, -2
MIN_OVERLAP = 1e-6  # what is less counts as none


def match(xp, overlaps, threshold: float | None, ignored=None):
    """(index, overlap), each (P,), of the true box that each of P boxes answers for; overlaps: (P, G).

    First each true box gets the box that it overlaps most with, the pair with the greatest overlap going first; then
    each box that is left answers for its best true box, if their overlap is threshold or more (None: for none).
    index is UNMATCHED where there is none, and IGNORED for boxes of the mask `ignored` (P,).
    overlap is the greatest one, or that with the matched true box.
    """
    if ignored is not None:
        overlaps = xp.where(ignored[:, None], 0, overlaps)
    count, trues = overlaps.shape
    index = xp.full(count, UNMATCHED, dtype="int64")
    if not trues or not count:
        return index, xp.zeros(count, dtype=overlaps.dtype)
    greatest, best = overlaps.max(axis=1), overlaps.argmax(axis=1)
    if threshold is not None:
        index = xp.where((greatest >= threshold) & (greatest > MIN_OVERLAP), best, index)
    left = overlaps.copy()
    for _ in range(trues):
        box, true = divmod(int(left.argmax()), trues)
        if left[box, true] <= MIN_OVERLAP:
            break
        index[box], greatest[box] = true, overlaps[box, true]
        left[box], left[:, true] = 0, 0
    return (index if ignored is None else xp.where(ignored, IGNORED, index)), greatest


def hardest(be, eligible, losses, count: int, boxes=None, param=None):
    """The indices of at most `count` of the eligible (P,) with the greatest losses (P,).

    boxes, param: the candidates' boxes (P, 4) go through this non-maximum suppression before, by their losses.
    """
    (chosen,) = be.xp.nonzero(eligible)
    chosen = chosen[be.xp.argsort(-losses[chosen], kind="stable")]
    if param is not None and param.nms_threshold > 0:
        if param.HasField("top_k") and param.top_k >= 0:
            chosen = chosen[: param.top_k]
        chosen = chosen[nms(be, boxes[chosen], losses[chosen], param.nms_threshold)]
    return chosen[:count]
