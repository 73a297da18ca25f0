"""CuPy arrays: transfers through page-locked memory, and channels cut, joined and reordered."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.gpu.launch import launch, like
from demitasse.layers.backend.gpu.nhwc import NhwcTensor
from demitasse.layers.backend.reference import arrays as reference


def asarray(be, host, dtype=None):
    dtype = np.dtype(dtype or be.dtype)
    if isinstance(host, be.xp.ndarray):
        return be.xp.ascontiguousarray(host, dtype=dtype).reshape(host.shape)
    return be.runtime.upload(np.ascontiguousarray(host, dtype=dtype).reshape(np.shape(host)))


def to_host(be, x):
    return be.runtime.download(be.to_nchw(x))


def to_host_async(be, x):
    return be.runtime.download_async(be.to_nchw(x))


def to_nchw(be, x):
    return x.to_nchw() if isinstance(x, NhwcTensor) else x


def concatenate(be, xs, axis, out=None):
    if axis == 1 and all(isinstance(x, NhwcTensor) for x in xs):
        return _joined_channels(be, xs)
    return reference.concatenate(be, [be.to_nchw(x) for x in xs], axis)


def _joined_channels(be, xs):
    (n, _, *spatial), layout = xs[0].shape, xs[0].layout
    channels, first = sum(x.shape[1] for x in xs), 0
    y = layout.empty((n, *spatial, channels))
    for x in xs:
        sizes = np.int64(x.size), *map(np.int32, (x.shape[1], first, channels))
        launch(be, "nhwc", "put_channels", x.size, layout.unscaled(x), y, *sizes)
        first += x.shape[1]
    return y


def part(be, x, axis, start, stop):
    if axis == 1 and isinstance(x, NhwcTensor):
        return NhwcTensor(x.layout, x.array[..., start:stop].copy(), x.scale)  # never a view: see ALIGNMENT
    return reference.part(be, be.to_nchw(x), axis, start, stop)


def permute(be, x, order):
    if isinstance(x, NhwcTensor) and tuple(order) == (0, 2, 3, 1):  # as it lies
        return be.xp.asarray(x.layout.unscaled(x).array, dtype=np.float32)
    return reference.permute(be, be.to_nchw(x), order)


def interleave(be, x, rows):
    y, inner = like(be, x), 1 if isinstance(x, NhwcTensor) else math.prod(x.shape[2:])
    sizes = np.int64(x.size), np.int32(rows), np.int32(x.shape[1] // rows), np.int64(inner)
    launch(be, "elementwise", "interleave", x.size, x, y, *sizes)
    return y


def synchronize(be):
    be.runtime.synchronize()


def describe(be):
    properties = be.xp.cuda.runtime.getDeviceProperties(be.runtime.index)
    return [
        f"GPU: {properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.1f} GiB, compute capability "
        f"{properties['major']}.{properties['minor']}, {properties['multiProcessorCount']} multiprocessors"
    ]


def reducer(be, rank, size, share):
    from demitasse.layers.backend.gpu.nccl import NcclReducer

    return NcclReducer(rank, size, share, be.runtime.device)
