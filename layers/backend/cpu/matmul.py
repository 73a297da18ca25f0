"""The product of two matrices."""

from __future__ import annotations

from demitasse.layers.backend.cpu import gemm
from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.dispatch import takes


@takes(
    lambda a, b, out=None, add=False, ta=False, tb=False: (
        floats(a, b) and (out is None or floats(out)) and a.size > 0 and b.size > 0
    )
)
def matmul(be, a, b, out=None, add=False, ta=False, tb=False):
    if out is None:
        out, add = be.empty((a.shape[1] if ta else a.shape[0], b.shape[0] if tb else b.shape[1])), False
    gemm.matmul(be.pool, be.memory, a, b, out, add, ta, tb)
    return out
