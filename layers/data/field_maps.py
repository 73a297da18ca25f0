"""What each position of a detector's maps should learn from the objects of an image (MS-CNN, Cascade R-CNN).

At each position of a map lies a field of fixed size, its middle in the position's middle; it learns the object that it
overlaps most with, if by enough.  Sources: "A unified multi-scale deep convolutional neural network for fast object
detection" (Cai et al., 2016), 3; "Cascade R-CNN" (Cai and Vasconcelos, 2018).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.boxes import area, iou

CHANNELS = 6  # of a map: class (0: background), centre x, centre y, width, height, overlap


class Field(NamedTuple):
    """Its size, and the way from one to the next, in pixels."""

    width: int
    height: int
    stride: int


class Objects(NamedTuple):
    """What is in an image: corners (G, 4), classes (G,), which of them no field may learn (G,), and the regions (R, 4)
    in which background is none."""

    corners: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    regions: np.ndarray


class Rules(NamedTuple):
    """When a field learns an object: it overlaps more than `foreground`; an object that none learns is learned at its
    middle, if its best overlap is at least `pickup`.  What lies in regions without interest by `ignored` or more of its
    area, or whose `outside` is true, is no background: its overlap is said to be 1.

    extra: by how much boxes are longer than x2 - x1; regions_first: a field in such a region learns no object either;
    margin, inside: a field that reaches further than this share of half its sides out of the image, or of which a
    smaller share lies in it, is ignored (None: none is).
    """

    foreground: float
    pickup: float
    ignored: float
    extra: float
    regions_first: bool
    margin: float | None = None
    inside: float | None = None


def nearest(value: float) -> int:
    """The nearest whole number, halves going up, of a number that is not negative."""
    return int(value + 0.5)


def map_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(rows, columns) of the map over a canvas (height, width)."""
    return nearest(size[0] / stride), nearest(size[1] / stride)


def field_maps(objects: Objects, fields: list[Field], size, filled, rules: Rules) -> list[np.ndarray]:
    """A map (CHANNELS, rows, columns) of each field.

    size: (height, width) of the canvas; filled: (left, top, width, height) of the image on it.
    """
    maps, best, where = [], np.zeros(len(objects.corners)), np.zeros(len(objects.corners), int)
    learned = np.zeros(len(objects.corners), bool)
    for index, field in enumerate(fields):
        rows, cols = map_size(size, field.stride)
        corners = _corners(field, rows, cols)
        ignored = _outside(field, corners, rows, cols, filled, rules)
        uninteresting = _share(corners, objects.regions, rules.extra) >= rules.ignored
        uninteresting &= len(objects.regions) > 0
        if rules.regions_first:
            ignored |= uninteresting
        overlaps = iou(np, corners, objects.corners, rules.extra)
        overlaps[ignored] = 0
        answer = np.zeros((CHANNELS, rows * cols), np.float32)
        if len(objects.corners):
            match, overlap = overlaps.argmax(1), overlaps.max(1)
            (chosen,) = np.nonzero(overlap > rules.foreground)
            answer[0, chosen] = np.where(objects.ignored, 0, objects.classes)[match[chosen]]
            answer[1:5, chosen] = _centre_size(objects.corners[match[chosen]], rules.extra).T
            answer[5] = overlap
            learned[match[chosen]] = True
            better = overlaps.max(0) > best
            best, where = np.where(better, overlaps.max(0), best), np.where(better, index, where)
        answer[5, uninteresting & (answer[5] <= rules.foreground)] = 1
        answer[5, ignored] = 1
        maps.append(answer.reshape(CHANNELS, rows, cols))
    _pick_up(
        objects, maps, fields, np.nonzero(~learned & ~objects.ignored & (best >= rules.pickup))[0], best, where, rules
    )
    return maps


def _corners(field: Field, rows: int, cols: int) -> np.ndarray:
    """(positions, 4) of the fields of a map."""
    y, x = (each.ravel() for each in (np.indices((rows, cols)) + 0.5) * field.stride)
    half = field.width / 2, field.height / 2
    return np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], axis=1)


def _outside(field: Field, corners, rows: int, cols: int, filled, rules: Rules) -> np.ndarray:
    """Which positions (positions,) are not of the image, or their fields too little."""
    left, top, width, height = filled
    y, x = np.indices((rows, cols))
    first, last = ([nearest(n / field.stride) for n in pair] for pair in ((left, top), (width, height)))
    outside = (x < first[0]) | (x >= first[0] + last[0]) | (y < first[1]) | (y >= first[1] + last[1])
    outside = outside.ravel()
    if rules.margin is not None:
        out = rules.margin * field.width / 2, rules.margin * field.height / 2
        outside |= (corners[:, 0] < left - out[0]) | (corners[:, 2] >= left + width + out[0])
        outside |= (corners[:, 1] < top - out[1]) | (corners[:, 3] >= top + height + out[1])
    elif rules.inside is not None:
        image = np.array([[left, top, left + width, top + height]], float)
        outside |= _share(corners, image, rules.extra) < rules.inside
    return outside


def _share(corners, regions, extra: float) -> np.ndarray:
    """The sum (N,) of the shares of boxes (N, 4) that lie in each of the regions (R, 4)."""
    first = np.maximum(corners[:, None, :2], regions[None, :, :2])
    last = np.minimum(corners[:, None, 2:], regions[None, :, 2:])
    common = area(np, np.concatenate([first, last], axis=-1), extra)
    return (common / area(np, corners, extra)[:, None]).sum(1)


def _centre_size(corners, extra: float) -> np.ndarray:
    """(N, 4) of corners (N, 4): centre x, centre y, width, height."""
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2] + extra], axis=1)


def _pick_up(objects: Objects, maps, fields, missed, best, where, rules: Rules) -> None:
    """Let the objects `missed` be learned where their middle lies, on the map `where` of their best overlap, but where
    another is learned."""
    for index in missed:
        answer, field = maps[where[index]], fields[where[index]]
        numbers = _centre_size(objects.corners[index : index + 1], rules.extra)[0]
        column, row = (int(n // field.stride) for n in numbers[:2])
        position = min(max(row, 0), answer.shape[1] - 1), min(max(column, 0), answer.shape[2] - 1)
        if answer[(0, *position)] > 0:
            continue
        answer[(0, *position)] = objects.classes[index]
        answer[(slice(1, 5), *position)] = numbers
        if not rules.regions_first:
            answer[(5, *position)] = best[index]
