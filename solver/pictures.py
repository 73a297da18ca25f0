"""What a net sees, is told and predicts as pictures: colours of classes, borders, an image from its blob.

Pictures are (H, W, 3) uint8 RGB, labels (H, W) class indices; 255 marks pixels without a class.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

# How colours look to those who lack one of the eye's three pigments, in linear RGB (Machado et al., "A
# physiologically-based model for simulation of color vision deficiency", 2009; severity 1).
_SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227969], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
# Linear RGB to Oklab, in which distances are about those that are seen (Ottosson, 2020).
_TO_CONES = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
_TO_LAB = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])


DARK = 0.4  # lightness in Oklab, of 1: on black a colour below is hard to see


def seen(colours: np.ndarray) -> np.ndarray:
    """(4, n, 3) Oklab values of (n, 3) uint8 colours: to most eyes, and without red, green or blue cones."""
    linear = (np.asarray(colours) / 255.0) ** 2.2
    return np.cbrt((linear @ _SIGHTS.transpose(0, 2, 1)).clip(0, 1) @ _TO_CONES.T) @ _TO_LAB.T


@functools.cache
def distinct_palette(n: int = 256) -> np.ndarray:
    """(n, 3) uint8: black, then always the colour that differs most from those before and from white, to the eyes
    that tell them apart worst; none of them dark.  255 is white."""
    steps = np.linspace(0, 255, 7).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    colours = colours[seen(colours)[0, :, 0] > DARK]
    all_seen = seen(colours)
    palette, distance = np.full((n, 3), 255, np.uint8), np.linalg.norm(all_seen - all_seen[:, -1:], axis=2).min(axis=0)
    palette[0], latest = 0, seen(np.zeros((1, 3)))
    for index in range(1, min(n, 255)):
        distance = np.minimum(distance, np.linalg.norm(all_seen - latest, axis=2).min(axis=0))
        chosen = int(distance.argmax())
        palette[index], latest = colours[chosen], all_seen[:, chosen : chosen + 1]
    return palette


NONE = 255
FINE = 250  # pixels of a side: a line of one pixel can be seen in a picture that is no larger


def colour(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """(H, W) labels as an (H, W, 3) uint8 picture; palette: (256, 3) uint8, None: the distinct one."""
    palette = distinct_palette() if palette is None else palette
    return palette[np.asarray(labels).astype(np.uint8)]


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.5, palette: np.ndarray | None = None) -> np.ndarray:
    """The image (H, W, 3) uint8 with the colours of the classes (H, W) laid over it at `alpha`; class 0 stays clear."""
    image, labels = np.asarray(image), np.asarray(labels)
    mixed = image * (1 - alpha) + colour(labels, palette) * alpha
    return np.where((labels > 0)[..., None], mixed.round(), image).astype(np.uint8)


def outlined(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 with the borders of the labelled areas (H, W) in it: white lines with a
    black rim, wider in larger ones."""
    from scipy import ndimage  # here: SciPy takes longer to import than a small net to load

    picture, (height, width) = picture.copy(), labels.shape
    none = labels == NONE
    if none.any() and not none.all():  # the band round an object that is of no class has two sides: one line is enough
        nearest = ndimage.distance_transform_edt(none, return_distances=False, return_indices=True)
        labels = labels[tuple(nearest)]
    border = np.zeros((height, width), bool)
    border[:, :-1] = labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    steps = max(height, width) // FINE
    if steps:
        border = ndimage.binary_dilation(border, iterations=steps)
    picture[ndimage.binary_dilation(border, iterations=1 + steps // 2)] = 0
    picture[border] = 255
    return picture


def picture_of(planes: np.ndarray, mean: Sequence[float] = ()) -> np.ndarray:
    """The image that became these planes (C, H, W), BGR or gray; mean: what was subtracted from three, BGR.

    Where that is not known, it is stretched from the darkest to the brightest.
    """
    planes = planes if len(planes) >= 3 else planes[:1].repeat(3, axis=0)
    planes = planes[2::-1]
    if len(mean) == 3:
        planes = planes + np.array(mean[::-1], np.float32)[:, None, None]
    else:
        low, high = planes.min(), planes.max()
        planes = (planes - low) * (255 / max(high - low, 1e-6))
    return planes.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def beside(panels: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures (h, w, 3) uint8 of any sizes in one row (H, W, 3), on white; gap: pixels between two."""
    height = max(panel.shape[0] for panel in panels)
    width = sum(panel.shape[1] for panel in panels) + gap * (len(panels) - 1)
    row = np.full((height, width, 3), 255, np.uint8)
    x = 0
    for panel in panels:
        row[: panel.shape[0], x : x + panel.shape[1]] = panel
        x += panel.shape[1] + gap
    return row


def row_of(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Image (H, W, 3), truth (H, W), prediction (H, W), and prediction over the image with the borders of the truth,
    side by side: (H, W', 3) uint8."""
    return beside([image, colour(truth), colour(predicted), outlined(overlay(image, predicted), truth)])
