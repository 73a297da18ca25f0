"""Maps that scale and shift every channel: y = scale * x + shift, which BatchNorm, Scale and BN are in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Array = Any


class Affine(NamedTuple):
    """scale, shift: (C,) each."""

    scale: Array
    shift: Array

    def then(self, later: Affine | None) -> Affine:
        """The map that is this one, and then that."""
        if later is None:
            return self
        return Affine(self.scale * later.scale, self.shift * later.scale + later.shift)


def composed(maps: Sequence[Affine]) -> Affine:
    """The map that is all of these (one at least), the first one first."""
    first, *others = maps
    for later in others:
        first = first.then(later)
    return first
