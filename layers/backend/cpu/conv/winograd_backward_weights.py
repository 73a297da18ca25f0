"""The gradient of the kernels by tile transforms:

    dU[f] = dM[f] V[f]^T, with dM[f] = A dy A^T and V[f] = B^T x B;     dw = G^T dU G

Where channels are few, V and dM stay as the transforms write them, and a product is one of lines (dot_microkernel);
else they are transposed for the faster products of gemm_microkernel.  Sums over tiles run band after band, whatever the
number of threads.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.conv.winograd_tiles import (
    LINES,
    SKEW,
    Plane,
    add_kernel_gradients,
    side_of,
    tiles_along,
    transform_gradients,
    transform_inputs,
)
from demitasse.layers.backend.cpu.conv.winograd_transforms import Tile
from demitasse.layers.backend.cpu.dot_microkernel import Lines, add_dots
from demitasse.layers.backend.cpu.gemm_microkernel import (
    ROWS,
    TILE_ROWS,
    TILE_VECTORS,
    VECTORS,
    fill,
    multiply,
    padded,
    transpose,
)
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, OffsetRows, PackedRows, Rows
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BUDGET, DEEP = 3 << 20, 384  # floats of a band; and so many tiles at least, or sums are short and dU is read often
FEW_TILES = 128  # where the sums are so short, U is most of what a job reads, and writes: it is to stay in the cache
SOME_CHANNELS, SOME_BLOCKS = 96, 4  # of a job's inputs and outputs: V and dM are read once for each
MANY_TILES, FEW_CHANNELS = 192, 48  # for products of lines; the channels are the harmonic mean's half


class WeightsPlan(NamedTuple):
    """A band is some tile rows, counted through all images; a job some blocks of 16 outputs, and some inputs of all
    frequencies or, if there are several bands, all inputs of one frequency."""

    shape: ConvShape
    m: tuple[int, ...]  # their lengths: see Tile
    r: tuple[int, ...]
    band_rows: int
    job_blocks: int
    job_channels: int
    ld: int  # tiles of a band
    one_band: bool
    in_lines: bool  # whether V and dM lie channel by channel, for products of lines; else tile by tile


class _Layout(NamedTuple):
    """Floats from frequency to frequency: of 16 channels before they are transposed, of dM, V and dU; and between
    rows of V and dU."""

    part_plane: int
    d_plane: int
    v_plane: int
    u_plane: int
    v_ld: int
    u_ld: int


class _Product(NamedTuple):
    """Of frequency f: outputs of the blocks first ... last - 1 and inputs c0 ... c1 - 1, summed over so many tiles."""

    f: int
    first: int
    last: int
    c0: int
    c1: int
    tiles: int


@inner_kernel
def _layout_of(plan):
    """The _Layout of a plan."""
    shape, ld = plan.shape, plan.ld
    k_blocks, v_ld = (shape.k_out + 15) // 16, (shape.c_in + 15) // 16 * 16 + SKEW
    u_ld, u_blocks = (plan.job_channels + 15) // 16 * 16 + SKEW, plan.job_blocks if plan.one_band else k_blocks
    u_plane = u_blocks * 16 * u_ld + SKEW
    if plan.in_lines:
        return _Layout(0, shape.k_out * ld + SKEW, shape.c_in * ld + SKEW, u_plane, ld, u_ld)
    return _Layout(16 * ld + SKEW, k_blocks * ld * 16 + SKEW, ld * v_ld + SKEW, u_plane, v_ld, u_ld)


@kernel
def _backward_weights(state, scratch, x, dy, dw, lines, plan, u, d, v):
    """Adds to dw (K, C, taps) its gradient.

    d: dM of a band, (blocks of 16 outputs, tiles, 16) per frequency; v: V of a band, (tiles, inputs); in lines both are
    (channels, tiles), and `lines` says where that of each input begins; u: dU of everything; scratch: lines of pixels,
    16 channels before they are transposed, and dU of one job where there is one band only.
    """
    shape, layout, tile = plan.shape, _layout_of(plan), Tile(plan.m, plan.r)
    me = enter(state)
    freqs, each = side_of(tile) * side_of(tile), 1 if plan.in_lines else 16
    tiles_y, tiles_x = tiles_along(shape.out_h, tile), tiles_along(shape.out_w, tile)
    k_blocks, inputs = (shape.k_out + 15) // 16, (shape.c_in + each - 1) // each
    my_lines, my_part = scratch[me][:LINES], scratch[me][LINES:]
    my_u = my_part[freqs * layout.part_plane :] if plan.one_band else u
    parts = (k_blocks + plan.job_blocks - 1) // plan.job_blocks
    pieces = (shape.c_in + plan.job_channels - 1) // plan.job_channels if plan.one_band else freqs
    superstep = -1
    for band in range(0, shape.images * tiles_y, plan.band_rows):
        band_end = min(band + plan.band_rows, shape.images * tiles_y)
        superstep += 1
        for job in work(state, me, superstep, inputs + (shape.k_out + each - 1) // each):  # transforms
            if job < inputs:
                _inputs_job(x, job * each, band, band_end, plan, my_part, my_lines, v)
            else:
                _gradients_job(dy, (job - inputs) * each, band, band_end, plan, my_part, my_lines, d)
        superstep += 1
        for job in work(state, me, superstep, parts * pieces):  # products
            first, piece = job % parts * plan.job_blocks, job // parts
            last, tiles = min(first + plan.job_blocks, k_blocks), (band_end - band) * tiles_x
            if plan.one_band:
                c0, c1 = piece * plan.job_channels, min((piece + 1) * plan.job_channels, shape.c_in)
                for f in range(freqs):
                    _multiply(d, v, lines, _Product(f, first, last, c0, c1, tiles), plan, my_u, False)
                for k in range(first * 16, min(last * 16, shape.k_out)):
                    _add_kernels(my_u, k - first * 16, dw, k, c0, c1, plan, my_lines)
            else:
                product = _Product(piece, first, last, 0, shape.c_in, tiles)
                _multiply(d, v, lines, product, plan, my_u, superstep > 1)
    if not plan.one_band:
        superstep += 1
        for k in work(state, me, superstep, shape.k_out):
            _add_kernels(my_u, k, dw, k, 0, shape.c_in, plan, my_lines)


@inner_kernel
def _inputs_job(x, first, band, band_end, plan, part, lines, v):
    """V of the channels from `first` on, one or 16, and the tile rows of a band."""
    shape, layout, tile = plan.shape, _layout_of(plan), Tile(plan.m, plan.r)
    tiles_y, tiles_x = tiles_along(shape.out_h, tile), tiles_along(shape.out_w, tile)
    channels, area = min(1 if plan.in_lines else 16, shape.c_in - first), shape.height * shape.width
    for i in range(channels):
        for row in range(band, band_end):
            plane = Plane(x, (row // tiles_y * shape.c_in + first + i) * area, shape.height, shape.width)
            top, at = row % tiles_y * len(tile.m) - shape.pad_y, (row - band) * tiles_x
            spectrum = Matrix(part, i * plan.ld + at, layout.part_plane)
            if plan.in_lines:
                spectrum = Matrix(v, first * plan.ld + at, layout.v_plane)
            transform_inputs(plane, top, -shape.pad_x, tiles_x, spectrum, lines, tile)
    for f in range(0 if plan.in_lines else side_of(tile) * side_of(tile)):
        out = Matrix(v, f * layout.v_plane + first, layout.v_ld)
        transpose(Matrix(part, f * layout.part_plane, plan.ld), channels, (band_end - band) * tiles_x, out, 16)


@inner_kernel
def _gradients_job(dy, first, band, band_end, plan, part, lines, d):
    """dM of the outputs from `first` on, one or 16, and the tile rows of a band."""
    shape, layout, tile = plan.shape, _layout_of(plan), Tile(plan.m, plan.r)
    tiles_y, tiles_x = tiles_along(shape.out_h, tile), tiles_along(shape.out_w, tile)
    channels, area = min(1 if plan.in_lines else 16, shape.k_out - first), shape.out_h * shape.out_w
    for i in range(channels):
        for row in range(band, band_end):
            plane = Plane(dy, (row // tiles_y * shape.k_out + first + i) * area, shape.out_h, shape.out_w)
            top, at = row % tiles_y * len(tile.m), (row - band) * tiles_x
            spectrum = Matrix(part, i * plan.ld + at, layout.part_plane)
            if plan.in_lines:
                spectrum = Matrix(d, first * plan.ld + at, layout.d_plane)
            transform_gradients(plane, top, tiles_x, spectrum, lines, tile)
    for f in range(0 if plan.in_lines else side_of(tile) * side_of(tile)):
        out = Matrix(d, f * layout.d_plane + first * plan.ld, 16)
        transpose(Matrix(part, f * layout.part_plane, plan.ld), channels, (band_end - band) * tiles_x, out, 16)


@inner_kernel
def _multiply(d, v, lines, product, plan, u, add):
    """dU (+)= dM V^T of a _Product."""
    layout, ld, (f, first, last, c0, c1, tiles) = _layout_of(plan), plan.ld, product
    out = Matrix(u, f * layout.u_plane + (0 if plan.one_band else first * 16 * layout.u_ld), layout.u_ld)
    if not plan.in_lines:
        left = PackedRows(d, f * layout.d_plane + first * ld * 16, ld * 16, last - first)
        multiply(left, Matrix(v, f * layout.v_plane + c0, layout.v_ld), out, c1 - c0, tiles, add)
        return
    k0, k1 = first * 16, min(last * 16, plan.shape.k_out)
    if not add:
        fill(u, out.start, (k1 - k0) * out.ld, np.float32(0))
    for c in range(c0, c1, TILE_VECTORS):
        for k in range(k0, k1, TILE_ROWS):
            left, right = (
                Rows(d, f * layout.d_plane + k * ld, ld, 1, k1 - k),
                OffsetRows(v, f * layout.v_plane, lines, c),
            )
            sums = Matrix(u, out.start + (k - k0) * out.ld + c - c0, out.ld)
            add_dots(left, right, c1 - c, sums, Lines(1, tiles, 0, 0), ROWS, VECTORS)


@inner_kernel
def _add_kernels(u, row, dw, k, c0, c1, plan, lines):
    """Adds to dw the gradients of output k and inputs c0 ... c1 - 1, whose dU is that row of u."""
    layout, tile = _layout_of(plan), Tile(plan.m, plan.r)
    start = (k * plan.shape.c_in + c0) * len(tile.r) * len(tile.r)
    add_kernel_gradients(Matrix(u, row * layout.u_ld, layout.u_plane), c1 - c0, dw, start, lines, tile)


@functools.lru_cache(4096)
def _launch(shape: ConvShape, m: int, threads: int) -> tuple[Launch, np.ndarray]:
    """(launch, where lines of V begin)"""
    r, k_out, c_in = shape.kernel_y, shape.k_out, shape.c_in
    freqs = (m + r - 1) ** 2
    tile_rows, tiles_x = shape.images * -(-shape.out_h // m), -(-shape.out_w // m)
    k_blocks, v_ld = -(-k_out // 16), -(-c_in // 16) * 16 + SKEW
    tile_floats = freqs * (c_in + k_out)
    rows = band_size(tile_rows, tile_floats * tiles_x, max(BUDGET, DEEP * tile_floats))
    bands, ld = -(-tile_rows // rows), padded(rows * tiles_x)
    one_band, tiles = bands == 1, rows * tiles_x
    job_blocks, job_channels = min(k_blocks, SOME_BLOCKS), c_in
    if one_band:
        job_channels = min(c_in, SOME_CHANNELS)
        jobs = k_blocks * -(-c_in // job_channels)
        job_blocks = 1 if tiles <= FEW_TILES else max(1, min(job_blocks, jobs // (2 * threads)))
    in_lines = tiles >= MANY_TILES and k_out * c_in < FEW_CHANNELS * (k_out + c_in)
    plan = WeightsPlan(shape, (0,) * m, (0,) * r, rows, job_blocks, job_channels, ld, one_band, in_lines)
    u = freqs * ((job_blocks if one_band else k_blocks) * 16 * (-(-job_channels // 16) * 16 + SKEW) + SKEW)
    d, v = (k_out * ld, c_in * ld) if in_lines else (k_blocks * ld * 16, ld * v_ld)
    part = 0 if in_lines else freqs * (16 * ld + SKEW)
    workspaces = 0 if one_band else u, freqs * (d + SKEW), freqs * (v + SKEW)
    launch = Launch(Packed(plan), 2 * bands + 1, workspaces, LINES + part + (u if one_band else 0))
    return launch, np.arange(c_in) * ld


def winograd_backward_weights(be, shape: ConvShape, m: int, x, dy, dw) -> None:
    """Adds to dw (K, C, taps) its gradient, by F(m x m, r x r)."""
    launch, lines = _launch(shape, m, be.pool.threads)
    launch.run(be, _backward_weights, x.reshape(-1), dy.reshape(-1), dw.reshape(-1), lines)
