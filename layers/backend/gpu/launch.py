"""Launching kernels on arrays and channels-last tensors alike, and making the results that go with them."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.gpu.nhwc import NhwcTensor


def launch(be, file: str, kernel: str, n: int, *args, blocks: int | None = None) -> None:
    """Run a kernel over n values; of channels-last tensors, the one for their type of elements."""
    if not n:
        return
    array, taken, suffix = be.xp.ndarray, [], ""
    for arg in args:
        if isinstance(arg, NhwcTensor):
            suffix, arg = arg.layout.suffix, arg.array
        elif isinstance(arg, array) and not arg.flags.c_contiguous:
            arg = be.xp.ascontiguousarray(arg)
        taken.append(arg)
    be.runtime.launch(file, kernel + suffix, n, *taken, blocks=blocks)


def like(be, x, dtype=None, spatial=None):
    """An array, or a channels-last tensor with the scale of x, of as many elements (N, C, ...) as x, or other sizes."""
    if not isinstance(x, NhwcTensor):
        return be.empty((*x.shape[:2], *spatial) if spatial else x.shape, dtype)
    n, h, w, c = x.array.shape
    shape = n, *(spatial or (h, w)), c
    return x.layout.empty(shape, x) if dtype is None else NhwcTensor(x.layout, be.empty(shape, dtype))


def in_layout_of(be, kept, dy):
    """dy channels last where `kept` is: gradients take the layout of what forward has kept (a mask, an index)."""
    return kept.layout.tensor(dy, target=1.0) if isinstance(kept, NhwcTensor) else be.to_nchw(dy)


def pixels(x, axis: int):
    """(pixels, size of the axis, elements after the axis) as a kernel takes them."""
    axis %= x.ndim
    inner = math.prod(x.shape[axis + 1 :])
    return np.int64(math.prod(x.shape[:axis]) * inner), np.int32(x.shape[axis]), np.int64(inner)


def channels(x, values):
    """(elements of x, channels, elements of a channel in a row), where `values` has one per channel or one for all."""
    inner = 1 if isinstance(x, NhwcTensor) else math.prod(x.shape[2:])
    return np.int64(x.size), *((np.int32(x.shape[1]), np.int32(inner)) if values.ndim else (np.int32(1),) * 2)
