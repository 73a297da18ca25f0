"""The product of two matrices."""

from __future__ import annotations

PRODUCT, PRODUCTS = 1024, 16  # rows and columns of the matrices that tell a peak, and how often they are multiplied


def matmul(be, a, b, out=None, add=False, ta=False, tb=False):
    product = be.xp.matmul(a.T if ta else a, b.T if tb else b)
    if out is None:
        return product
    if add:
        out += product
    else:
        out[...] = product
    return out


def inner_product(be, x, w, b, relu=None):
    y = be.matmul(x, w, tb=True)
    return y if b is None and relu is None else be.affine(y, None, None, b, relu)


def products(be):
    ones = be.zeros((PRODUCT, PRODUCT)) + 1
    for _ in range(PRODUCTS):
        be.matmul(ones, ones)
    return 2 * PRODUCT**3 * PRODUCTS
