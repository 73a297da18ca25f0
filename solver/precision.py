"""Average precision of detections: how right the boxes are that a net finds, over all thresholds of their scores.

    11point      the mean of the greatest precision at a recall of 0, 0.1, ... 1 or more (PASCAL VOC 2007)
    MaxIntegral  the area under the greatest precision at each recall or more (PASCAL VOC 2010 on)
    Integral     the area under precision at each recall
    MSCOCO       as 11point, at 0, 0.01, ... 1 (MS COCO, for one overlap; its figure is the mean over ten)

Sources: "The PASCAL Visual Object Classes Challenge" (Everingham et al., 2010), 4.2; "Microsoft COCO" (Lin et al.,
2014).
"""

from __future__ import annotations

import numpy as np

VERSIONS = ("11point", "MaxIntegral", "Integral", "MSCOCO")


def average_precision(scores: np.ndarray, right: np.ndarray, wrong: np.ndarray, count: int, version: str) -> float:
    """Of boxes with these scores (K,), each right (1), wrong (1) or neither, where there are `count` true ones."""
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(right[order], dtype=float), np.cumsum(wrong[order], dtype=float)
    if not count or not len(hits):
        return 0.0
    recall, precision = hits / count, hits / np.maximum(hits + misses, 1)
    if version == "Integral":
        return float((precision * np.diff(recall, prepend=0)).sum())
    greatest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or more
    if version == "MaxIntegral":
        return float((greatest * np.diff(recall, prepend=0)).sum())
    points = np.linspace(0, 1, 11 if version == "11point" else 101)
    first = np.searchsorted(recall, points - 1e-9)  # that a recall of 0.3 counts as 0.3, however it was rounded
    return float(np.append(greatest, 0)[first].mean())


class BoxPrecision:
    """Gathers what DetectionEvaluate says of batches of boxes."""

    def __init__(self):
        self._counts: dict[int, int] = {}  # of true boxes, by class
        self._rows: list[np.ndarray] = []  # (class, score, right, wrong)

    def add(self, rows: np.ndarray) -> None:
        """Take a top (1, 1, K, 5): rows (-1, class, count, -1, -1), then (image, class, score, right, wrong)."""
        rows = rows.reshape(-1, 5)
        for _, label, count, *_ in rows[rows[:, 0] == -1].tolist():
            self._counts[int(label)] = self._counts.get(int(label), 0) + int(count)
        self._rows.append(rows[rows[:, 0] != -1][:, 1:])

    def by_class(self, version: str) -> dict[int, float]:
        """{class: its average precision}, of the classes that there are true boxes of."""
        rows, found = np.concatenate([np.empty((0, 4)), *self._rows]), {}
        for label, count in sorted(self._counts.items()):
            if count:
                _, scores, right, wrong = rows[rows[:, 0] == label].T
                found[label] = average_precision(scores, right, wrong, count, version)
        return found
