"""Non-maximum suppression box by box: each is compared with those that are kept until one of them drops it."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.jit import exact_kernel
from demitasse.layers.backend.dispatch import takes


@takes(lambda boxes, threshold, top=None, extra=0.0, eta=1.0: floats(boxes) and eta >= 1 and np.isfinite(boxes).all())
def suppress(be, boxes, threshold, top=None, extra=0.0, eta=1.0):
    kept = np.empty(len(boxes) if top is None else min(top, len(boxes)), np.int64)
    areas, found = np.empty(len(boxes), np.float32), np.zeros(1, np.int64)
    _suppress(boxes, np.float32(threshold), np.float32(extra), areas, kept, found)
    return kept[: found[0]]


@exact_kernel
def _suppress(boxes, threshold, extra, areas, kept, found):
    """Writes the indices of those that are kept into `kept`, and how many they are into `found` (1,).  areas (N,):
    scratch."""
    zero, count = np.float32(0), 0
    for i in range(len(boxes)):
        if count == len(kept):
            break
        x1, y1, x2, y2 = boxes[i]
        areas[i] = max(x2 - x1 + extra, zero) * max(y2 - y1 + extra, zero)
        dropped = False
        for k in range(count):
            j = kept[k]
            width = max(min(x2, boxes[j, 2]) - max(x1, boxes[j, 0]) + extra, zero)
            common = width * max(min(y2, boxes[j, 3]) - max(y1, boxes[j, 1]) + extra, zero)
            if common > zero and common / (areas[j] + areas[i] - common) > threshold:
                dropped = True
                break
        if not dropped:
            kept[count] = i
            count += 1
    found[0] = count
