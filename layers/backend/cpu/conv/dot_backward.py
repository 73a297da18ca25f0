"""The gradient of a convolution's weights as dot products: of an output's dy with what one tap sees of one channel.

Both lie line by line in memory, and the sum runs along the lines: nothing is packed or transposed, as the matrix
products of direct_backward need it.  That is worth most where channels are few and pixels many; where there are many
more sums than pixels, what each sum takes at its end counts for more.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.direct_forward import frame_of
from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape, band_size
from demitasse.layers.backend.cpu.dot_microkernel import Lines, add_dots
from demitasse.layers.backend.cpu.gemm_microkernel import ROWS, TILE_ROWS, TILE_VECTORS, VECTORS
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix, OffsetRows, Rows
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BAND_PIXELS = 1 << 10  # lines of so many pixels of a job's outputs stay in the cache while all its taps go over them
JOBS = ((64, 48), (32, 48), (16, 48), (16, 24), (8, 24))  # outputs and taps of a job, the best first
MIN_JOBS = 32  # else smaller ones: each of many cores should have some


class DotPlan(NamedTuple):
    """A job is some outputs of a group and some of its channels, all images and pixels."""

    shape: ConvShape
    framed: bool  # whether a band of a job's channels is copied into a frame; else x itself is taken
    band_rows: int  # of outputs
    frame_rows: int  # of a channel, and of each of its polyphase components
    ld: int  # pixels of a framed line
    channel_size: int  # pixels of a framed channel
    job_rows: int
    job_channels: int


@kernel
def _backward_weights(state, scratch, x, dy, dw, offsets, plan):
    """Adds to dw its gradient.  offsets: where in framed channels that of each tap begins; scratch: the frame."""
    shape = plan.shape
    me = enter(state)
    k_group, c_group, area = shape.k_out // shape.group, shape.c_in // shape.group, shape.out_h * shape.out_w
    parts, pieces = (
        (k_group + plan.job_rows - 1) // plan.job_rows,
        (c_group + plan.job_channels - 1) // plan.job_channels,
    )
    for job in work(state, me, 0, shape.group * parts * pieces):
        g, k, c = job // (parts * pieces), job % parts * plan.job_rows, job // parts % pieces * plan.job_channels
        channels, outputs = min(plan.job_channels, c_group - c), min(plan.job_rows, k_group - k)
        for image in range(shape.images):
            first_plane, first_output = image * shape.c_in + g * c_group + c, image * shape.k_out + g * k_group + k
            for row0 in range(0, shape.out_h, plan.band_rows):
                rows = min(plan.band_rows, shape.out_h - row0)
                seen, start = x, (first_plane * shape.height + row0) * shape.width
                if plan.framed:
                    seen, start = scratch[me], 0
                    _frame_channels(x, first_plane, channels, row0, rows, plan, seen)
                left = Rows(dy, first_output * area + row0 * shape.out_w, area, 1, outputs)
                _add_products(left, OffsetRows(seen, start, offsets, 0), channels, rows, plan, dw, g * k_group + k, c)


@inner_kernel
def _frame_channels(x, plane, channels, row0, rows, plan, frame):
    """The frames of so many channels, for outputs row0 ... row0 + rows - 1."""
    shape = plan.shape
    for i in range(channels):
        gap, lines = (plan.band_rows - rows) * plan.ld, plan.frame_rows - plan.band_rows + rows
        start = (plane + i) * shape.height * shape.width
        frame_plane(x, start, shape, row0, lines, plan.ld, frame, i * plan.channel_size, gap)


@inner_kernel
def _add_products(left, right, channels, rows, plan, dw, k, c):
    """Adds the products of a job's band to dw, from output k and channel c on."""
    shape = plan.shape
    taps = shape.kernel_y * shape.kernel_x
    depth = shape.c_in // shape.group * taps
    lines = Lines(rows, shape.out_w, shape.out_w, plan.ld)
    if plan.ld == shape.out_w:
        lines = Lines(1, rows * shape.out_w, 0, 0)
    for j in range(0, channels * taps, TILE_VECTORS):
        columns = OffsetRows(right.data, right.start, right.offsets, j)
        for i in range(0, left.count, TILE_ROWS):
            outputs = Rows(left.data, left.start + i * left.row_stride, left.row_stride, 1, left.count - i)
            out = Matrix(dw, (k + i) * depth + c * taps + j, depth)
            add_dots(outputs, columns, channels * taps - j, out, lines, ROWS, VECTORS)


def are_few(shape: ConvShape) -> bool:
    """Whether there are few sums for the pixels."""
    k_group, depth = shape.k_out // shape.group, shape.c_in // shape.group * shape.kernel_y * shape.kernel_x
    pixels, sums = shape.out_h * shape.out_w, k_group * depth / (k_group + depth)
    return pixels >= 128 and shape.out_w >= 12 and (pixels > 400 or sums < 160)


@functools.lru_cache(4096)
def _launch(shape: ConvShape) -> tuple[Packed, np.ndarray, int]:
    """(plan, offsets, floats of scratch)"""
    frame, offsets = frame_of(shape)
    k_group, c_group, taps = shape.k_out // shape.group, shape.c_in // shape.group, shape.kernel_y * shape.kernel_x
    framed = max(shape.stride_y, shape.stride_x) > 1 or max(shape.pad_y, shape.pad_x) > 0
    band_rows = band_size(shape.out_h, shape.out_w, BAND_PIXELS)
    frame_rows = band_rows + frame.reach if framed else shape.height
    channel_size = frame.components * frame_rows * frame.ld
    for job_rows, columns in JOBS:
        channels = max(1, min(c_group, columns // taps))
        if shape.group * -(-k_group // job_rows) * -(-c_group // channels) >= MIN_JOBS:
            break
    starts = (np.arange(channels)[:, None] * channel_size + offsets(frame_rows)).reshape(-1)
    plan = DotPlan(shape, framed, band_rows, frame_rows, frame.ld, channel_size, job_rows, channels)
    return Packed(plan), starts, channels * channel_size if framed else 1


def dot_backward_weights(be, shape: ConvShape, x, dy, dw) -> None:
    """Adds to dw (K, C/group, taps) its gradient, of x (N, C, H, W) and dy (N, K, OH, OW)."""
    plan, offsets, floats = _launch(shape)
    be.pool.run(_backward_weights, 1, x.reshape(-1), dy.reshape(-1), dw.reshape(-1), offsets, plan, scratch=floats)
