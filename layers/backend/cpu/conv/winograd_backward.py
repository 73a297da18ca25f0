"""Gradients by tile transforms: of the kernels, and of the input where the kernel is large.

    dU[f] = dM[f] V[f]^T, with dM[f] = A dy A^T and V[f] = B^T x B;     dw = G^T dU G
    dV[f] = U[f]^T dM[f];     dx = the overlapping sum of B dV B^T, tile by tile       (the adjoint of `forward`)

(With 3x3 kernels dx is rather a convolution of dy with rotated kernels: cpu_winograd.forward.)  Sums over tiles run
band after band, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.winograd_forward import LINES, SKEW, read_patch, spread_inputs, transform_kernels
from demitasse.layers.backend.cpu.conv.winograd_transforms import gradient_tile, scatter_tile, weight_gradient_tile
from demitasse.layers.backend.cpu.gemm_microkernel import fill, multiply, padded, transpose
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work


@kernel
def spread_gradients(dy, plane, height, width, row0, tiles_x, v, iv, v_plane, lines, m, r):
    """A row of tiles of dy, from line row0, to v[iv :]."""
    tile = len(m)
    for t in range(0, tiles_x, 16):
        column = t * tile
        if row0 + tile <= height and column + 16 * tile <= width:
            gradient_tile(dy, plane + row0 * width + column, width, v, iv + t, v_plane, m, r)
        else:
            read_patch(dy, plane, row0, column, tile, 16 * tile, height, width, lines)
            gradient_tile(lines, 0, 16 * tile, v, iv + t, v_plane, m, r)


@kernel
def backward_weights(state, scratch, x, dy, dw, sizes, steps, u, d, v, m, r):
    """Adds to dw (K, C, taps) its gradient.

    sizes: N, C, H, W, K, OH, OW, pad above, pad left; steps: see `WeightSteps`.  d: dM of a band, (blocks of 16
    outputs, tiles, 16) per frequency; v: V of a band, (tiles, inputs); u: dU of everything; scratch: lines, 16 channels
    before they are turned round, and dU of one job where there is one band only.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, pad_y, pad_x = sizes
    band_rows, job_blocks, ld, one_band = steps
    me = enter(state)
    tile, a = len(m), len(m) + len(r) - 1
    taps = len(r) * len(r)
    tiles_y, tiles_x = (out_h + tile - 1) // tile, (out_w + tile - 1) // tile
    k_blocks, c_blocks = (k_out + 15) // 16, (c_in + 15) // 16
    c_ld = c_blocks * 16 + SKEW
    d_plane, v_plane, part_plane = k_blocks * ld * 16 + SKEW, ld * c_ld + SKEW, 16 * ld + SKEW
    my_lines, my_part = scratch[me][:LINES], scratch[me][LINES:]
    my_u = scratch[me][LINES + a * a * part_plane :] if one_band else u
    u_plane = (job_blocks if one_band else k_blocks) * 16 * c_ld + SKEW
    parts = (k_blocks + job_blocks - 1) // job_blocks
    phase = -1
    for image in range(n_images):
        for band in range(0, tiles_y, band_rows):
            band_end = min(band + band_rows, tiles_y)
            tiles = (band_end - band) * tiles_x
            phase += 1
            for job in work(state, me, phase, k_blocks + c_blocks):  # transforms, 16 channels at a time
                of_x = job < c_blocks
                first = (job if of_x else job - c_blocks) * 16
                channels = min(16, (c_in if of_x else k_out) - first)
                for i in range(channels):
                    for row in range(band, band_end):
                        place = i * ld + (row - band) * tiles_x
                        if of_x:
                            spread_inputs(
                                x,
                                (image * c_in + first + i) * height * width,
                                height,
                                width,
                                row * tile - pad_y,
                                -pad_x,
                                tiles_x,
                                my_part,
                                place,
                                part_plane,
                                my_lines,
                                m,
                                r,
                            )
                        else:
                            spread_gradients(
                                dy,
                                (image * k_out + first + i) * out_h * out_w,
                                out_h,
                                out_w,
                                row * tile,
                                tiles_x,
                                my_part,
                                place,
                                part_plane,
                                my_lines,
                                m,
                                r,
                            )
                for f in range(a * a):
                    if of_x:
                        transpose(my_part, f * part_plane, ld, channels, tiles, v, f * v_plane + first, c_ld, 16)
                    else:
                        transpose(my_part, f * part_plane, ld, channels, tiles, d, f * d_plane + first * ld, 16, 16)
            phase += 1
            jobs = parts if one_band else parts * a * a
            for job in work(state, me, phase, jobs):  # products
                if one_band:
                    first = job * job_blocks
                    last = min(first + job_blocks, k_blocks)
                    for f in range(a * a):
                        multiply(
                            d,
                            f * d_plane + first * ld * 16,
                            ld * 16,
                            last - first,
                            v,
                            f * v_plane,
                            c_ld,
                            c_in,
                            my_u,
                            f * u_plane,
                            c_ld,
                            tiles,
                            0,
                        )
                    for k in range(first * 16, min(last * 16, k_out)):
                        add_kernels(my_u, (k - first * 16) * c_ld, u_plane, c_in, dw, k * c_in * taps, my_lines, m, r)
                else:
                    f, first = job // parts, job % parts * job_blocks
                    multiply(
                        d,
                        f * d_plane + first * ld * 16,
                        ld * 16,
                        min(job_blocks, k_blocks - first),
                        v,
                        f * v_plane,
                        c_ld,
                        c_in,
                        my_u,
                        f * u_plane + first * 16 * c_ld,
                        c_ld,
                        tiles,
                        0 if phase == 1 else 1,
                    )
    if not one_band:
        phase += 1
        for k in work(state, me, phase, k_out):
            add_kernels(my_u, k * c_ld, u_plane, c_in, dw, k * c_in * taps, my_lines, m, r)


