"""Resizing as a resize_param asks (SSD): its three ways to a size, and OpenCV's interpolations beside the bilinear one.

Values are computed in float32 and rounded; OpenCV's fixed point differs by 1 of 255 at most.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.images import resize, resize_nearest
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import ResizeParameter

CUBIC_SHARPNESS = -0.75  # OpenCV's; others take -0.5


class Resizer:
    """What a resize_param asks for; its interpolation is drawn for every image where several are given.

    certain: its `prob` is the share of batches that it is drawn for, among several resize_param.
    """

    def __init__(self, fields, certain: bool = False):
        if not fields.height or not fields.width:
            raise SchemaFault(f"resize_param: height {fields.height} and width {fields.width}: give both")
        self.mode, self.size = fields.resize_mode, (fields.height, fields.width)
        self.prob = 1 if certain else fields.prob
        fixed = self.prob >= 1 and self.mode != ResizeParameter.FIT_SMALL_SIZE
        self.result = self.size if fixed else None  # where it is the same for every image
        self.kinds = list(fields.interp_mode) or [ResizeParameter.LINEAR]
        self.pad_mode, self.pad_value = fields.pad_mode, np.array(fields.pad_value or [0], np.float32)
        self.random = self.prob < 1 or len(self.kinds) > 1

    def __call__(self, image: np.ndarray, rng) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """(H, W, C) at the size asked for, and where in that the image lies: (x1, y1, x2, y2), shares of the new sides.

        rng: a numpy Generator, needed where `random`.
        """
        whole = (0.0, 0.0, 1.0, 1.0)
        if self.prob < 1 and rng.random() >= self.prob:
            return image, whole
        kind = self.kinds[int(rng.integers(len(self.kinds)))] if len(self.kinds) > 1 else self.kinds[0]
        (height, width), aspect = self.size, image.shape[1] / image.shape[0]
        if self.mode != ResizeParameter.WARP:
            wide = aspect > width / height
            by_width = wide if self.mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD else not wide
            height, width = (int(width / aspect), width) if by_width else (height, int(height * aspect))
        resized = resize_by(image, max(1, height), max(1, width), kind)
        if self.mode != ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
            return resized, whole
        return self._padded(resized)

    def _padded(self, image):
        """The image in the middle of the size asked for."""
        rows, cols = image.shape[:2]
        height, width = self.size
        top, left = (height - rows) // 2, (width - cols) // 2
        margins = ((top, height - rows - top), (left, width - cols - left), (0, 0))
        if self.pad_mode == ResizeParameter.CONSTANT:
            padded = np.empty((height, width, image.shape[2]), image.dtype)
            padded[:] = self.pad_value
            padded[top : top + rows, left : left + cols] = image
        else:
            mode = "symmetric" if self.pad_mode == ResizeParameter.MIRRORED else "edge"
            padded = np.pad(image, margins, mode)
        return padded, (left / width, top / height, (left + cols) / width, (top + rows) / height)


def resize_by(image: np.ndarray, height: int, width: int, kind: int) -> np.ndarray:
    """(H, W, C) uint8 to (height, width, C) by a ResizeParameter.Interp_mode."""
    if kind == ResizeParameter.LINEAR:
        return resize(image, height, width)
    if kind == ResizeParameter.NEAREST:
        return resize_nearest(image, height, width)
    rows, cols = image.shape[:2]
    if kind == ResizeParameter.AREA:
        taps = _area_taps if height <= rows and width <= cols else _enlarging_area_taps
    else:
        taps = _cubic_taps if kind == ResizeParameter.CUBIC else _lanczos_taps
    lines = _weighted(image.astype(np.float32), *taps(rows, height))
    pixels = _weighted(lines.swapaxes(0, 1), *taps(cols, width)).swapaxes(0, 1)
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def _weighted(lines, index, weight):
    """For each new line the sum of old ones (old, ...): index and weight (new, taps)."""
    last, weight = len(lines) - 1, weight.astype(np.float32)
    total = 0
    for tap in range(index.shape[1]):
        total = total + lines[index[:, tap].clip(0, last)] * weight[:, tap, None, None]
    return total


def _around(old: int, new: int, before: int, taps: int):
    """The old pixels near each new one's centre: the one at its left or under it, `before` more, and those after it;
    and how far behind that first one the centre lies."""
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(centre).astype(np.intp)
    return first[:, None] + np.arange(-before, taps - before), centre - first


def _area_taps(old: int, new: int):
    """Each new pixel is the mean of what it covers."""
    edges = np.arange(new + 1) * (old / new)
    first = np.floor(edges[:-1] + 1e-9).astype(np.intp)
    index = first[:, None] + np.arange(int(np.ceil(old / new)) + 1)
    covered = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    weight = covered.clip(0)
    return index, weight / weight.sum(axis=1, keepdims=True)


def _enlarging_area_taps(old: int, new: int):
    """What OpenCV takes for AREA where it cannot average: bilinear, with steep ramps between even pixels."""
    first = np.floor(np.arange(new) * (old / new) + 1e-9).astype(np.intp)
    share = (np.arange(new) + 1) - (first + 1) * (new / old)
    share = np.where(share <= 0, 0, share - np.floor(share))
    return first[:, None] + np.arange(2), np.stack([1 - share, share], axis=1)


def _cubic_taps(old: int, new: int):
    index, share = _around(old, new, 1, 4)
    distance, a = np.abs(share[:, None] - np.arange(-1, 3)), CUBIC_SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return index, np.where(distance <= 1, near, far)


def _lanczos_taps(old: int, new: int):
    index, share = _around(old, new, 3, 8)
    distance = share[:, None] - np.arange(-3, 5)
    weight = np.sinc(distance) * np.sinc(distance / 4)
    return index, weight / weight.sum(axis=1, keepdims=True)
