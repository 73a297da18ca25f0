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

from layers.backend.cpu_compile import kernel
from layers.backend.cpu_product import fill, multiply, padded
from layers.backend.cpu_threads import enter, finish, take, wait
from layers.backend.cpu_tiles import input_tile, output_tile, weight_tile
from layers.backend.cpu_vector import copy, copy_window, transpose_tile

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
    """A row of tiles of the image plane at x[plane], the first at (row0, column0), to v[iv :]."""
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
def forward(state, x, w, bias, slope, y, sizes, steps, u, v, q, lines, m, r):
    """y (N, K, OH, OW) = relu(convolution of x (N, C, H, W) + bias); images and w flat.

    sizes: N, C, H, W, K, OH, OW, pad above, pad left, distance in w of outputs, of inputs, whether kernels are
    turned round; steps: see `Steps`.  u: U of everything, or of one job per thread; v: V of one band; q: M of one
    job per thread; lines: scratch per thread.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, pad_y, pad_x, k_step, c_step, flip = sizes
    band_rows, job_rows, job_blocks, v_ld, q_ld, keep_u = steps
    me = enter(state)
    my_lines, my_q = lines[me], q[me]
    tile, a = len(m), len(m) + len(r) - 1
    tiles_y, tiles_x = (out_h + tile - 1) // tile, (out_w + tile - 1) // tile
    blocks = (k_out + 15) // 16
    u_plane = (blocks if keep_u else job_blocks) * c_in * 16 + SKEW
    v_plane, q_plane = c_in * v_ld + SKEW, job_blocks * 16 * q_ld + SKEW
    my_u = u[0] if keep_u else u[me]
    phase = 0
    while keep_u:  # kernels
        block = take(state, phase)
        if block >= blocks:
            break
        transform_kernels(
            w, k_step, c_step, block * 16, k_out, c_in, flip, my_u, block * c_in * 16, u_plane, my_lines, m, r
        )
        finish(state, phase)
    for image in range(n_images):
        for band in range(0, tiles_y, band_rows):
            band_end = min(band + band_rows, tiles_y)
            phase += 1
            while True:  # inputs
                c = take(state, phase)
                if c >= c_in:
                    break
                for row in range(band, band_end):
                    spread_inputs(
                        x,
                        (image * c_in + c) * height * width,
                        height,
                        width,
                        row * tile - pad_y,
                        -pad_x,
                        tiles_x,
                        v,
                        c * v_ld + (row - band) * tiles_x,
                        v_plane,
                        my_lines,
                        m,
                        r,
                    )
                finish(state, phase)
            if phase == 1 and keep_u:
                wait(state, 0, blocks)
            wait(state, phase, c_in)
            phase += 1
            parts = (blocks + job_blocks - 1) // job_blocks
            jobs = parts * ((band_end - band + job_rows - 1) // job_rows)
            while True:  # products and outputs
                job = take(state, phase)
                if job >= jobs:
                    break
                first, row0 = job % parts * job_blocks, band + job // parts * job_rows
                last, row1 = min(first + job_blocks, blocks), min(row0 + job_rows, band_end)
                if not keep_u:
                    for block in range(first, last):
                        transform_kernels(
                            w,
                            k_step,
                            c_step,
                            block * 16,
                            k_out,
                            c_in,
                            flip,
                            my_u,
                            (block - first) * c_in * 16,
                            u_plane,
                            my_lines,
                            m,
                            r,
                        )
                for f in range(a * a):
                    multiply(
                        my_u,
                        f * u_plane + (first * c_in * 16 if keep_u else 0),
                        c_in * 16,
                        last - first,
                        v,
                        f * v_plane + (row0 - band) * tiles_x,
                        v_ld,
                        (row1 - row0) * tiles_x,
                        my_q,
                        f * q_plane,
                        q_ld,
                        c_in,
                        0,
                    )
                for k in range(first * 16, min(last * 16, k_out)):
                    for row in range(row0, row1):
                        gather_outputs(
                            my_q,
                            (k - first * 16) * q_ld + (row - row0) * tiles_x,
                            q_plane,
                            bias[k],
                            slope,
                            tiles_x,
                            y,
                            (image * k_out + k) * out_h * out_w,
                            row * tile,
                            out_h,
                            out_w,
                            my_lines,
                            m,
                            r,
                        )
                finish(state, phase)
            wait(state, phase, jobs)


class Steps:
    """How a convolution is cut up, V of a band and M of a job being meant to stay in the cache, and the shapes of u, v,
    q and lines (None: the number of threads)."""

    def __init__(self, c_in, k_out, out, m, r, band=3 << 20, job=1 << 18, blocks=2, keep=2 << 20):
        freqs = (m + r - 1) ** 2
        tiles_y, tiles_x = -(-out[0] // m), -(-out[1] // m)
        all_blocks = -(-k_out // 16)
        bands = max(1, min(tiles_y, round(freqs * c_in * tiles_x * tiles_y / band)))
        self.band_rows = -(-tiles_y // bands)
        self.bands = -(-tiles_y // self.band_rows)
        self.blocks = min(blocks, all_blocks)
        self.keep = freqs * c_in * all_blocks * 16 <= keep
        self.job_rows = self.band_rows
        if self.keep:
            self.job_rows = max(1, min(self.band_rows, job // (freqs * 16 * self.blocks * tiles_x)))
        self.v_ld, self.q_ld = padded(self.band_rows * tiles_x), padded(self.job_rows * tiles_x)
        self.steps = self.band_rows, self.job_rows, self.blocks, self.v_ld, self.q_ld, int(self.keep)
        self.shapes = (
            (1 if self.keep else None, freqs * (c_in * 16 * (all_blocks if self.keep else self.blocks) + SKEW)),
            (freqs * (c_in * self.v_ld + SKEW),),
            (None, freqs * (16 * self.blocks * self.q_ld + SKEW)),
            (None, LINES),
        )
