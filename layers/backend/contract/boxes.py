"""What is decided about boxes: which of many to keep."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any


class Suppression(Protocol):
    """Non-maximum suppression."""

    def suppress(
        self, boxes: Array, threshold: float, top: int | None = None, extra: float = 0.0, eta: float = 1.0
    ) -> Array:
        """The indices (K,), int64 and rising, of the boxes (N, 4), best first, to keep; at most `top` of them.

        From the best on, a box (x1, y1, x2, y2) is dropped if its intersection over union with one that is kept is
        above the threshold.  extra: by how much a box is longer than x2 - x1 (pixels: 1).  eta below 1 (SSD): a
        threshold above 0.5 becomes eta times as much at each box that is kept.
        """
