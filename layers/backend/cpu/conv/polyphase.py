"""A convolution with a stride as one without: over the image's phases, so that the tile transforms serve it too.

With stride s an output sees rows s apart: rows of one remainder modulo s, neighbours once rows are sorted by their
remainders; columns likewise.  Each channel becomes s * s channels, each k x k kernel s * s kernels with sides of
ceil(k / s), filled up with zeros.  A stride-2 7x7 convolution then takes a third of its multiplications.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import frame
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import bands_of, part_of, work
from demitasse.layers.backend.geometry import ConvGeometry


@kernel
def sort_pixels(state, x, sizes, rows, ld, f):
    """f = every plane of x, framed (see cpu_gather.frame)."""
    me = enter(state)
    planes, height, width = sizes[0] * sizes[1], sizes[2], sizes[3]
    bands = bands_of(state, rows, ld)
    for job in work(state, me, 0, planes * bands):
        plane, (first, end) = job % planes, part_of(rows, job // planes, bands)
        start = plane * sizes[10] * sizes[11] * rows * ld + first * ld
        frame(x, plane * height * width, sizes, first, end - first, ld, f, start, (rows - end + first) * ld)


def unstrided(geom: ConvGeometry) -> ConvGeometry | None:
    """The geometry over the phases; None where there is nothing to be gained."""
    (k, *ks), (s, *ss) = geom.kernel, geom.stride
    if (k, s) != (*ks, *ss) or s == 1 or k <= s or geom.dilation != (1, 1):
        return None
    return geom._replace(kernel=(-(-k // s),) * 2, stride=(1, 1), pad=(0, 0))


def phases_of(pool, memory, x, geom: ConvGeometry, out) -> np.ndarray:
    """(N, C * s * s, rows, columns) of x (N, C, H, W): what outputs of size `out` see, with the pad around it."""
    n, c, *size = x.shape
    s, reach = geom.stride[0], -(-geom.kernel[0] // geom.stride[0]) - 1
    y = memory.empty((n, c * s * s, out[0] + reach, out[1] + reach), np.float32)
    sizes = n, c, *size, 0, *out, geom.group, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation
    pool.run(sort_pixels, 1, x.reshape(-1), sizes, *y.shape[2:], y.reshape(-1))
    return y


def phases_of_kernels(w: np.ndarray, s: int) -> np.ndarray:
    """(K, C * s * s, r, r) of w (K, C, k, k)."""
    n, c, side, _ = w.shape
    r = -(-side // s)
    whole = np.zeros((n, c, r * s, r * s), np.float32)
    whole[..., :side, :side] = w
    return np.ascontiguousarray(_by_phase(whole, s, r)).reshape(n, c * s * s, r, r)


def add_phases_to_kernels(phases: np.ndarray, w: np.ndarray, s: int) -> None:
    """Adds to w (K, C, k, k) what phases_of_kernels would have made `phases` of."""
    n, c, side, _ = w.shape
    r = phases.shape[2]
    whole = np.empty((n, c, r * s, r * s), np.float32)
    _by_phase(whole, s, r)[...] = phases.reshape(n, c, s, s, r, r)
    w += whole[..., :side, :side]


def _by_phase(whole, s, r):
    """A view (K, C, s, s, r, r) of (K, C, r * s, r * s)."""
    n, c = whole.shape[:2]
    return whole.reshape(n, c, r, s, r, s).transpose(0, 1, 3, 5, 2, 4)
