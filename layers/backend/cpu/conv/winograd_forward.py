"""Convolution with stride 1 by tile transforms (Winograd): products per frequency instead of per tap.

    U[f] = G w G^T        (outputs, inputs)        V[f] = B^T x B  (inputs, tiles)
    M[f] = U[f] V[f]      (outputs, tiles)         y = A^T M A

The images are worked through in bands of tile rows: of small images a band holds several.  Per band two supersteps:
inputs are transformed into V channel by channel; the (m + r - 1)^2 products are cut into jobs, of which each then
transforms its outputs from M channel by channel.  The same kernel computes the gradient of the input,
with rotated kernels; where the kernel is large (7x7) the adjoint is cheaper (winograd_backward_data).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch
from demitasse.layers.backend.cpu.conv.residual import add_residual, leak
from demitasse.layers.backend.cpu.conv.winograd_tiles import (
    LINES,
    SKEW,
    Kernels,
    Plane,
    side_of,
    transform_inputs,
    transform_kernels,
    transform_outputs,
)
from demitasse.layers.backend.cpu.conv.winograd_transforms import Tile
from demitasse.layers.backend.cpu.gemm_microkernel import multiply, padded
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, Outputs, PackedRows
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import MAX_BANDS, MIN_BAND_PIXELS, partition, wait, work

BAND_FLOATS, BAND_TILES = 8 << 20, 512  # of V at most, where U is large; more tiles would make M large
SMALL_BAND_FLOATS = 3 << 17  # of V, where U is small
SMALL_U = 2 << 20  # floats of U that the threads may share while each has pixels of its own
MANY_INPUTS, ONE_BAND = 192, 1 << 20  # where U has more than half of that, bands of so few tiles would read it often
JOB_FLOATS = 1 << 18  # of M
NEAR_COLUMNS, NEAR_U = 192, 1 << 19  # up to so many tiles, kernels are transformed and multiplied a part at a time
NEAR_INPUTS, NEAR_JOB_BLOCKS = 64, 4  # of a part, where U of a job were larger: M is gone through for each
MIN_JOB_BLOCKS, MAX_JOB_BLOCKS = 2, 8  # of a job, which reads all V once
LARGE_V = 3 << 19  # floats: to read them for each two blocks would take longer than to multiply


class ForwardPlan(NamedTuple):
    """How a convolution is cut up.  Its shape has group 1.

    Tile rows are counted through all images, and worked through in bands.  Where kernels are few a band is short, such
    that V stays in the cache, and has a part for each thread if it is large enough: pixels stay with a thread from
    layer to layer.  Otherwise it is long, since kernels are transformed anew for each, and each thread works on outputs
    of its own: the larger V, the more of them at a time.  U of a job is made in the job, unless others would make it
    once more.
    """

    shape: ConvShape
    m: tuple[int, ...]  # their lengths: see Tile
    r: tuple[int, ...]
    out_step: int  # see Kernels
    in_step: int
    rotated: bool
    band_rows: int  # of tiles
    parts: int  # of a band
    job_rows: int  # of tiles
    job_blocks: int  # of 16 outputs
    v_ld: int
    q_ld: int  # of M
    shared_u: bool
    near_inputs: int  # whose kernels are transformed before they are multiplied: else U of a job would leave the cache


class _Layout(NamedTuple):
    """Floats from frequency to frequency, and where U and V begin in a thread's scratch."""

    u_plane: int
    v_plane: int
    q_plane: int
    u_start: int
    v_start: int
    tiles_y: int  # of an image
    tiles_x: int


class _Job(NamedTuple):
    """Blocks first ... last - 1 of outputs, tile rows row0 ... row1 - 1 of a band that begins at `band`; the part of
    the band that V is of begins at tile row `begin`."""

    band: int
    begin: int
    row0: int
    row1: int
    first: int
    last: int


