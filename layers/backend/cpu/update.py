"""The update of learned arrays in pieces that stay in a core's cache."""

from __future__ import annotations

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.reference import update as reference
from demitasse.layers.backend.reference.steps import run_steps

UPDATE_BYTES = 1 << 20  # of a piece of all arrays of an update and of a temporary one


def update(be, program, tensors):
    """In pieces of that size array expressions run at the memory's speed.  One loop over all arrays would be ten times
    slower, since addresses that are a multiple of 4096 bytes apart hinder each other.  The temporaries are the same
    memory for every piece: new ones would cost a page fault every 4096 bytes."""
    piece = UPDATE_BYTES // (4 * (len(program.arrays) + 1))
    temporaries = {step.out: be.empty((piece,)) for step in program.steps if step.out not in program.arrays}
    for arrays, scalars in tensors:
        if not floats(*arrays):
            reference.update(be, program, [(arrays, scalars)])
            continue
        flat = [array.reshape(-1) for array in arrays]
        named = dict(zip(program.scalars, scalars, strict=True))
        for i in range(0, flat[0].size, piece):
            named.update(zip(program.arrays, [array[i : i + piece] for array in flat], strict=True))
            count = min(piece, flat[0].size - i)
            for name, array in temporaries.items():
                named[name] = array[:count]
            run_steps(be.xp, program.steps, named)
