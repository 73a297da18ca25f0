"""The update of learned arrays in pieces that stay in a core's cache."""

from __future__ import annotations

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.reference import update as reference

UPDATE_BYTES = 1 << 20  # of a piece of all arrays of an update and of a temporary one


def update(be, program, tensors):
    """In pieces of that size array expressions run at the memory's speed.  One loop over all arrays would be ten times
    slower, since addresses that are a multiple of 4096 bytes apart hinder each other."""
    for arrays, scalars in tensors:
        if not floats(*arrays):
            reference.update(be, program, [(arrays, scalars)])
            continue
        flat = [array.reshape(-1) for array in arrays]
        piece = max(1, UPDATE_BYTES // (4 * (len(flat) + 1)))
        for i in range(0, flat[0].size, piece):
            reference.update(be, program, [([array[i : i + piece] for array in flat], scalars)])