@kernel
def _forward(state, scratch, x, w, outputs, y, plan, u, v):
    """y (N, K, OH, OW) = relu(scale * the convolution of x (N, C, H, W) + bias): Outputs; images and w flat.

    u: U of everything, where it is shared; v: V of a band that has one part only; scratch: lines, M and, unless it is
    shared, U of one job; then V of the part with the thread's number.
    """
    shape, tile = plan.shape, Tile(plan.m, plan.r)
    kernels = Kernels(w, 0, plan.out_step, plan.in_step, plan.rotated)
    me = enter(state)
    layout, c_in = _layout(plan), shape.c_in
    tile_rows, blocks = shape.images * layout.tiles_y, (shape.k_out + 15) // 16
    lines, q = scratch[me][:LINES], scratch[me][LINES : layout.u_start]
    my_u = u if plan.shared_u else scratch[me][layout.u_start :]
    block_jobs = (blocks + plan.job_blocks - 1) // plan.job_blocks
    superstep = 0
    for block in work(state, me, superstep, blocks if plan.shared_u else 0, True):  # kernels
        spectrum = Matrix(my_u, block * c_in * 16, layout.u_plane)
        transform_kernels(kernels, block * 16, shape.k_out, c_in, spectrum, lines, tile)
    for band in range(0, tile_rows, plan.band_rows):
        rows = min(plan.band_rows, tile_rows - band)
        superstep += 1
        for job in work(state, me, superstep, c_in * plan.parts):  # inputs
            c, part = job % c_in, job // c_in
            begin, end = partition(rows, part, plan.parts)
            part_v = scratch[part][layout.v_start :] if plan.parts > 1 else v
            _transform_channel(x, c, band + begin, band + end, plan, part_v, lines)
        if superstep == 1 and plan.shared_u:
            wait(state, 0, blocks)
        superstep += 1
        row_jobs = ((rows + plan.parts - 1) // plan.parts + plan.job_rows - 1) // plan.job_rows
        for job in work(state, me, superstep, plan.parts * row_jobs * block_jobs):  # products and outputs
            first, group, part = (
                job % block_jobs * plan.job_blocks,
                job // block_jobs,
                job // block_jobs // row_jobs,
            )
            begin, end = partition(rows, part, plan.parts)
            row0, last = begin + group % row_jobs * plan.job_rows, min(first + plan.job_blocks, blocks)
            row1 = min(row0 + plan.job_rows, end)
            if row0 >= row1:  # this part of the band has a row less
                continue
            piece = _Job(band, begin, row0, row1, first, last)
            part_v = scratch[part][layout.v_start :] if plan.parts > 1 else v
            for c in range(0, c_in, plan.near_inputs):
                near = min(plan.near_inputs, c_in - c)
                if not plan.shared_u:
                    _transform_job_kernels(kernels, c, near, my_u, plan, piece, lines)
                _multiply_job(my_u, part_v, q, plan, piece, c, near)
            _transform_job_outputs(q, outputs, y, plan, piece, lines)


@inner_kernel
def _layout(plan):
    """The _Layout of a plan."""
    shape, tile = plan.shape, Tile(plan.m, plan.r)
    freqs, blocks = side_of(tile) * side_of(tile), (shape.k_out + 15) // 16
    u_plane = (blocks if plan.shared_u else plan.job_blocks) * plan.near_inputs * 16 + SKEW
    v_plane, q_plane = shape.c_in * plan.v_ld + SKEW, plan.job_blocks * 16 * plan.q_ld + SKEW
    u_start = LINES + freqs * q_plane
    v_start = u_start if plan.shared_u else u_start + freqs * u_plane
    tiles_y, tiles_x = (shape.out_h + len(tile.m) - 1) // len(tile.m), (shape.out_w + len(tile.m) - 1) // len(tile.m)
    return _Layout(u_plane, v_plane, q_plane, u_start, v_start, tiles_y, tiles_x)


@inner_kernel
def _transform_channel(x, c, first, end, plan, v, lines):
    """V of a channel's tile rows first ... end - 1, the first at the head of v."""
    shape, layout, tile = plan.shape, _layout(plan), Tile(plan.m, plan.r)
    for row in range(first, end):
        image, line = divmod(row, layout.tiles_y)
        plane = Plane(x, (image * shape.c_in + c) * shape.height * shape.width, shape.height, shape.width)
        spectrum = Matrix(v, c * plan.v_ld + (row - first) * layout.tiles_x, layout.v_plane)
        transform_inputs(plane, line * len(tile.m) - shape.pad_y, -shape.pad_x, layout.tiles_x, spectrum, lines, tile)


@inner_kernel
def _transform_job_kernels(kernels, c, inputs, u, plan, job, lines):
    """U of a job's kernels of some inputs from c on."""
    shape, u_plane = plan.shape, _layout(plan).u_plane
    start = kernels.start + c * kernels.in_step
    seen = Kernels(kernels.data, start, kernels.out_step, kernels.in_step, kernels.rotated)
    for block in range(job.first, job.last):
        spectrum = Matrix(u, (block - job.first) * inputs * 16, u_plane)
        transform_kernels(seen, block * 16, shape.k_out, inputs, spectrum, lines, Tile(plan.m, plan.r))


@inner_kernel
def _multiply_job(u, v, q, plan, job, c, inputs):
    """q (+)= M of a job, of some inputs from c on: a product per frequency."""
    layout, side = _layout(plan), side_of(Tile(plan.m, plan.r))
    start = job.first * inputs * 16 if plan.shared_u else 0
    for f in range(side * side):
        left = PackedRows(u, f * layout.u_plane + start, inputs * 16, job.last - job.first)
        at = f * layout.v_plane + c * plan.v_ld + (job.row0 - job.begin) * layout.tiles_x
        right, product = Matrix(v, at, plan.v_ld), Matrix(q, f * layout.q_plane, plan.q_ld)
        multiply(left, right, product, (job.row1 - job.row0) * layout.tiles_x, inputs, c > 0)


@inner_kernel
def _transform_job_outputs(q, outputs, y, plan, job, lines):
    """The job's outputs in y from its M."""
    shape, layout, tile = plan.shape, _layout(plan), Tile(plan.m, plan.r)
    for k in range(job.first * 16, min(job.last * 16, shape.k_out)):
        for row in range(job.row0, job.row1):
            image, line = divmod(job.band + row, layout.tiles_y)
            plane = Plane(y, (image * shape.k_out + k) * shape.out_h * shape.out_w, shape.out_h, shape.out_w)
            spectrum = Matrix(q, (k - job.first * 16) * plan.q_ld + (row - job.row0) * layout.tiles_x, layout.q_plane)
            transform_outputs(spectrum, outputs, k, layout.tiles_x, plane, line * len(tile.m), lines, tile)
            at = plane.start + line * len(tile.m) * plane.width
            pixels = min(len(tile.m), plane.height - line * len(tile.m)) * plane.width
            leak(y, at, pixels, outputs.slope[k])  # while the lines are in the cache
            if outputs.residual.size:
                add_residual(outputs, y, at, pixels, k)


@functools.lru_cache(4096)
def winograd_forward(
    shape: ConvShape, m: int, threads: int, out_step: int, in_step: int, rotated: bool = False
) -> Launch:
    """How F(m x m, r x r) of a convolution with group 1 is launched.  out_step, in_step, rotated: see Kernels."""
    freqs, c_in = (m + shape.kernel_y - 1) ** 2, shape.c_in
    tile_rows, tiles_x = shape.images * -(-shape.out_h // m), -(-shape.out_w // m)
    all_blocks = -(-shape.k_out // 16)
    u_floats, seldom = freqs * c_in * all_blocks * 16, freqs * c_in * tiles_x * tile_rows <= ONE_BAND
    small_u = u_floats <= (SMALL_U if seldom or c_in <= MANY_INPUTS else SMALL_U // 2)
    budget = SMALL_BAND_FLOATS if small_u else min(BAND_FLOATS, freqs * c_in * BAND_TILES)
    bands = max(1, min(tile_rows, round(freqs * c_in * tiles_x * tile_rows / budget)))
    band_rows = -(-tile_rows // bands)
    bands = -(-tile_rows // band_rows)
    columns, large = band_rows * tiles_x, freqs * c_in * band_rows * tiles_x >= LARGE_V
    most = NEAR_JOB_BLOCKS if columns <= NEAR_COLUMNS else MAX_JOB_BLOCKS
    blocks = min(all_blocks, max(MIN_JOB_BLOCKS, min(most, all_blocks // threads) if large else 0))
    if small_u:
        parts = max(1, min(threads, MAX_BANDS, band_rows * tiles_x * m * m // MIN_BAND_PIXELS))
        part_rows = -(-band_rows // parts)
        job_rows = max(1, min(part_rows, JOB_FLOATS // (freqs * 16 * blocks * tiles_x)))
        shared_u = job_rows < part_rows or bands > 1
    else:
        parts, part_rows, job_rows, shared_u = 1, band_rows, band_rows, False
    v_ld, q_ld = padded(part_rows * tiles_x), padded(job_rows * tiles_x)
    fits = small_u or columns > NEAR_COLUMNS or freqs * c_in * 16 * MIN_JOB_BLOCKS <= NEAR_U
    near = c_in if fits else min(c_in, NEAR_INPUTS)  # whatever the number of threads: sums depend on it
    steps = band_rows, parts, job_rows, blocks, v_ld, q_ld, shared_u, near
    plan = ForwardPlan(shape, (0,) * m, (0,) * shape.kernel_y, out_step, in_step, rotated, *steps)
    u, v = freqs * (near * 16 * (all_blocks if shared_u else blocks) + SKEW), freqs * (c_in * v_ld + SKEW)
    q = freqs * (16 * blocks * q_ld + SKEW)
    scratch = LINES + q + (0 if shared_u else u) + (v if parts > 1 else 0)
    workspaces = u if shared_u else 0, v if parts == 1 else 0
    return Launch(Packed(plan), 1 + 2 * bands, workspaces, scratch)


def run_winograd_forward(be, launch: Launch, x, w, outputs: Outputs, y) -> None:
    """y (N, K, OH, OW) = relu(scale * the convolution of x (N, C, H, W) with the kernels in w + bias)."""
    launch.run(be, _forward, x.reshape(-1), w.reshape(-1), outputs, y.reshape(-1))
