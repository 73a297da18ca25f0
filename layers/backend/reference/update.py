"""The update of learned arrays: an elementwise program, one step after the other."""

from __future__ import annotations

from demitasse.layers.backend.reference.steps import run_steps


def update(be, program, tensors):
    for arrays, scalars in tensors:
        # [None]: with no axis at all, a temporary would be a number, which nothing can be written into
        named = dict(zip(program.arrays, (array[None] for array in arrays), strict=True))
        run_steps(be.xp, program.steps, named | dict(zip(program.scalars, scalars, strict=True)))


def clear(be, arrays):
    for array in arrays:
        array.fill(0)
