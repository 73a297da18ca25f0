"""Arrays seen from one of their axes: (outer, channels, inner)."""

from __future__ import annotations

import math
from typing import NamedTuple


class Axes(NamedTuple):
    """The axes of a flat array: those before the one that a kernel goes along, that one, and those after it."""

    outer: int
    channels: int
    inner: int


def axes_along(shape, axis: int) -> Axes:
    """The Axes of an array of this shape along `axis`."""
    return Axes(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
