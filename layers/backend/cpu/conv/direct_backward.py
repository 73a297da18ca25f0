"""Gradients of a convolution as matrix products, band by band; `sizes` and `Direct` are cpu_direct's."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import add_line, gather, scatter, store_outputs
from demitasse.layers.backend.cpu.gemm_microkernel import fill, multiply_deep, transpose
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import add_scaled, copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work


@kernel
def backward_data(state, scratch, dy, w, bias, slope, dx, sizes, steps, v):
    """dx = the adjoint of the convolution, of dy; then relu(dx + bias).

    A job owns some channels: their rows of w^T dy are added up in their planes of dx.  v: dy of a band; scratch: packed
    w and columns of one job.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, job_channels, v_ld = steps
    me = enter(state)
    taps, c_group, k_group = sizes[8] * sizes[9], c_in // group, k_out // group
    depth = c_group * taps
    u_floats = (job_channels * taps + 15) // 16 * 16 * k_group
    my_u, my_q = scratch[me][:u_floats], scratch[me][u_floats:]
    jobs = (c_group + job_channels - 1) // job_channels
    phase = -1
    for part in range(n_images * group):
        image, g = part // group, part % group
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            pixels = (row1 - row0) * out_w
            phase += 1
            for k in work(state, me, phase, k_group):
                copy(dy, ((image * k_out + g * k_group + k) * out_h + row0) * out_w, v, k * v_ld, pixels)
            phase += 1
            for job in work(state, me, phase, jobs):
                first, last = job * job_channels, min((job + 1) * job_channels, c_group)
                rows = (last - first) * taps
                blocks = (rows + 15) // 16
                for block in range(blocks):
                    wide = min(16, rows - block * 16)
                    start = g * k_group * depth + first * taps + block * 16
                    for k in range(k_group):
                        place = (block * k_group + k) * 16
                        for i in range(wide):
                            my_u[place + i] = w[start + k * depth + i]
                        for i in range(wide, 16):
                            my_u[place + i] = 0
                multiply_deep(my_u, 0, k_group * 16, blocks, v, 0, v_ld, pixels, my_q, 0, v_ld, k_group, 0)
                for c in range(first, last):
                    plane = (image * c_in + g * c_group + c) * height * width
                    if row0 == 0:
                        fill(dx, plane, height * width, np.float32(0))
                    for tap in range(taps):
                        scatter(
                            my_q,
                            ((c - first) * taps + tap) * v_ld,
                            sizes,
                            tap // sizes[9],
                            tap % sizes[9],
                            row0,
                            row1,
                            dx,
                            plane,
                        )
                    if row1 == out_h and (slope != 1 or bias[g * c_group + c] != 0):
                        store_outputs(dx, plane, height * width, dx, plane, bias[g * c_group + c], slope)


@kernel
def backward_data_diagonal(state, dy, w, bias, slope, dx, sizes):
    """backward_data where only w[i, i] is nonzero: each channel alone, line by line of dx."""
    me = enter(state)
    n_images, channels, height, width, _, out_h, out_w = sizes[:7]
    taps_y, taps_x, stride_y, stride_x, pad_y, pad_x = sizes[8:14]
    wide = (taps_x + 15) // 16 * 16
    kernel_lines = np.zeros(taps_y * wide, np.float32)  # of lines of whole vectors, as `line` is
    line = np.empty(max((out_w - 1) * stride_x + wide, pad_x + width), np.float32)
    for job in work(state, me, 0, n_images * channels):
        c, plane = job % channels, job * height * width
        for tap in range(taps_y):
            copy(w, ((c * channels + c) * taps_y + tap) * taps_x, kernel_lines, tap * wide, taps_x)
        for y in range(height):
            fill(line, 0, line.size, np.float32(0))
            for row in range(max(0, (y + pad_y - taps_y) // stride_y + 1), min(out_h, (y + pad_y) // stride_y + 1)):
                tap = y + pad_y - row * stride_y
                for column in range(out_w):
                    value = dy[(job * out_h + row) * out_w + column]
                    for i in range(0, wide, 16):
                        add_scaled(value, kernel_lines, tap * wide + i, line, column * stride_x + i)
            copy(line, pad_x, dx, plane + y * width, width)
        if slope != 1 or bias[c] != 0:
            store_outputs(dx, plane, height * width, dx, plane, bias[c], slope)


@kernel
def backward_weights(state, scratch, x, dy, dw, sizes, steps, u, v):
    """Adds to dw the gradient of the convolution.  Bands follow each other, so the sum's order is fixed.

    u: dy of a band, (blocks of 16 outputs, pixels, 16); v: its columns, (pixels, taps); scratch: columns of 16 taps at
    a time, then a piece of dw.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, job_blocks, job_columns, v_ld, q_ld, line_ld = steps
    me = enter(state)
    taps, c_group, k_group = sizes[8] * sizes[9], c_in // group, k_out // group
    depth, blocks = c_group * taps, (k_group + 15) // 16
    my_lines, my_q = scratch[me][: 16 * line_ld], scratch[me][16 * line_ld :]
    phase = -1
    for part in range(n_images * group):
        image, g = part // group, part % group
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            pixels = (row1 - row0) * out_w
            phase += 1
            strips = (depth + 15) // 16
            for job in work(state, me, phase, blocks + strips):
                if job < blocks:
                    first = job * 16
                    transpose(
                        dy,
                        ((image * k_out + g * k_group + first) * out_h + row0) * out_w,
                        out_h * out_w,
                        min(16, k_group - first),
                        pixels,
                        u,
                        job * band_rows * out_w * 16,
                        16,
                        16,
                    )
                else:
                    first = (job - blocks) * 16
                    rows = min(16, depth - first)
                    for i in range(rows):
                        c, tap = (first + i) // taps, (first + i) % taps
                        gather(
                            x,
                            (image * c_in + g * c_group + c) * height * width,
                            sizes,
                            tap // sizes[9],
                            tap % sizes[9],
                            row0,
                            row1,
                            my_lines,
                            i * line_ld,
                        )
                    transpose(my_lines, 0, line_ld, rows, pixels, v, first, v_ld, 16)
            phase += 1
            parts = (blocks + job_blocks - 1) // job_blocks
            jobs = parts * ((depth + job_columns - 1) // job_columns)
            for job in work(state, me, phase, jobs):
                first, column = job % parts * job_blocks, job // parts * job_columns
                last, n = min(first + job_blocks, blocks), min(job_columns, depth - column)
                multiply_deep(
                    u,
                    first * band_rows * out_w * 16,
                    band_rows * out_w * 16,
                    last - first,
                    v,
                    column,
                    v_ld,
                    n,
                    my_q,
                    0,
                    q_ld,
                    pixels,
                    0,
                )
                for k in range(first * 16, min(last * 16, k_group)):
                    place = (g * k_group + k) * depth + column
                    add_line(my_q, (k - first * 16) * q_ld, dw, place, n)
