"""Gradients by tile transforms: of the kernels, and of the input where the kernel is large.

    dU[f] = dM[f] V[f]^T, with dM[f] = A dy A^T and V[f] = B^T x B;     dw = G^T dU G
    dV[f] = U[f]^T dM[f];     dx = the overlapping sum of B dV B^T, tile by tile       (the adjoint of winograd_forward)

(With 3x3 kernels dx is rather a convolution of dy with rotated kernels, by winograd_forward.)  Sums over tiles run
band after band, whatever the number of threads.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.conv.winograd_tiles import (
    LINES,
    SKEW,
    Kernels,
    Plane,
    add_input_gradients,
    add_kernel_gradients,
    side_of,
    transform_gradients,
    transform_inputs,
    transform_kernels,
)
from demitasse.layers.backend.cpu.conv.winograd_transforms import Tile
from demitasse.layers.backend.cpu.gemm_microkernel import fill, multiply, padded, transpose
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, PackedRows
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BUDGET = 3 << 20  # floats of a band


@inner_kernel
def _tiles_along(size, tile):
    """How many tiles there are along an axis of so many outputs."""
    return (size + len(tile.m) - 1) // len(tile.m)


# -- of the kernels ----------------------------------------------------------------------------------------------------


class WeightsPlan(NamedTuple):
    """A band is some tile rows, counted through all images; a job some blocks of 16 outputs, and one frequency if there
    are several bands."""

    shape: ConvShape
    m: tuple[int, ...]  # their lengths: see Tile
    r: tuple[int, ...]
    band_rows: int
    job_blocks: int
    ld: int  # tiles of a band
    one_band: bool


class _WeightsLayout(NamedTuple):
    """Floats from frequency to frequency: of 16 channels before they are transposed, of dM, V and dU; and between
    rows of V and dU."""

    part_plane: int
    d_plane: int
    v_plane: int
    u_plane: int
    c_ld: int


@inner_kernel
def _weights_layout(plan):
    """The _WeightsLayout of a plan."""
    k_blocks, c_ld = (plan.shape.k_out + 15) // 16, (plan.shape.c_in + 15) // 16 * 16 + SKEW
    u_blocks = plan.job_blocks if plan.one_band else k_blocks
    ld = plan.ld
    return _WeightsLayout(
        16 * ld + SKEW, k_blocks * ld * 16 + SKEW, ld * c_ld + SKEW, u_blocks * 16 * c_ld + SKEW, c_ld
    )


@kernel
def _backward_weights(state, scratch, x, dy, dw, plan, u, d, v):
    """Adds to dw (K, C, taps) its gradient.

    d: dM of a band, (blocks of 16 outputs, tiles, 16) per frequency; v: V of a band, (tiles, inputs); u: dU of
    everything; scratch: lines, 16 channels before they are transposed, and dU of one job where there is one band only.
    """
    shape, layout, tile = plan.shape, _weights_layout(plan), Tile(plan.m, plan.r)
    me = enter(state)
    freqs, taps = side_of(tile) * side_of(tile), len(tile.r) * len(tile.r)
    tiles_y, tiles_x = _tiles_along(shape.out_h, tile), _tiles_along(shape.out_w, tile)
    k_blocks, c_blocks = (shape.k_out + 15) // 16, (shape.c_in + 15) // 16
    my_lines, my_part = scratch[me][:LINES], scratch[me][LINES:]
    my_u = my_part[freqs * layout.part_plane :] if plan.one_band else u
    parts = (k_blocks + plan.job_blocks - 1) // plan.job_blocks
    superstep = -1
    for band in range(0, shape.images * tiles_y, plan.band_rows):
        band_end = min(band + plan.band_rows, shape.images * tiles_y)
        tiles = (band_end - band) * tiles_x
        superstep += 1
        for job in work(state, me, superstep, k_blocks + c_blocks):  # transforms, 16 channels at a time
            if job < c_blocks:
                _inputs_job(x, job, band, band_end, plan, my_part, my_lines, v)
            else:
                _gradients_job(dy, job - c_blocks, band, band_end, plan, my_part, my_lines, d)
        superstep += 1
        for job in work(state, me, superstep, parts if plan.one_band else parts * freqs):  # products
            if plan.one_band:
                first = job * plan.job_blocks
                last = min(first + plan.job_blocks, k_blocks)
                for f in range(freqs):
                    _multiply_weights(d, v, f, first, last, tiles, plan, my_u, False)
                for k in range(first * 16, min(last * 16, shape.k_out)):
                    spectrum = Matrix(my_u, (k - first * 16) * layout.c_ld, layout.u_plane)
                    add_kernel_gradients(spectrum, shape.c_in, dw, k * shape.c_in * taps, my_lines, tile)
            else:
                f, first = job // parts, job % parts * plan.job_blocks
                last = min(first + plan.job_blocks, k_blocks)
                _multiply_weights(d, v, f, first, last, tiles, plan, my_u, superstep > 1)
    if not plan.one_band:
        superstep += 1
        for k in work(state, me, superstep, shape.k_out):
            spectrum = Matrix(my_u, k * layout.c_ld, layout.u_plane)
            add_kernel_gradients(spectrum, shape.c_in, dw, k * shape.c_in * taps, my_lines, tile)


@inner_kernel
def _inputs_job(x, block, band, band_end, plan, part, lines, v):
    """V of 16 channels and the tile rows of a band."""
    shape, layout, tile = plan.shape, _weights_layout(plan), Tile(plan.m, plan.r)
    tiles_y, tiles_x = _tiles_along(shape.out_h, tile), _tiles_along(shape.out_w, tile)
    channels, area = min(16, shape.c_in - block * 16), shape.height * shape.width
    for i in range(channels):
        for row in range(band, band_end):
            start = (row // tiles_y * shape.c_in + block * 16 + i) * area
            plane, top = Plane(x, start, shape.height, shape.width), row % tiles_y * len(tile.m) - shape.pad_y
            spectrum = Matrix(part, i * plan.ld + (row - band) * tiles_x, layout.part_plane)
            transform_inputs(plane, top, -shape.pad_x, tiles_x, spectrum, lines, tile)
    for f in range(side_of(tile) * side_of(tile)):
        out = Matrix(v, f * layout.v_plane + block * 16, layout.c_ld)
        transpose(Matrix(part, f * layout.part_plane, plan.ld), channels, (band_end - band) * tiles_x, out, 16)


@inner_kernel
def _gradients_job(dy, block, band, band_end, plan, part, lines, d):
    """dM of 16 outputs and the tile rows of a band."""
    shape, layout, tile = plan.shape, _weights_layout(plan), Tile(plan.m, plan.r)
    tiles_y, tiles_x = _tiles_along(shape.out_h, tile), _tiles_along(shape.out_w, tile)
    channels, area = min(16, shape.k_out - block * 16), shape.out_h * shape.out_w
    for i in range(channels):
        for row in range(band, band_end):
            start = (row // tiles_y * shape.k_out + block * 16 + i) * area
            plane = Plane(dy, start, shape.out_h, shape.out_w)
            spectrum = Matrix(part, i * plan.ld + (row - band) * tiles_x, layout.part_plane)
            transform_gradients(plane, row % tiles_y * len(tile.m), tiles_x, spectrum, lines, tile)
    for f in range(side_of(tile) * side_of(tile)):
        out = Matrix(d, f * layout.d_plane + block * 16 * plan.ld, 16)
        transpose(Matrix(part, f * layout.part_plane, plan.ld), channels, (band_end - band) * tiles_x, out, 16)


@inner_kernel
def _multiply_weights(d, v, f, first, last, tiles, plan, u, add):
    """dU (+)= dM V^T of blocks first ... last - 1 of outputs at frequency f."""
    layout = _weights_layout(plan)
    left = PackedRows(d, f * layout.d_plane + first * plan.ld * 16, plan.ld * 16, last - first)
    start = f * layout.u_plane + (0 if plan.one_band else first * 16 * layout.c_ld)
    out = Matrix(u, start, layout.c_ld)
    multiply(left, Matrix(v, f * layout.v_plane, layout.c_ld), out, plan.shape.c_in, tiles, add)


@functools.lru_cache(4096)
def _weights_launch(shape: ConvShape, m: int) -> Launch:
    r = shape.kernel_y
    freqs = (m + r - 1) ** 2
    tile_rows, tiles_x = shape.images * -(-shape.out_h // m), -(-shape.out_w // m)
    k_blocks, c_ld = -(-shape.k_out // 16), -(-shape.c_in // 16) * 16 + SKEW
    budget = BUDGET if tile_rows * tiles_x > 256 else 1 << 30
    rows = band_size(tile_rows, freqs * (shape.c_in + shape.k_out) * tiles_x, budget)
    bands, ld = -(-tile_rows // rows), padded(rows * tiles_x)
    one_band = bands == 1
    job_blocks = 1 if one_band else min(k_blocks, 4)
    plan = WeightsPlan(shape, (0,) * m, (0,) * r, rows, job_blocks, ld, one_band)
    u = freqs * ((job_blocks if one_band else k_blocks) * 16 * c_ld + SKEW)
    workspaces = 0 if one_band else u, freqs * (k_blocks * ld * 16 + SKEW), freqs * (ld * c_ld + SKEW)
    scratch = LINES + freqs * (16 * ld + SKEW) + (u if one_band else 0)
    return Launch(Packed(plan), 2 * bands + 1, workspaces, scratch)


def winograd_backward_weights(be, shape: ConvShape, m: int, x, dy, dw) -> None:
    """Adds to dw (K, C, taps) its gradient, by F(m x m, r x r)."""
    _weights_launch(shape, m).run(be, _backward_weights, x.reshape(-1), dy.reshape(-1), dw.reshape(-1))


# -- of the input ------------------------------------------------------------------------------------------------------


class DataPlan(NamedTuple):
    """A band is some outputs (k_part) of some tile rows, a job some blocks of 16 inputs."""

    shape: ConvShape
    m: tuple[int, ...]  # their lengths: see Tile
    r: tuple[int, ...]
    band_rows: int
    k_part: int
    job_blocks: int
    ld: int  # tiles of a band


@kernel
def _backward_data(state, scratch, dy, w, dx, plan, v, q):
    """dx (N, C, H, W) of dy (N, K, OH, OW) by the adjoint of the tile transform.

    v: dM of a band; q: the dV of all inputs, summed over outputs; scratch: lines, and U of one job.
    """
    shape, tile = plan.shape, Tile(plan.m, plan.r)
    me = enter(state)
    my_lines, my_u = scratch[me][:LINES], scratch[me][LINES:]
    tiles_y, tiles_x = _tiles_along(shape.out_h, tile), _tiles_along(shape.out_w, tile)
    blocks, area = (shape.c_in + 15) // 16, shape.out_h * shape.out_w
    v_plane, q_plane = plan.k_part * plan.ld + SKEW, blocks * 16 * plan.ld + SKEW
    superstep = -1
    for image in range(shape.images):
        for band in range(0, tiles_y, plan.band_rows):
            band_end = min(band + plan.band_rows, tiles_y)
            for k0 in range(0, shape.k_out, plan.k_part):
                count = min(plan.k_part, shape.k_out - k0)
                superstep += 1
                for k in work(state, me, superstep, count):
                    plane = Plane(dy, (image * shape.k_out + k0 + k) * area, shape.out_h, shape.out_w)
                    for row in range(band, band_end):
                        spectrum = Matrix(v, k * plan.ld + (row - band) * tiles_x, v_plane)
                        transform_gradients(plane, row * len(tile.m), tiles_x, spectrum, my_lines, tile)
                superstep += 1
                for job in work(state, me, superstep, (blocks + plan.job_blocks - 1) // plan.job_blocks):
                    _multiply_data(w, v, job, k0, count, (band_end - band) * tiles_x, plan, my_u, my_lines, q)
            superstep += 1
            for c in work(state, me, superstep, shape.c_in):
                start = (image * shape.c_in + c) * shape.height * shape.width
                if band == 0:
                    fill(dx, start, shape.height * shape.width, np.float32(0))
                plane = Plane(dx, start, shape.height, shape.width)
                for row in range(band, band_end):
                    spectrum, line = Matrix(q, c * plan.ld + (row - band) * tiles_x, q_plane), row * len(tile.m)
                    add_input_gradients(spectrum, tiles_x, plane, line - shape.pad_y, -shape.pad_x, my_lines, tile)


@inner_kernel
def _multiply_data(w, v, job, k0, count, tiles, plan, u, lines, q):
    """q (+)= U^T dM of a job's inputs and the outputs k0 ... k0 + count - 1; u: memory for U."""
    c_in, tile = plan.shape.c_in, Tile(plan.m, plan.r)
    taps, freqs, blocks = len(tile.r) * len(tile.r), side_of(tile) * side_of(tile), (c_in + 15) // 16
    first, last = job * plan.job_blocks, min((job + 1) * plan.job_blocks, blocks)
    u_plane, v_plane = plan.job_blocks * plan.k_part * 16 + SKEW, plan.k_part * plan.ld + SKEW
    q_plane = blocks * 16 * plan.ld + SKEW
    transposed = Kernels(w, k0 * c_in * taps, taps, c_in * taps, False)
    for block in range(first, last):
        spectrum = Matrix(u, (block - first) * plan.k_part * 16, u_plane)
        transform_kernels(transposed, block * 16, c_in, count, spectrum, lines, tile)
    for f in range(freqs):
        left = PackedRows(u, f * u_plane, plan.k_part * 16, last - first)
        out = Matrix(q, f * q_plane + first * 16 * plan.ld, plan.ld)
        multiply(left, Matrix(v, f * v_plane, plan.ld), out, tiles, count, k0 > 0)


