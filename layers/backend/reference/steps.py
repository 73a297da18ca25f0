"""The steps of an elementwise program, run one after the other as array expressions."""

from __future__ import annotations

import functools
from typing import Any

from demitasse.layers.backend.update_program import UpdateStep

_BINARY = {"*": "multiply", "/": "divide", "+": "add", "-": "subtract"}


def run_steps(xp, steps: tuple[UpdateStep, ...], named: dict[str, Any]) -> None:
    """named: {name: array of one shape, or scalar}; temporaries that are not among them are made and added."""
    for operation, out, a, b in _operations(xp, steps):
        if b:
            named[out] = operation(named[a], named[b], out=named.get(out))
        else:
            named[out] = operation(named[a], out=named.get(out))


@functools.cache
def _operations(xp, steps: tuple[UpdateStep, ...]) -> list[tuple]:
    """(ufunc, out, a, b) of each step: looked up once, for a step may take little longer than its look-up."""
    return [(getattr(xp, _BINARY.get(step.operator, step.operator)), step.out, step.a, step.b) for step in steps]
