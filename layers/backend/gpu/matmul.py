"""Matrix products by cuBLAS; those with weights by cuDNN where it takes tensor cores, since they can be recorded."""

from __future__ import annotations

from demitasse.layers.backend.gpu.convolution import POINTWISE
from demitasse.layers.backend.reference import matmul as reference


def matmul(be, a, b, out=None, add=False, ta=False, tb=False):
    product = be.runtime.matmul(a.T if ta else a, b.T if tb else b, be.precision != "fp32")
    if out is None:
        return product
    if add:
        out += product
    else:
        out[...] = product
    return out


def inner_product(be, x, w, b, relu=None):
    if be.cudnn is None or be.cudnn.layout is None or not x.size:
        return reference.inner_product(be, x, w, b, relu)
    y = be.conv_forward(x.reshape(*x.shape, 1, 1), w.reshape(*w.shape, 1, 1), b, POINTWISE, relu)
    return be.to_nchw(y).reshape(len(x), len(w))
