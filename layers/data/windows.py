"""The windows of R-CNN: the file that lists them, and where a window of an image lands in the warped square."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demitasse.layers.data.listing import read_lines
from demitasse.proto.errors import DataFault


@dataclass(frozen=True, slots=True)
class Window:
    """A box (x1, y1, x2, y2; ends included) in an image, its class, and the line that lists it."""

    image: str
    label: int
    overlap: float
    box: tuple[int, int, int, int]
    line: int


def read_windows(path: str, field: str) -> list[Window]:
    """All windows of a file that repeats

    # image_index
    image path
    channels
    height
    width
    number of windows
    class overlap x1 y1 x2 y2        (one line per window)

    DataFault, with the line, for anything else.
    """
    lines = read_lines(path, field)
    windows = []
    for number, line in lines:
        if not line.startswith("#"):
            raise DataFault(f"{path}:{number}: '{line}' where '# image_index' should begin an image's part")
        number, image = next(lines, (number, ""))
        count = [
            _numbers(path, lines, 1, number, "channels, height, width and the number of windows")[1][0]
            for _ in range(4)
        ][3]
        for _ in range(int(count)):
            number, values = _numbers(path, lines, 6, number, "class overlap x1 y1 x2 y2")
            box = tuple(int(value) for value in values[2:])
            if box[2] < box[0] or box[3] < box[1]:
                raise DataFault(f"{path}:{number}: the window {box} ends before it begins (x1 y1 x2 y2)")
            windows.append(Window(image, int(values[0]), values[1], box, number))
    return windows


def _numbers(path, lines, count: int, last: int, what: str) -> tuple[int, list[float]]:
    number, line = next(lines, (last, ""))
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise DataFault(f"{path}:{number}: '{line}' where {what} should stand")
    return number, values


@dataclass(frozen=True, slots=True)
class Placement:
    """The part of the image to take (ends included), the size to warp it to, and where that goes in the square."""

    x1: int
    y1: int
    x2: int
    y2: int
    width: int
    height: int
    left: int
    top: int


def place(box, rows: int, cols: int, size: int, pad: int, square: bool, mirror: bool) -> Placement:
    """Where a box of a rows x cols image goes in a size x size square.

    With `pad` pixels of context (after warping) on each side, or made `square` first, the box may reach beyond the
    image: that part of the square stays empty.  Roundings are Caffe's, in float32.
    """
    x1, y1, x2, y2 = box
    if not pad and not square:
        return Placement(x1, y1, x2, y2, size, size, 0, 0)
    single = np.float32
    grow = single(size) / single(size - 2 * pad)
    half_width, half_height = single(x2 - x1 + 1) / 2, single(y2 - y1 + 1) / 2
    centre_x, centre_y = single(x1) + half_width, single(y1) + half_height
    if square:
        half_width = half_height = max(half_width, half_height)
    x1, x2 = _round(centre_x - half_width * grow), _round(centre_x + half_width * grow)
    y1, y2 = _round(centre_y - half_height * grow), _round(centre_y + half_height * grow)
    scale_x, scale_y = single(size) / single(x2 - x1 + 1), single(size) / single(y2 - y1 + 1)
    before_x, after_x = max(0, -x1), max(0, x2 - cols + 1)
    before_y, after_y = max(0, -y1), max(0, y2 - rows + 1)
    x1, x2, y1, y2 = x1 + before_x, x2 - after_x, y1 + before_y, y2 - after_y
    left = min(_round(single(after_x if mirror else before_x) * scale_x), size - 1)
    top = min(_round(single(before_y) * scale_y), size - 1)
    width = max(1, min(_round(single(x2 - x1 + 1) * scale_x), size - left))
    height = max(1, min(_round(single(y2 - y1 + 1) * scale_y), size - top))
    return Placement(x1, y1, x2, y2, width, height, left, top)


def _round(value) -> int:
    """C's round: halves go away from zero."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
