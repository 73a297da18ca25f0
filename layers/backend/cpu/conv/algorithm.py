"""Which kernel computes a convolution: over phases, by a tile transform or directly, and in which pieces."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from demitasse.layers.backend.cpu.conv import direct_forward as cpu_direct
from demitasse.layers.backend.cpu.conv import polyphase as cpu_strided
from demitasse.layers.backend.cpu.conv import winograd_forward as cpu_winograd
from demitasse.layers.backend.cpu.gemm_microkernel import worked
from demitasse.layers.backend.geometry import ConvGeometry

TILES = {3: (2, 4, 6), 4: (2, 4), 5: (2, 4), 6: (2, 3), 7: (2,)}  # side of the kernel: sides of output tiles


def _tile_cost(c_in, k_out, out, m, r):
    """Of the products and the three transforms, as measured, in products of one input, output and pixel."""
    freqs, tiles_y, tiles_x = (m + r - 1) ** 2, -(-out[0] // m), -(-out[1] // m)
    groups = tiles_y * -(-tiles_x // 16)
    return freqs * (c_in * k_out * (worked(tiles_y * tiles_x) + 9) + (400 * c_in + 40 * m * k_out) * groups)


def _direct_cost(c_in, k_out, geom, out):
    return 1.1 * c_in * k_out * math.prod(geom.kernel) * out[0] * (out[1] + 2 * geom.pad[1] // geom.stride[1])


def _fastest_tile(c_in, k_out, r, out, limit):
    """m of the tile transform with the least cost; 0 where that is not below the limit."""
    if r not in TILES or c_in < 12 or k_out < 16:
        return 0
    choices = {m: _tile_cost(c_in, k_out, out, m, r) for m in TILES[r]}
    best = min(choices, key=choices.get)
    return best if choices[best] < 0.9 * limit else 0


@functools.lru_cache(4096)
def tile_size(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int]) -> int:
    """m of the tile transform F(m x m, r x r) that is expected to be fastest; 0: convolve directly.

    c_in, k_out: of one group.
    """
    r = geom.kernel[0]
    if geom.kernel != (r, r) or geom.stride != (1, 1) or geom.dilation != (1, 1) or max(geom.pad) >= r:
        return 0
    return _fastest_tile(c_in, k_out, r, out, _direct_cost(c_in, k_out, geom, out))


def _over_phases(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int]) -> ConvGeometry | None:
    """The geometry without a stride (see cpu_strided) where a tile transform over it is expected to be fastest."""
    over_phases = cpu_strided.unstrided(geom)
    if over_phases is None:
        return None
    phases, limit = geom.stride[0] ** 2, 0.7 * _direct_cost(c_in, k_out, geom, out)  # sorting takes its time too
    return over_phases if _fastest_tile(c_in * phases, k_out, over_phases.kernel[0], out, limit) else None


@dataclass
class Way:
    """How a convolution is computed: over phases, with another geometry; else by a tile transform, or directly."""

    out: tuple[int, int]
    over_phases: ConvGeometry | None
    tile: int
    steps: cpu_winograd.Steps | tuple | None
    may_repeat: bool  # whether runs of equal lines in the image make runs of equal outputs


@functools.lru_cache(4096)
def way(x_shape: tuple[int, ...], k_out: int, geom: ConvGeometry, exact: bool, threads: int) -> Way:
    (n, c_in, *size), side, group = x_shape, geom.kernel[0], geom.group
    out = geom.out_size(size)
    may_repeat = not exact and side > 1 and geom.kernel == (side, side) and geom.stride == geom.dilation == (1, 1)
    over_phases = None if exact else _over_phases(c_in // group, k_out // group, geom, out)
    if over_phases:
        return Way(out, over_phases, 0, None, may_repeat)
    m = 0 if exact else tile_size(c_in // group, k_out // group, geom, out)
    if m:
        images = n if group == 1 else 1
        steps = cpu_winograd.Steps(images, c_in // group, k_out // group, out, m, side, threads)
    else:
        steps = cpu_direct.forward_steps(x_shape, k_out, geom, out)
    return Way(out, None, m, steps, may_repeat)
