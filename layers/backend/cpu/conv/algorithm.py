"""Which algorithm computes a convolution: over polyphase components, by a tile transform or directly."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from demitasse.layers.backend.cpu.conv.direct_forward import DirectForward, direct_forward
from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch
from demitasse.layers.backend.cpu.conv.polyphase import unstrided
from demitasse.layers.backend.cpu.conv.winograd_forward import winograd_forward
from demitasse.layers.backend.cpu.conv.winograd_transforms import LANES
from demitasse.layers.backend.cpu.gemm_microkernel import padded_columns
from demitasse.layers.backend.geometry import ConvGeometry

TILES = {3: (2, 4, 6), 4: (2, 4), 5: (2, 4), 6: (2, 3), 7: (2,)}  # side of the kernel: sides of output tiles


def _tile_cost(c_in, k_out, out, images, m, r):
    """Of the products and the three transforms, as measured, in products of one input, output and pixel."""
    freqs, tile_rows, tiles_x = (m + r - 1) ** 2, images * -(-out[0] // m), -(-out[1] // m)
    groups = tile_rows * -(-tiles_x // LANES)
    columns = padded_columns.py_func(tile_rows * tiles_x) + 9  # the kernels' transform is worth some more
    return freqs * (c_in * k_out * columns + LANES * (25 * c_in + 2.5 * m * k_out) * groups)


def _direct_cost(c_in, k_out, geom, out, images):
    columns = out[1] + 2 * geom.pad[1] // geom.stride[1]
    return 1.1 * images * c_in * k_out * math.prod(geom.kernel) * out[0] * columns


def _fastest_tile(c_in, k_out, r, out, images, limit):
    """m of the tile transform with the least cost; 0 where that is not below the limit."""
    if r not in TILES or c_in < 12 or k_out < 16:
        return 0
    choices = {m: _tile_cost(c_in, k_out, out, images, m, r) for m in TILES[r]}
    best = min(choices, key=choices.get)
    return best if choices[best] < 0.9 * limit else 0


@functools.lru_cache(4096)
def tile_size(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int], images: int = 1) -> int:
    """m of the tile transform F(m x m, r x r) that is expected to be fastest; 0: convolve directly.

    c_in, k_out: of one group.
    """
    r = geom.kernel[0]
    if geom.kernel != (r, r) or geom.stride != (1, 1) or geom.dilation != (1, 1) or max(geom.pad) >= r:
        return 0
    images = images if geom.group == 1 else 1  # groups are computed image by image
    return _fastest_tile(c_in, k_out, r, out, images, _direct_cost(c_in, k_out, geom, out, images))


def _polyphase(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, ...], images: int) -> ConvGeometry | None:
    """The geometry without a stride (see polyphase) where a tile transform over it is expected to be fastest."""
    over = unstrided(geom)
    if over is None:
        return None
    images = images if geom.group == 1 else 1
    limit = 0.7 * _direct_cost(c_in, k_out, geom, out, images)  # sorting takes its time too
    return over if _fastest_tile(c_in * geom.stride[0] ** 2, k_out, over.kernel[0], out, images, limit) else None


class ConvPlan(NamedTuple):
    """How a convolution is computed: over polyphase components, with another geometry; else by a tile transform, or
    directly."""

    out: tuple[int, ...]
    polyphase: ConvGeometry | None
    tile: int  # m of the tile transform; 0: directly
    launch: Launch | DirectForward | None
    repeats_rows: bool  # whether repeated rows in the image make repeated rows of outputs


@functools.lru_cache(4096)
def conv_plan(x_shape: tuple[int, ...], k_out: int, geom: ConvGeometry, exact: bool, threads: int) -> ConvPlan:
    """The plan of a convolution forward: x (N, C, H, W), k_out outputs.  exact: never by a tile transform."""
    c_in, side, group = x_shape[1], geom.kernel[0], geom.group
    out = geom.out_size(x_shape[2:])
    repeats_rows = not exact and side > 1 and geom.kernel == (side, side) and geom.stride == geom.dilation == (1, 1)
    polyphase = None if exact else _polyphase(c_in // group, k_out // group, geom, out, x_shape[0])
    if polyphase:
        return ConvPlan(out, polyphase, 0, None, repeats_rows)
    m = 0 if exact else tile_size(c_in // group, k_out // group, geom, out, x_shape[0])
    if m:
        shape = group_shape(x_shape, k_out, geom, out)
        return ConvPlan(
            out, None, m, winograd_forward(shape, m, threads, shape.c_in * side * side, side * side), repeats_rows
        )
    shape = ConvShape.of(x_shape, k_out, geom, out)
    row_stride = c_in // group * math.prod(geom.kernel)
    return ConvPlan(out, None, 0, direct_forward(shape, row_stride, 1, threads), repeats_rows)


def group_shape(x_shape: tuple[int, ...], k_out: int, geom: ConvGeometry, out: tuple[int, ...]) -> ConvShape:
    """The shape of what the tile transforms compute at once: everything, or one group of one image."""
    shape, group = ConvShape.of(x_shape, k_out, geom, out), geom.group
    if group == 1:
        return shape
    return shape._replace(images=1, c_in=shape.c_in // group, k_out=k_out // group, group=1)
