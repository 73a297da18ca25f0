"""Gradients of a convolution as matrix products, band by band: by im2col and its adjoint."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import add_im2col_row, add_line, im2col_row, store_outputs
from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.gemm_microkernel import NEAR_FLOATS, fill, multiply_deep, padded, transpose
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, Outputs, PackedRows
from demitasse.layers.backend.cpu.simd_ops import add_scaled, copy, copy_block
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BLOCK = (0,) * 16
PIXELS = 512  # of several images together: as many as it takes to make the weights, once for each band, worth reading

# -- of the input ------------------------------------------------------------------------------------------------------


class DataPlan(NamedTuple):
    """A job is some channels of a group, for a band of output rows; of small images a band holds several, whole."""

    shape: ConvShape
    images: int  # of a band
    band_rows: int
    job_channels: int
    ld: int  # of dy and of the columns of a band


@kernel
def _backward_data(state, scratch, dy, w, outputs, dx, plan, band):
    """dx = the transposed convolution of dy; then relu(dx * scale + bias): Outputs.

    A job owns its channels: their rows of w^T dy are added up in their planes of dx.  band: dy of a band (K/group,
    pixels); scratch: a strip of the band, packed w and columns of a job.
    """
    shape = plan.shape
    me = enter(state)
    c_group, k_group = shape.c_in // shape.group, shape.k_out // shape.group
    packed = (plan.job_channels * shape.kernel_y * shape.kernel_x + 15) // 16 * 16 * k_group
    near, mine = scratch[me][:NEAR_FLOATS], scratch[me][NEAR_FLOATS:]
    my_w, my_columns = mine[:packed], mine[packed:]
    jobs = (c_group + plan.job_channels - 1) // plan.job_channels
    superstep = -1
    for part in range((shape.images + plan.images - 1) // plan.images * shape.group):
        image, g = part // shape.group * plan.images, part % shape.group
        images = min(plan.images, shape.images - image)
        for row0 in range(0, shape.out_h, plan.band_rows):
            row1 = min(row0 + plan.band_rows, shape.out_h)
            pixels = (row1 - row0) * shape.out_w
            superstep += 1
            for job in work(state, me, superstep, images * k_group):
                i, k = job // k_group, job % k_group
                start = (((image + i) * shape.k_out + g * k_group + k) * shape.out_h + row0) * shape.out_w
                copy(dy, start, band, k * plan.ld + i * pixels, pixels)
            superstep += 1
            for job in work(state, me, superstep, jobs):
                first, last = job * plan.job_channels, min((job + 1) * plan.job_channels, c_group)
                left, columns = _pack_weights(w, g, first, last, shape, my_w), Matrix(my_columns, 0, plan.ld)
                multiply_deep(left, Matrix(band, 0, plan.ld), columns, images * pixels, k_group, False, near)
                for i in range(images):
                    for c in range(first, last):
                        row = (c - first) * shape.kernel_y * shape.kernel_x * plan.ld + i * pixels
                        _add_channel(my_columns, row, plan, image + i, g * c_group + c, row0, row1, outputs, dx)


@inner_kernel
def _pack_weights(w, g, first, last, shape, packed):
    """PackedRows (channels first ... last - 1 and taps, K/group) of a group's weights."""
    taps, k_group = shape.kernel_y * shape.kernel_x, shape.k_out // shape.group
    depth, rows = shape.c_in // shape.group * taps, (last - first) * taps
    blocks = (rows + 15) // 16
    for k in range(k_group):  # outside: what is next to each other in memory is read at once
        start = (g * k_group + k) * depth + first * taps
        for block in range(blocks):
            here, wide = (block * k_group + k) * 16, min(16, rows - block * 16)
            if wide == 16:
                copy_block(w, start + block * 16, packed, here, BLOCK)
                continue
            for i in range(16):
                packed[here + i] = w[start + block * 16 + i] if i < wide else np.float32(0)
    return PackedRows(packed, 0, k_group * 16, blocks)


@inner_kernel
def _add_channel(columns, row, plan, image, c, row0, row1, outputs, dx):
    """Adds the columns of one channel, its first tap's at columns[row :], to its plane of dx, which is cleared before
    the first band; the epilogue after the last one."""
    shape = plan.shape
    plane = (image * shape.c_in + c) * shape.height * shape.width
    if row0 == 0:
        fill(dx, plane, shape.height * shape.width, np.float32(0))
    for tap in range(shape.kernel_y * shape.kernel_x):
        add_im2col_row(columns, row + tap * plan.ld, shape, tap, row0, row1, dx, plane)
    if row1 == shape.out_h:
        _epilogue(outputs, c, dx, plane, shape.height * shape.width)


@inner_kernel
def _epilogue(outputs, c, x, ix, n):
    """x = relu(x * scale + bias) for n pixels of channel c at x[ix]."""
    if outputs.scale[c] != 1 or outputs.bias[c] != 0 or outputs.slope[c] != 1:
        store_outputs(x, ix, n, x, ix, outputs, c)


