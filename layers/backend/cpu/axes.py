"""Arrays seen from one of their axes: (outer, channels, inner); and numbers for each channel."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats


class Axes(NamedTuple):
    """The axes of a flat array: those before the one that a kernel goes along, that one, and those after it."""

    outer: int
    channels: int
    inner: int


def axes_along(shape, axis: int) -> Axes:
    """The Axes of an array of this shape along `axis`."""
    return Axes(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def by_channel(channels: int, given: np.ndarray | float | None, neutral: float) -> np.ndarray:
    """(channels,) float32 for kernels to read, of an array of that size or of one number; None: of `neutral`."""
    if not isinstance(given, np.ndarray):
        return _constant(channels, neutral if given is None else given)
    if floats(given) and given.size == channels:
        return given.reshape(-1)
    return np.broadcast_to(given.reshape(-1), channels).astype(np.float32)


@functools.lru_cache(4096)
def _constant(n, value):
    x = np.full(n, value, np.float32)
    x.flags.writeable = False
    return x
