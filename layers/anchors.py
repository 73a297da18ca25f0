"""Anchors: the boxes of several shapes around every pixel of a feature map, that proposals are written relative to.

Source: "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks" (Ren et al., 2015), 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from demitasse.layers.boxes import decode, nms

RATIOS, SCALES = (0.5, 1.0, 2.0), (8.0, 16.0, 32.0)
PIXEL = 1  # corners name pixels inside the box: it is that much longer than their difference


def anchor_cell(
    base: float = 16, ratios: Sequence[float] = RATIOS, scales: Sequence[float] = SCALES
) -> list[list[float]]:
    """[[x1, y1, x2, y2], ...]: the anchors around a square of base x base pixels at the origin, all scales of the
    first ratio (height over width) first.

    A ratio keeps the area; its sides are rounded to whole pixels before they are scaled.
    """
    centre, found = (base - 1) / 2, []
    for ratio in ratios:
        width = round(math.sqrt(base * base / ratio))
        height = round(width * ratio)
        for scale in scales:
            reach = [(side * scale - 1) / 2 for side in (width, height)]
            found.append([centre - reach[0], centre - reach[1], centre + reach[0], centre + reach[1]])
    return found


def anchor_grid(xp, cell, stride: float, height: int, width: int):
    """The anchors `cell` (A, 4) around every pixel of a map, `stride` pixels of the input apart:
    (height, width, A, 4)."""
    y, x = xp.meshgrid(xp.arange(height), xp.arange(width), indexing="ij")
    shift = xp.stack([x, y, x, y], axis=-1).astype(cell.dtype) * stride
    return shift[:, :, None] + cell


def proposals(be, anchors, scores, deltas, size, min_size: float, before: int, after: int | None, threshold: float):
    """(boxes (K, 4), scores (K,)), the best first: where an image of `size` (height, width) may show something.

    anchors (N, 4) with their scores (N,) and deltas (N, 4) become boxes, are cut off at the image's borders and dropped
    where a side is shorter than min_size; the best `before` (0: all) go through non-maximum suppression with
    `threshold`, and the best `after` of what is left come out.
    """
    xp = be.xp
    # The published nets were trained with boxes that reach from pixel to pixel when they are read, and a pixel more
    # when they are written.
    corners = decode(xp, anchors + xp.asarray([0, 0, PIXEL, PIXEL], anchors.dtype), deltas)
    height, width = size
    most = xp.asarray([width - 1, height - 1, width - 1, height - 1], corners.dtype)
    corners = xp.clip(corners, 0, most)
    (large,) = xp.nonzero((corners[:, 2:] - corners[:, :2] + PIXEL >= min_size).all(axis=1))
    order = large[xp.argsort(-scores[large], kind="stable")]
    order = order[:before] if before else order
    corners, scores = corners[order], scores[order]
    kept = nms(be, corners, scores, threshold, after, PIXEL)
    return corners[kept], scores[kept]