@functools.lru_cache(4096)
def _data_launch(shape: ConvShape) -> Launch:
    taps, c_group, k_group = shape.kernel_y * shape.kernel_x, shape.c_in // shape.group, shape.k_out // shape.group
    channels = max(1, min(c_group, 64 // taps))
    rows = -(-channels * taps // 16) * 16
    images, band_rows = _band(shape, max(rows * 4, k_group), 2 << 20)
    ld, bands = padded(images * band_rows * shape.out_w), -(-shape.images // images) * -(-shape.out_h // band_rows)
    plan = DataPlan(shape, images, band_rows, channels, ld)
    return Launch(Packed(plan), 2 * shape.group * bands, (k_group * ld,), rows * (k_group + ld) + NEAR_FLOATS)


def _band(shape, pixel_floats, budget):
    """(images, output rows) of a band of about `budget` floats at most."""
    rows = band_size(shape.out_h, shape.out_w * pixel_floats, budget)
    images = PIXELS // (rows * shape.out_w) if rows == shape.out_h else 1
    return max(1, min(shape.images, images)), rows


def direct_backward_data(be, shape: ConvShape, dy, w, outputs: Outputs, dx) -> None:
    """dx (N, C, H, W) = relu(scale * the transposed convolution of dy (N, K, OH, OW) + bias)."""
    arrays = dy.reshape(-1), w.reshape(-1), outputs, dx.reshape(-1)
    _data_launch(shape).run(be, _backward_data, *arrays)


# -- of the input, each channel alone ----------------------------------------------------------------------------------


@inner_kernel
def _line_sizes(shape):
    """Floats of a line of taps, in whole vectors, and of a line of dx with its padding and what such vectors add."""
    wide = (shape.kernel_x + 15) // 16 * 16
    return wide, max((shape.out_w - 1) * shape.stride_x + wide, shape.pad_x + shape.width)


@kernel
def _backward_data_diagonal(state, scratch, dy, w, outputs, dx, shape):
    """_backward_data where only w[i, i] is nonzero, or there is one kernel for each channel: each channel alone, line
    by line of dx."""
    me = enter(state)
    channels, taps_y, taps_x, area = shape.c_in, shape.kernel_y, shape.kernel_x, shape.height * shape.width
    step = channels + 1 if shape.group == 1 else 1  # kernels from one channel's to the next one's
    wide, line_floats = _line_sizes(shape)
    kernel_lines, line = scratch[me][: taps_y * wide], scratch[me][taps_y * wide : taps_y * wide + line_floats]
    fill(kernel_lines, 0, kernel_lines.size, np.float32(0))
    for job in work(state, me, 0, shape.images * channels):
        c, plane = job % channels, job * area
        for tap in range(taps_y):
            copy(w, (c * step * taps_y + tap) * taps_x, kernel_lines, tap * wide, taps_x)
        for y in range(shape.height):
            fill(line, 0, line.size, np.float32(0))
            top = y + shape.pad_y
            first, end = max(0, (top - taps_y) // shape.stride_y + 1), min(shape.out_h, top // shape.stride_y + 1)
            for row in range(first, end):
                tap = top - row * shape.stride_y
                for column in range(shape.out_w):
                    value = dy[(job * shape.out_h + row) * shape.out_w + column]
                    for i in range(0, wide, 16):
                        add_scaled(value, kernel_lines, tap * wide + i, line, column * shape.stride_x + i)
            copy(line, shape.pad_x, dx, plane + y * shape.width, shape.width)
        _epilogue(outputs, c, dx, plane, area)


def direct_backward_data_diagonal(be, shape: ConvShape, dy, w, outputs: Outputs, dx) -> None:
    """direct_backward_data without dilation, where the group is 1 and only w[i, i] nonzero, or each channel is one."""
    wide, line_floats = _line_sizes.py_func(shape)
    arrays = dy.reshape(-1), w.reshape(-1), outputs, dx.reshape(-1)
    be.pool.run(_backward_data_diagonal, 1, *arrays, shape, scratch=shape.kernel_y * wide + line_floats)


# -- of the weights ----------------------------------------------------------------------------------------------------


class WeightsPlan(NamedTuple):
    """A job is some blocks of 16 outputs and some columns of dw (C/group * taps) of a group; bands are as above."""

    shape: ConvShape
    images: int  # of a band
    band_rows: int
    job_blocks: int
    job_columns: int
    columns_ld: int  # of the columns of a band
    dw_ld: int  # of a job's piece of dw
    line_ld: int  # of the columns of one tap


@kernel
def _backward_weights(state, scratch, x, dy, dw, plan, packed_dy, columns):
    """Adds to dw the gradient of the convolution.  Bands follow each other, so the sum's order is fixed.

    packed_dy: dy of a band, (blocks of 16 outputs, pixels, 16); columns: its transposed im2col, (pixels, C/group *
    taps); scratch: a strip of these, columns of 16 taps at a time, a piece of dw.
    """
    shape = plan.shape
    me = enter(state)
    depth = shape.c_in // shape.group * shape.kernel_y * shape.kernel_x
    k_group = shape.k_out // shape.group
    blocks, strips = (k_group + 15) // 16, (depth + 15) // 16
    parts, pieces = (
        (blocks + plan.job_blocks - 1) // plan.job_blocks,
        (depth + plan.job_columns - 1) // plan.job_columns,
    )
    block_stride = plan.images * plan.band_rows * shape.out_w * 16
    near, mine = scratch[me][:NEAR_FLOATS], scratch[me][NEAR_FLOATS:]
    my_lines, my_dw = mine[: 16 * plan.line_ld], mine[16 * plan.line_ld :]
    superstep = -1
    for part in range((shape.images + plan.images - 1) // plan.images * shape.group):
        image, g = part // shape.group * plan.images, part % shape.group
        images = min(plan.images, shape.images - image)
        for row0 in range(0, shape.out_h, plan.band_rows):
            row1 = min(row0 + plan.band_rows, shape.out_h)
            pixels = (row1 - row0) * shape.out_w
            superstep += 1
            for job in work(state, me, superstep, images * (blocks + strips)):
                i, block = job // (blocks + strips), job % (blocks + strips)
                if block < blocks:
                    start = (((image + i) * shape.k_out + g * k_group + block * 16) * shape.out_h + row0) * shape.out_w
                    left = Matrix(dy, start, shape.out_h * shape.out_w)
                    out = Matrix(packed_dy, block * block_stride + i * pixels * 16, 16)
                    transpose(left, min(16, k_group - block * 16), pixels, out, 16)
                else:
                    out = Matrix(columns, i * pixels * plan.columns_ld + (block - blocks) * 16, plan.columns_ld)
                    _pack_columns(x, image + i, g, (block - blocks) * 16, row0, row1, plan, my_lines, out)
            superstep += 1
            for job in work(state, me, superstep, parts * pieces):
                first, column = job % parts * plan.job_blocks, job // parts * plan.job_columns
                last, n = min(first + plan.job_blocks, blocks), min(plan.job_columns, depth - column)
                left = PackedRows(packed_dy, first * block_stride, block_stride, last - first)
                right, product = Matrix(columns, column, plan.columns_ld), Matrix(my_dw, 0, plan.dw_ld)
                multiply_deep(left, right, product, n, images * pixels, False, near)
                for k in range(first * 16, min(last * 16, k_group)):
                    add_line(my_dw, (k - first * 16) * plan.dw_ld, dw, (g * k_group + k) * depth + column, n)


@inner_kernel
def _pack_columns(x, image, g, first, row0, row1, plan, lines, columns):
    """Rows first ... first + 15 of a group's im2col, transposed into the Matrix `columns`; lines: memory for them."""
    shape = plan.shape
    taps, c_group = shape.kernel_y * shape.kernel_x, shape.c_in // shape.group
    rows = min(16, c_group * taps - first)
    for i in range(rows):
        c, tap = (first + i) // taps, (first + i) % taps
        plane = (image * shape.c_in + g * c_group + c) * shape.height * shape.width
        im2col_row(x, plane, shape, tap, row0, row1, lines, i * plan.line_ld)
    transpose(Matrix(lines, 0, plan.line_ld), rows, (row1 - row0) * shape.out_w, columns, 16)


@functools.lru_cache(4096)
def _weights_launch(shape: ConvShape) -> Launch:
    depth = shape.c_in // shape.group * shape.kernel_y * shape.kernel_x
    blocks = -(-(shape.k_out // shape.group) // 16)
    images, band_rows = _band(shape, depth + blocks * 16, 4 << 20)
    pixels, bands = images * band_rows * shape.out_w, -(-shape.images // images) * -(-shape.out_h // band_rows)
    job_blocks, job_columns = min(4, blocks), min(depth, 480)
    columns_ld, dw_ld, line_ld = padded(depth), padded(job_columns), padded(band_rows * shape.out_w)
    plan = WeightsPlan(shape, images, band_rows, job_blocks, job_columns, columns_ld, dw_ld, line_ld)
    workspaces = blocks * pixels * 16, pixels * columns_ld
    scratch = 16 * line_ld + job_blocks * 16 * dw_ld + NEAR_FLOATS
    return Launch(Packed(plan), 2 * shape.group * bands, workspaces, scratch)


def direct_backward_weights(be, shape: ConvShape, x, dy, dw) -> None:
    """Adds to dw (K, C/group, taps) its gradient."""
    _weights_launch(shape).run(be, _backward_weights, x.reshape(-1), dy.reshape(-1), dw.reshape(-1))
