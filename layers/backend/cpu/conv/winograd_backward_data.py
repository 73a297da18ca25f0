"""The gradient of the input by tile transforms, where the kernel is large:

    dV[f] = U[f]^T dM[f], with dM[f] = A dy A^T;     dx = the overlapping sum of B dV B^T, tile by tile

the adjoint of winograd_forward.  (With 3x3 kernels dx is rather a convolution of dy with rotated kernels, by
winograd_forward.)
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
    side_of,
    tiles_along,
    transform_gradients,
    transform_kernels,
)
from demitasse.layers.backend.cpu.conv.winograd_transforms import Tile
from demitasse.layers.backend.cpu.gemm_microkernel import fill, multiply, padded
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, PackedRows
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BUDGET = 3 << 20  # floats of dV of a band
PART, MIN_PART = 1 << 19, 64  # floats of dM, and outputs; with U of a job, of as many outputs, they are to stay near


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
    tiles_y, tiles_x = tiles_along(shape.out_h, tile), tiles_along(shape.out_w, tile)
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
def _launch(shape: ConvShape, m: int) -> Launch:
    r = shape.kernel_y
    freqs = (m + r - 1) ** 2
    tiles_y, tiles_x = -(-shape.out_h // m), -(-shape.out_w // m)
    blocks = -(-shape.c_in // 16)
    rows = band_size(tiles_y, freqs * shape.c_in * tiles_x, BUDGET)
    bands, ld = -(-tiles_y // rows), padded(rows * tiles_x)
    k_part = min(shape.k_out, max(MIN_PART, band_size(shape.k_out, freqs * ld, PART)))
    job_blocks = min(2, blocks)
    plan = DataPlan(shape, (0,) * m, (0,) * r, rows, k_part, job_blocks, ld)
    workspaces = freqs * (k_part * ld + SKEW), freqs * (blocks * 16 * ld + SKEW)
    scratch = LINES + freqs * (job_blocks * k_part * 16 + SKEW)
    return Launch(Packed(plan), shape.images * bands * (2 * -(-shape.k_out // k_part) + 1), workspaces, scratch)


def winograd_backward_data(be, shape: ConvShape, m: int, dy, w, dx) -> None:
    """dx (N, C, H, W) = the transposed convolution of dy (N, K, OH, OW), by the adjoint of F(m x m, r x r)."""
    _launch(shape, m).run(be, _backward_data, dy.reshape(-1), w.reshape(-1), dx.reshape(-1))
