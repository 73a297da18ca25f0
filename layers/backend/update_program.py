"""How a solver tells a device what an update does to every learned array: a program of elementwise steps.

Who the arrays belong to and what the steps mean is the solver's affair (solver/updates.py); a device may run the whole
program in one pass over each array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray


class UpdateStep(NamedTuple):
    """out = a operator b, elementwise; names of arrays, scalars or temporaries.  Unary: "sqrt", "sign" of a."""

    out: str
    operator: str  # "*" "/" "+" "-" "sqrt" "sign"
    a: str
    b: str = ""


class UpdateProgram(NamedTuple):
    """What to do to each learned array.  arrays: written to; scalars: constants; other names are temporaries."""

    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    steps: tuple[UpdateStep, ...]


class UpdateTensor(NamedTuple):
    """A learned array with what belongs to it, in the order of a program's names."""

    arrays: tuple[Array, ...]  # of one size and of the backend's float type
    scalars: tuple[float, ...]
