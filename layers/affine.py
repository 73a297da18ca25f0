"""Maps that scale and shift every channel: y = scale * x + shift, which BatchNorm, Scale and BN are in use."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Affine(NamedTuple):
    """scale, shift: (C,) each; None: 1, and 0."""

    scale: Array | None
    shift: Array | None


def composed(be, *maps: Affine | None) -> Affine:
    """The map that is all of these, the first one first; None: none (one at least is given)."""
    first, *others = [each for each in maps if each is not None]
    for later in others:
        first = Affine(*be.compose_affine(first, later))
    return first
