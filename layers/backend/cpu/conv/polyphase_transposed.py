"""A transposed convolution with a stride as a convolution without (depth-to-space): the adjoint of polyphase.

With stride s, pixels of the result whose positions leave the same remainder modulo s see the same taps, s apart.  Each
channel becomes s * s channels, its phases, and each k x k kernel s * s kernels with sides of ceil(k / s), turned round;
what these give is sorted into the image line by line.  Nothing is added up in memory, as where each pixel of the bottom
adds a whole kernel to the result.
"""

from __future__ import annotations

import functools

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import store_outputs
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.gemm_microkernel import fill
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Outputs
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work
from demitasse.layers.backend.geometry import ConvGeometry

MAX_KERNELS = 1 << 14  # that are sorted each time
MIN_IMAGE = 1 << 17  # floats of an image, to be worth it


def unstrided_transposed(geom: ConvGeometry, shape: ConvShape) -> ConvGeometry | None:
    """The geometry of the convolution that gives all phases of x; None where there is nothing to be gained.  shape: of
    the convolution from x to dy."""
    (k, *ks), (s, *ss) = geom.kernel, geom.stride
    if (k, s) != (*ks, *ss) or s == 1 or k <= s or geom.dilation != (1, 1):
        return None
    r = -(-k // s)
    few = shape.k_out * shape.c_in // shape.group <= MAX_KERNELS and (r * s) ** 2 <= 1.5 * k * k
    if not few or shape.c_in * shape.height * shape.width < MIN_IMAGE:
        return None
    return geom._replace(kernel=(r, r), stride=(1, 1), pad=(r - 1, r - 1))


def kernels_to_phases(be, w: np.ndarray, geom: ConvGeometry) -> np.ndarray:
    """(C * s * s, K / group, r, r) of w (K, C / group, k, k): the kernels of all phases."""
    (k_out, c_group, side, _), s = w.shape, geom.stride[0]
    r, k_group = -(-side // s), k_out // geom.group
    phases = be.memory.empty((geom.group * c_group * s * s, k_group, r, r), np.float32)
    taps = _taps_of_phases(side, s, k_group)
    be.pool.run(_kernels_to_phases, 1, w.reshape(-1), k_group, c_group, taps, phases.reshape(-1), (r * s, r * r))
    return phases


@functools.lru_cache(256)
def _taps_of_phases(side: int, s: int, k_group: int) -> np.ndarray:
    """(side * side,): where among the phases of an input channel each tap of its first kernel goes."""
    r, taps = -(-side // s), np.arange(side)
    phase, turned = taps % s, r - 1 - taps // s
    place = (phase[:, None] * s + phase) * k_group * r * r + turned[:, None] * r + turned
    return place.reshape(-1)


@kernel
def _kernels_to_phases(state, w, k_group, c_group, taps, phases, sizes):
    """phases (groups, C / group, s, s, K / group, r, r) = w (groups, K / group, C / group, taps), 0 elsewhere; sizes:
    r * s and r * r."""
    me, area, (wide, step) = enter(state), taps.size, sizes
    for c in work(state, me, 0, w.size // (k_group * area)):
        at, first = c * wide * wide * k_group, (c // c_group * k_group * c_group + c % c_group) * area
        if wide * wide > area:
            fill(phases, at, wide * wide * k_group, np.float32(0))
        for k in range(k_group):
            for t in range(area):
                phases[at + k * step + taps[t]] = w[first + k * c_group * area + t]


def phases_to_image(be, phases: np.ndarray, shape: ConvShape, outputs: Outputs, dx: np.ndarray) -> None:
    """dx (N, C, H, W) = relu(scale * the phases (N, C * s * s, rows, columns), sorted, + bias): Outputs."""
    arrays = phases.reshape(-1), outputs, dx.reshape(-1)
    be.pool.run(_phases_to_image, 1, *arrays, shape, *phases.shape[2:])


@inner_kernel
def _place_some(phases, seen, area, x, line, left, s, width):
    """One pixel of all phases, from x[line + left] on, as far as they are inside the line."""
    for b in range(max(0, -left), min(s, width - left)):
        x[line + left + b] = phases[seen + b * area]


@inner_kernel
def _place_all(phases, seen, area, x, to, s, n):
    """n pixels of all phases, from x[to] on."""
    for i in range(n):
        for b in range(np.uint64(s)):
            x[np.uint64(to + i * s) + b] = phases[np.uint64(seen + i) + b * np.uint64(area)]


@kernel
def _phases_to_image(state, phases, outputs, x, shape, rows, columns):
    """x, whose shape is that of a ConvShape, = its phases (planes, s, s, rows, columns) and the epilogue."""
    me, s, area = enter(state), shape.stride_y, rows * columns
    planes, bands = shape.images * shape.c_in, band_count(state, shape.height, shape.width)
    reaches = columns * s - shape.pad_x >= shape.width
    low = min(columns, (shape.pad_x + s - 1) // s)
    high = max(low, min(columns, (shape.width + shape.pad_x) // s))  # pixels low ... high - 1 are inside in all phases
    for job in work(state, me, 0, planes * bands):
        plane, (first, end) = job % planes, partition(shape.height, job // planes, bands)
        c = plane % shape.c_in
        plain = outputs.scale[c] == 1 and outputs.bias[c] == 0 and outputs.slope[c] == 1
        for y in range(first, end):
            row, a = divmod(y + shape.pad_y, s)
            line, seen = (plane * shape.height + y) * shape.width, (plane * s + a) * s * area + row * columns
            fill(x, line, 0 if row < rows and reaches else shape.width, np.float32(0))  # beyond the last window
            if row < rows:
                for i in range(low):
                    _place_some(phases, seen + i, area, x, line, i * s - shape.pad_x, s, shape.width)
                _place_all(phases, seen + low, area, x, line + low * s - shape.pad_x, s, high - low)
                for i in range(high, columns):
                    _place_some(phases, seen + i, area, x, line, i * s - shape.pad_x, s, shape.width)
            if not plain:
                store_outputs(x, line, shape.width, x, line, outputs, c)
