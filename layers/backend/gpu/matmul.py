"""Matrix products by cuBLAS."""

from __future__ import annotations


def matmul(be, a, b, out=None, add=False, ta=False, tb=False):
    product = be.runtime.matmul(a.T if ta else a, b.T if tb else b, be.precision != "fp32")
    if out is None:
        return product
    if add:
        out += product
    else:
        out[...] = product
    return out
