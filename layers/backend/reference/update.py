"""The update of learned arrays: an elementwise program, one step after the other."""

from __future__ import annotations

_BINARY = {"*": "multiply", "/": "divide", "+": "add", "-": "subtract"}


def update(be, program, tensors):
    for arrays, scalars in tensors:
        # [None]: with no axis at all, a temporary would be a number, which nothing can be written into
        names = dict(zip(program.arrays, (array[None] for array in arrays), strict=True))
        names |= zip(program.scalars, scalars, strict=True)
        for out, operator, *operands in program.steps:
            operation = getattr(be.xp, _BINARY.get(operator, operator))
            names[out] = operation(*(names[name] for name in operands if name), out=names.get(out))
