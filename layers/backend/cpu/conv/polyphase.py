"""Polyphase: a convolution with a stride as one without (space-to-depth), so that the tile transforms serve it too.

With stride s an output sees rows s apart: rows of one remainder modulo s, neighbours once rows are sorted by their
remainders; columns likewise.  Each channel becomes s * s channels, its polyphase components, and each k x k kernel
s * s kernels with sides of ceil(k / s), filled up with zeros.  A stride-2 7x7 convolution then takes a third of its
multiplications.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work
from demitasse.layers.backend.geometry import ConvGeometry


@kernel
def _space_to_depth(state, x, shape, rows, ld, y):
    """y = every plane of x, framed (see im2col.frame_plane)."""
    me = enter(state)
    planes, bands = shape.images * shape.c_in, band_count(state, rows, ld)
    for job in work(state, me, 0, planes * bands):
        plane, (first, end) = job % planes, partition(rows, job // planes, bands)
        start = plane * shape.stride_y * shape.stride_x * rows * ld + first * ld
        gap = (rows - end + first) * ld
        frame_plane(x, plane * shape.height * shape.width, shape, first, end - first, ld, y, start, gap)


def unstrided(geom: ConvGeometry) -> ConvGeometry | None:
    """The geometry over the polyphase components; None where there is nothing to be gained."""
    (k, *ks), (s, *ss) = geom.kernel, geom.stride
    if (k, s) != (*ks, *ss) or s == 1 or k <= s or geom.dilation != (1, 1):
        return None
    return geom._replace(kernel=(-(-k // s),) * 2, stride=(1, 1), pad=(0, 0))


def space_to_depth(be, x: np.ndarray, geom: ConvGeometry, out: tuple[int, int]) -> np.ndarray:
    """(N, C * s * s, rows, columns) of x (N, C, H, W): what outputs of size `out` see, with the pad around it."""
    n, c = x.shape[:2]
    s, reach = geom.stride[0], -(-geom.kernel[0] // geom.stride[0]) - 1
    y = be.memory.empty((n, c * s * s, out[0] + reach, out[1] + reach), np.float32)
    be.pool.run(_space_to_depth, 1, x.reshape(-1), ConvShape.of(x.shape, 0, geom, out), *y.shape[2:], y.reshape(-1))
    return y


def kernels_to_depth(be, w: np.ndarray, s: int) -> np.ndarray:
    """(K, C * s * s, r, r) of w (K, C, k, k): the kernels over the polyphase components."""
    n, c, side, _ = w.shape
    r = -(-side // s)
    deep = be.memory.empty((n, c * s * s, r, r), np.float32)
    be.pool.run(_kernels_to_depth, 1, w.reshape(-1), side, s, deep.reshape(-1), r)
    return deep


@kernel
def _kernels_to_depth(state, w, side, s, deep, r):
    """deep (planes, s, s, r, r) = w (planes, side, side), 0 beyond its sides."""
    me, planes = enter(state), w.size // (side * side)
    for plane in work(state, me, 0, planes):
        at = plane * s * s * r * r
        for a in range(s):
            for b in range(s):
                for i in range(a, a + r * s, s):
                    for j in range(b, b + r * s, s):
                        deep[at] = w[(plane * side + i) * side + j] if i < side and j < side else 0
                        at += 1


def add_depth_to_kernels(be, deep: np.ndarray, w: np.ndarray, s: int) -> None:
    """The inverse of kernels_to_depth: adds `deep` (K, C * s * s, r, r) to w (K, C, k, k)."""
    be.pool.run(_add_depth_to_kernels, 1, deep.reshape(-1), deep.shape[2], w.reshape(-1), w.shape[2], s)


@kernel
def _add_depth_to_kernels(state, deep, r, w, side, s):
    """w (planes, side, side) += deep (planes, s, s, r, r)."""
    me = enter(state)
    for plane in work(state, me, 0, w.size // (side * side)):
        at = plane * s * s * r * r
        for a in range(s):
            for b in range(s):
                for i in range(a, a + r * s, s):
                    for j in range(b, b + r * s, s):
                        if i < side and j < side:
                            w[(plane * side + i) * side + j] += deep[at]
                        at += 1