@functools.lru_cache(4096)
def _data_launch(shape: ConvShape, m: int) -> Launch:
    r = shape.kernel_y
    freqs = (m + r - 1) ** 2
    tiles_y, tiles_x = -(-shape.out_h // m), -(-shape.out_w // m)
    blocks = -(-shape.c_in // 16)
    rows = band_size(tiles_y, freqs * shape.c_in * tiles_x, BUDGET)
    bands, ld = -(-tiles_y // rows), padded(rows * tiles_x)
    k_part = max(16, min(shape.k_out, BUDGET // (freqs * ld)))
    job_blocks = min(2, blocks)
    plan = DataPlan(shape, (0,) * m, (0,) * r, rows, k_part, job_blocks, ld)
    workspaces = freqs * (k_part * ld + SKEW), freqs * (blocks * 16 * ld + SKEW)
    scratch = LINES + freqs * (job_blocks * k_part * 16 + SKEW)
    return Launch(Packed(plan), shape.images * bands * (2 * -(-shape.k_out // k_part) + 1), workspaces, scratch)


def winograd_backward_data(be, shape: ConvShape, m: int, dy, w, dx) -> None:
    """dx (N, C, H, W) = the transposed convolution of dy (N, K, OH, OW), by the adjoint of F(m x m, r x r)."""
    _data_launch(shape, m).run(be, _backward_data, dy.reshape(-1), w.reshape(-1), dx.reshape(-1))
