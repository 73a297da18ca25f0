"""Convolution with stride 1 by tile transforms: products per frequency instead of per tap.

    U[f] = G w G^T        (outputs, inputs)        V[f] = B^T x B  (inputs, tiles)
    M[f] = U[f] V[f]      (outputs, tiles)         y = A^T M A

The image is worked through in bands of tile rows so that V and M stay in the cache.  Per band three phases: inputs are
spread into V channel by channel; the (m + r - 1)^2 products are cut into jobs; outputs are gathered from M channel
by channel.  `forward` serves backward-data too, with rotated kernels; where the kernel is large (7x7) the adjoint
is cheaper: dM = A dy A^T, dV = U^T dM, dx = the overlapping sum of B dV B^T.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.winograd_transforms import input_tile, output_tile, weight_tile
from demitasse.layers.backend.cpu.gemm_microkernel import fill, multiply, padded
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy, copy_window, transpose_tile
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import LEAST_PIXELS, MOST_PARTS, part_of, wait, work

LINES = 8192  # floats of scratch per thread
SKEW = 16  # between frequencies: matrices a power of two apart would all share a few cache sets


@kernel
def read_kernels(w, start, step, rows, taps, out):
    """out (taps, 16) = the kernels at w[start], w[start + step], ... of `rows` <= 16 channels; 0 for the others."""
    whole = 0
    if rows == 16:
        while whole < taps and start + 15 * step + whole + 16 <= w.size:
            transpose_tile(w, start + whole, step, out, whole * 16, 16)
            whole += 16
    for t in range(whole, taps):
        for i in range(16):
            out[t * 16 + i] = w[start + i * step + t] if i < rows else 0


@kernel
def transform_kernels(w, k_step, c_step, first, last, inputs, flip, u, iu, plane, scratch, m, r):
    """U of the outputs first ... last - 1 (16 at most), packed (inputs, 16) at u[iu] for each frequency, `plane` apart.

    w holds the kernel of output k and input c at k * k_step + c * c_step; flip turns it round.
    """
    taps = len(r) * len(r)
    for c in range(inputs):
        read_kernels(w, first * k_step + c * c_step, k_step, min(16, last - first), taps, scratch)
        if flip:
            weight_tile(scratch, (taps - 1) * 16, -16, u, iu + c * 16, plane, m, r)
        else:
            weight_tile(scratch, 0, 16, u, iu + c * 16, plane, m, r)


@kernel
def read_patch(x, plane, row0, column0, rows, columns, height, width, lines):
    """lines (rows, columns) = the patch of the image plane at x[plane] that begins at (row0, column0), 0 outside.

    Writes up to 15 pixels more.
    """
    for i in range(rows):
        row, line = row0 + i, i * columns
        if row < 0 or row >= height:
            fill(lines, line, columns, np.float32(0))
        else:
            start = plane + row * width + column0
            for j in range(0, columns, 16):
                copy_window(x, start + j, -column0 - j, width - column0 - j, lines, line + j)


@kernel
def spread_inputs(x, plane, height, width, row0, column0, tiles_x, v, iv, v_plane, lines, m, r):
    """A row of tiles of the image plane at x[plane], the first at (row0, column0), to v[iv :]; up to 15 tiles more."""
    tile, a = len(m), len(m) + len(r) - 1
    reach = 16 * tile + (a - 1) // tile * tile  # columns that input_tile reads
    inside = row0 >= 0 and row0 + a <= height
    for t in range(0, tiles_x, 16):
        column = column0 + t * tile
        if inside and column >= 0 and column + reach <= width:
            input_tile(x, plane + row0 * width + column, width, v, iv + t, v_plane, m, r)
        else:
            read_patch(x, plane, row0, column, a, reach, height, width, lines)
            input_tile(lines, 0, reach, v, iv + t, v_plane, m, r)


@kernel
def gather_outputs(q, iq, q_plane, bias, slope, tiles_x, y, plane, row0, height, width, lines, m, r):
    """A row of tiles from q[iq :] to the image plane at y[plane], from line row0."""
    tile = len(m)
    rows = min(tile, height - row0)
    for t in range(0, tiles_x, 16):
        column, place = t * tile, plane + row0 * width + t * tile
        if rows == tile and column + 16 * tile <= width:
            output_tile(q, iq + t, q_plane, y, place, width, bias, slope, m, r)
        else:
            output_tile(q, iq + t, q_plane, lines, 0, 16 * tile, bias, slope, m, r)
            for i in range(rows):
                copy(lines, i * 16 * tile, y, place + i * width, min(16 * tile, width - column))


@kernel
def forward(state, scratch, x, w, bias, slope, y, sizes, steps, u, v, m, r):
    """y (N, K, OH, OW) = relu(convolution of x (N, C, H, W) + bias); images and w flat.

    sizes: N, C, H, W, K, OH, OW, pad above, pad left, distance in w of outputs, of inputs, whether kernels are
    turned round; steps: see `Steps`.  scratch: lines, M and, unless it is shared, U of one job; then V of the part with
    the thread's number.  u: U of everything, where it is shared; v: V of a band that has one part only.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, pad_y, pad_x, k_step, c_step, flip = sizes
    band_rows, parts, job_rows, job_blocks, v_ld, q_ld, share_u = steps
    me = enter(state)
    tile, a = len(m), len(m) + len(r) - 1
    tiles_y, tiles_x = (out_h + tile - 1) // tile, (out_w + tile - 1) // tile
    blocks = (k_out + 15) // 16
    u_plane = (blocks if share_u else job_blocks) * c_in * 16 + SKEW
    v_plane, q_plane = c_in * v_ld + SKEW, job_blocks * 16 * q_ld + SKEW
    u_start = LINES + a * a * q_plane
    v_start = u_start if share_u else u_start + a * a * u_plane
    lines, q = scratch[me][:LINES], scratch[me][LINES:u_start]
    my_u = u if share_u else scratch[me][u_start:]
    phase = 0
    for block in work(state, me, phase, blocks if share_u else 0, True):  # kernels
        place = block * c_in * 16
        transform_kernels(w, k_step, c_step, block * 16, k_out, c_in, flip, my_u, place, u_plane, lines, m, r)
    for image in range(n_images):
        for band in range(0, tiles_y, band_rows):
            rows = min(band_rows, tiles_y - band)
            phase += 1
            for job in work(state, me, phase, c_in * parts):  # inputs
                c, part = job % c_in, job // c_in
                part_v = scratch[part][v_start:] if parts > 1 else v
                begin, end = part_of(rows, part, parts)
                for row in range(begin, end):
                    plane, row0, place = (image * c_in + c) * height * width, (band + row) * tile - pad_y, row - begin
                    place = c * v_ld + place * tiles_x
                    spread_inputs(x, plane, height, width, row0, -pad_x, tiles_x, part_v, place, v_plane, lines, m, r)
            if phase == 1 and share_u:
                wait(state, 0, blocks)
            phase += 1
            block_jobs = (blocks + job_blocks - 1) // job_blocks
            row_jobs = ((rows + parts - 1) // parts + job_rows - 1) // job_rows
            for job in work(state, me, phase, parts * row_jobs * block_jobs):  # products and outputs
                first, group, part = job % block_jobs * job_blocks, job // block_jobs, job // block_jobs // row_jobs
                begin, end = part_of(rows, part, parts)
                row0, last = begin + group % row_jobs * job_rows, min(first + job_blocks, blocks)
                row1, start = min(row0 + job_rows, end), first * c_in * 16 if share_u else 0
                if row0 >= row1:  # this part of the band has a row less
                    continue
                for block in range(first, first if share_u else last):
                    place = (block - first) * c_in * 16
                    transform_kernels(
                        w, k_step, c_step, block * 16, k_out, c_in, flip, my_u, place, u_plane, lines, m, r
                    )
                part_v = scratch[part][v_start:] if parts > 1 else v
                for f in range(a * a):
                    multiply(
                        my_u,
                        f * u_plane + start,
                        c_in * 16,
                        last - first,
                        part_v,
                        f * v_plane + (row0 - begin) * tiles_x,
                        v_ld,
                        (row1 - row0) * tiles_x,
                        q,
                        f * q_plane,
                        q_ld,
                        c_in,
                        0,
                    )
                for k in range(first * 16, min(last * 16, k_out)):
                    plane = (image * k_out + k) * out_h * out_w
                    for row in range(row0, row1):
                        place = (k - first * 16) * q_ld + (row - row0) * tiles_x
                        gather_outputs(
                            q,
                            place,
                            q_plane,
                            bias[k],
                            slope,
                            tiles_x,
                            y,
                            plane,
                            (band + row) * tile,
                            out_h,
                            out_w,
                            lines,
                            m,
                            r,
                        )


class Steps:
    """How a convolution is cut up.

    An image is worked through in bands of tile rows, such that V of one stays in the cache.  Where kernels are few and
    a band is large it has a part for each thread: pixels stay with a thread from layer to layer.  Otherwise each
    thread works on outputs of its own.  U of a job is made in the job, unless others would make it once more.
    steps: for the kernel; u, v: floats of the shared arrays; scratch: floats per thread.
    """

    def __init__(self, images, c_in, k_out, out, m, r, threads, band=3 << 20, job=1 << 18, blocks=2, few=2 << 20):
        freqs = (m + r - 1) ** 2
        tiles_y, tiles_x = -(-out[0] // m), -(-out[1] // m)
        all_blocks = -(-k_out // 16)
        bands = max(1, min(tiles_y, round(freqs * c_in * tiles_x * tiles_y / band)))
        band_rows = -(-tiles_y // bands)
        self.bands = -(-tiles_y // band_rows)
        blocks = min(blocks, all_blocks)
        if freqs * c_in * all_blocks * 16 <= few:
            parts = max(1, min(threads, MOST_PARTS, band_rows * tiles_x * m * m // LEAST_PIXELS))
            part_rows = -(-band_rows // parts)
            job_rows = max(1, min(part_rows, job // (freqs * 16 * blocks * tiles_x)))
            share_u = job_rows < part_rows or self.bands * images > 1
        else:
            parts, part_rows, job_rows, share_u = 1, band_rows, band_rows, False
        v_ld, q_ld = padded(part_rows * tiles_x), padded(job_rows * tiles_x)
        self.steps = band_rows, parts, job_rows, blocks, v_ld, q_ld, int(share_u)
        v, u, q = c_in * v_ld + SKEW, c_in * 16 * (all_blocks if share_u else blocks) + SKEW, 16 * blocks * q_ld + SKEW
        self.u, self.v = freqs * u * share_u, freqs * v * (parts == 1)
        self.scratch = LINES + freqs * (q + u * (not share_u) + v * (parts > 1))