@kernel
def add_kernels(u, iu, u_plane, c_in, dw, place, scratch, m, r):
    """dw[place :] += G^T dU G for all inputs of one output."""
    taps = len(r) * len(r)
    for c in range(0, c_in, 16):
        weight_gradient_tile(u, iu + c, u_plane, scratch, 0, 16, m, r)
        for i in range(min(16, c_in - c)):
            for t in range(taps):
                dw[place + (c + i) * taps + t] += scratch[t * 16 + i]


@kernel
def backward_data(state, scratch, dy, w, dx, sizes, steps, v, q, m, r):
    """dx (N, C, H, W) of dy (N, K, OH, OW) by the adjoint of the tile transform.

    A band is some outputs (k_part) of some tile rows: v holds its dM, q the dV of all inputs summed over outputs.
    scratch: lines, and U of one job.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, pad_y, pad_x = sizes
    band_rows, k_part, job_blocks, ld = steps
    me = enter(state)
    my_lines, my_u = scratch[me][:LINES], scratch[me][LINES:]
    tile, a = len(m), len(m) + len(r) - 1
    taps = len(r) * len(r)
    tiles_y, tiles_x = (out_h + tile - 1) // tile, (out_w + tile - 1) // tile
    blocks = (c_in + 15) // 16
    u_plane, v_plane, q_plane = job_blocks * k_part * 16 + SKEW, k_part * ld + SKEW, blocks * 16 * ld + SKEW
    reach = 16 * tile + (a - 1) // tile * tile
    phase = -1
    for image in range(n_images):
        for band in range(0, tiles_y, band_rows):
            band_end = min(band + band_rows, tiles_y)
            tiles = (band_end - band) * tiles_x
            for k0 in range(0, k_out, k_part):
                count = min(k_part, k_out - k0)
                phase += 1
                for k in work(state, me, phase, count):
                    for row in range(band, band_end):
                        spread_gradients(
                            dy,
                            (image * k_out + k0 + k) * out_h * out_w,
                            out_h,
                            out_w,
                            row * tile,
                            tiles_x,
                            v,
                            k * ld + (row - band) * tiles_x,
                            v_plane,
                            my_lines,
                            m,
                            r,
                        )
                phase += 1
                jobs = (blocks + job_blocks - 1) // job_blocks
                for job in work(state, me, phase, jobs):
                    first, last = job * job_blocks, min((job + 1) * job_blocks, blocks)
                    for block in range(first, last):
                        transform_kernels(
                            w[k0 * c_in * taps :],
                            taps,
                            c_in * taps,
                            block * 16,
                            c_in,
                            count,
                            0,
                            my_u,
                            (block - first) * k_part * 16,
                            u_plane,
                            my_lines,
                            m,
                            r,
                        )
                    for f in range(a * a):
                        multiply(
                            my_u,
                            f * u_plane,
                            k_part * 16,
                            last - first,
                            v,
                            f * v_plane,
                            ld,
                            tiles,
                            q,
                            f * q_plane + first * 16 * ld,
                            ld,
                            count,
                            0 if k0 == 0 else 1,
                        )
            phase += 1
            for c in work(state, me, phase, c_in):
                plane = (image * c_in + c) * height * width
                if band == 0:
                    fill(dx, plane, height * width, np.float32(0))
                for row in range(band, band_end):
                    for t in range(0, tiles_x, 16):
                        fill(my_lines, 0, a * reach, np.float32(0))
                        scatter_tile(
                            q,
                            c * ld + (row - band) * tiles_x + t,
                            q_plane,
                            my_lines,
                            0,
                            reach,
                            min(16, tiles_x - t),
                            m,
                            r,
                        )
                        row0, column0 = row * tile - pad_y, t * tile - pad_x
                        wide = (min(16, tiles_x - t) - 1) * tile + a
                        low, high = max(0, -column0), min(wide, width - column0)
                        for i in range(max(0, -row0), min(a, height - row0)):
                            start = plane + (row0 + i) * width + column0
                            for j in range(low, high):
                                dx[start + j] += my_lines[i * reach + j]


def _band_rows(tiles_y, floats_per_row, budget):
    bands = max(1, min(tiles_y, round(tiles_y * floats_per_row / budget)))
    return -(-tiles_y // bands)


class WeightSteps:
    """How backward_weights is cut up: phases, steps, floats of u, d and v, and of scratch."""

    def __init__(self, n, c_in, k_out, out, m, r, budget=3 << 20):
        freqs = (m + r - 1) ** 2
        tiles_y, tiles_x = -(-out[0] // m), -(-out[1] // m)
        k_blocks, c_blocks = -(-k_out // 16), -(-c_in // 16)
        c_ld = c_blocks * 16 + SKEW
        rows = _band_rows(tiles_y, freqs * (c_in + k_out) * tiles_x, budget if tiles_y * tiles_x > 256 else 1 << 30)
        bands = -(-tiles_y // rows)
        ld = padded(rows * tiles_x)
        one = n * bands == 1
        job = 1 if one else min(k_blocks, 4)
        self.phases = 2 * n * bands + 1
        self.steps = rows, job, ld, int(one)
        u = freqs * ((job if one else k_blocks) * 16 * c_ld + SKEW)
        self.shapes = 0 if one else u, freqs * (k_blocks * ld * 16 + SKEW), freqs * (ld * c_ld + SKEW)
        self.scratch = LINES + freqs * (16 * ld + SKEW) + one * u


class DataSteps:
    """How backward_data is cut up: phases, steps, floats of v and q, and of scratch."""

    def __init__(self, n, c_in, k_out, out, m, r, budget=3 << 20):
        freqs = (m + r - 1) ** 2
        tiles_y, tiles_x = -(-out[0] // m), -(-out[1] // m)
        blocks = -(-c_in // 16)
        rows = _band_rows(tiles_y, freqs * c_in * tiles_x, budget)
        bands = -(-tiles_y // rows)
        ld = padded(rows * tiles_x)
        part = max(16, min(k_out, budget // (freqs * ld)))
        job = min(2, blocks)
        self.phases = n * bands * (2 * -(-k_out // part) + 1)
        self.steps = rows, part, job, ld
        self.shapes = freqs * (part * ld + SKEW), freqs * (blocks * 16 * ld + SKEW)
        self.scratch = LINES + freqs * (job * part * 16 + SKEW)
