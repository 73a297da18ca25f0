"""An image and its boxes on the way onto a canvas: zoomed at a place, cut, moved.

Source: the window files and data layers of MS-CNN (Cai et al., 2016), 4.1, whose roundings these are.
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.data.field_maps import nearest
from demitasse.layers.data.images import resize


def zoomed(image: np.ndarray, centre, factors) -> tuple[np.ndarray, tuple, tuple]:
    """(the image (H, W, C) resized by the factors of width and height, these, the shift (x, y) before it).

    Where that is much, only what lies around the centre (x, y) is.
    """
    rows, cols = image.shape[:2]
    x = y = 0
    if max(factors) > 1.5:
        wide, high = (min(nearest(1.2 * n / by), n) for n, by in zip((cols, rows), factors, strict=True))
        x = min(max(math.floor(centre[0] - wide / 2 + 0.5), 0), cols - wide)
        y = min(max(math.floor(centre[1] - high / 2 + 0.5), 0), rows - high)
        image = image[y : y + high, x : x + wide]
    if tuple(factors) != (1.0, 1.0):
        sides = (max(1, nearest(n * by)) for n, by in zip(image.shape[:2], factors[::-1], strict=True))
        image = resize(image, *sides)
    return image, factors, (-x, -y)


def place(own: int, canvas: int, centre: float, jitter: int) -> tuple[int, int, int]:
    """(where on the canvas, where in the image, how many pixels) of an axis along which an image has `own` pixels; a
    larger one shows its centre, a smaller one lies in the middle, either somewhat beside that."""
    if own <= canvas:
        to = min(max(nearest((canvas - own) / 2) + jitter, 0), canvas - own)
        return to, 0, own
    start = math.floor(centre + 0.5) + jitter - nearest(canvas / 2)
    return 0, min(max(start, 0), own - canvas), canvas


def moved(corners: np.ndarray, factors, shift) -> np.ndarray:
    """Corners (N, 4) times the factors of x and y, then moved by the shift."""
    return corners * np.tile(factors, 2) + np.tile(shift, 2)


def mirrored(corners: np.ndarray, width: int) -> np.ndarray:
    """Corners (N, 4) in the mirrored image of that width."""
    return np.stack([width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]], axis=1)
