"""Convolution as a matrix product of the weights, as they lie, with the image, almost as it lies (implicit im2col).

Row p of the product's right side is what weight p (a channel and a tap) is multiplied with: one pixel for every
output.  In an image with its pad around it, lines of neighbouring outputs are lines of neighbouring pixels, so that
row p is a piece of the image which begins at an offset of its own: no im2col is ever built.  The image is framed band
by band, a band being a run of output rows; with a stride, rows and columns are sorted by their remainders first
(polyphase).  Outputs are computed for the whole length of the framed lines; those beyond the end of an output line are
left out.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import frame_plane, store_outputs
from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.gemm_microkernel import (
    DEPTH,
    ROWS,
    STRIP,
    TILE_LANES,
    TILE_ROWS,
    VECTORS,
    Matrix,
    OffsetRows,
    Rows,
    convolve_tile,
    multiply_tile,
)
from demitasse.layers.backend.cpu.jit import Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work

LONG = 8 * TILE_LANES  # pixels at a time where each group has one output


class ForwardPlan(NamedTuple):
    """A job is some outputs of a group (job_rows) and some pixels of a band (job_columns)."""

    shape: ConvShape
    row_stride: int  # between the weights of two outputs
    step: int  # between two weights of one output
    framed: bool  # whether a band is copied into a frame; else x itself is taken
    band_rows: int  # of outputs
    frame_rows: int  # of a channel, and of each of its polyphase components
    ld: int  # pixels of a framed line
    channel_size: int  # pixels of a framed channel
    job_rows: int
    job_columns: int


class _Job(NamedTuple):
    """Outputs k0 ... k1 - 1 of a group, and pixels column0 ... end - 1 of the `columns` that a band has, line after
    line of the frame; the band begins at output row row0."""

    image: int
    row0: int
    columns: int
    group: int
    k0: int
    k1: int
    column0: int
    end: int


@kernel
def _forward(state, scratch, x, w, bias, slope, y, offsets, plan, frame):
    """y = relu(convolution of x + bias).

    offsets: where in a group's framed channels the row of each weight begins; frame: of a band; scratch: outputs of a
    job's strip.
    """
    shape = plan.shape
    me = enter(state)
    k_group = shape.k_out // shape.group
    parts = (k_group + plan.job_rows - 1) // plan.job_rows
    by_pixels = band_count(state, shape.out_h, shape.out_w) > 1
    pixels = frame if plan.framed else x
    superstep = -1
    for image in range(shape.images):
        for row0 in range(0, shape.out_h, plan.band_rows):
            if plan.framed:
                superstep += 1
                bands = band_count(state, plan.frame_rows, plan.ld)
                for job in work(state, me, superstep, shape.c_in * bands):
                    _frame_channel(x, image, job % shape.c_in, row0, job // shape.c_in, bands, plan, frame)
            superstep += 1
            columns = (min(plan.band_rows, shape.out_h - row0) - 1) * plan.ld + shape.out_w
            pieces = (columns + plan.job_columns - 1) // plan.job_columns
            for job in work(state, me, superstep, shape.group * parts * pieces):
                if by_pixels:
                    part, piece = job % (shape.group * parts), job // (shape.group * parts)
                else:
                    part, piece = divmod(job, pieces)
                k0, column0 = part % parts * plan.job_rows, piece * plan.job_columns
                k1, end = min(k0 + plan.job_rows, k_group), min(column0 + plan.job_columns, columns)
                outputs = _Job(image, row0, columns, part // parts, k0, k1, column0, end)
                _convolve_job(pixels, w, bias, slope, y, offsets, plan, outputs, scratch[me])


@inner_kernel
def _frame_channel(x, image, c, row0, band, bands, plan, frame):
    """One of `bands` bands of a channel's frame, for outputs from row0."""
    shape = plan.shape
    first, end = partition(plan.frame_rows, band, bands)
    plane, gap = (image * shape.c_in + c) * shape.height * shape.width, (plan.frame_rows - end + first) * plan.ld
    start = c * plan.channel_size + first * plan.ld
    frame_plane(x, plane, shape, row0 + first, end - first, plan.ld, frame, start, gap)


@inner_kernel
def _convolve_job(pixels, w, bias, slope, y, offsets, plan, job, q):
    """The outputs of a job, a strip of pixels at a time; q: memory for a strip."""
    shape = plan.shape
    k_group = shape.k_out // shape.group
    strip, channel, out_size = LONG if k_group == 1 else STRIP, job.group * k_group + job.k0, shape.out_h * shape.out_w
    image_start = 0 if plan.framed else job.image * shape.c_in
    start = (image_start + job.group * (shape.c_in // shape.group)) * plan.channel_size
    first_weight = job.group * k_group * len(offsets) + job.k0 * plan.row_stride
    weights = Rows(w, first_weight, plan.row_stride, plan.step, job.k1 - job.k0)
    for column in range(job.column0, job.end, strip):
        n = min(strip, job.end - column)
        reach = strip if k_group == 1 else (n + TILE_LANES - 1) // TILE_LANES * TILE_LANES
        if not plan.framed and column + reach > job.columns:  # nothing beyond the end may be read: some once more
            column, n = job.columns - reach, reach
        line, i = column // plan.ld, column % plan.ld
        seen = OffsetRows(pixels, start + column, offsets, 0)
        first_row = (job.image * shape.k_out + channel) * shape.out_h + job.row0 + line
        out = Matrix(y, first_row * shape.out_w + i, out_size)
        in_line = plan.ld == shape.out_w or i + n <= shape.out_w
        if n == STRIP and in_line and len(offsets) <= DEPTH and k_group > 1:
            _convolve_strip(weights, seen, out, bias, channel, slope)
        else:
            _multiply(weights, seen, n, Matrix(q, 0, strip))
            for k in range(job.k1 - job.k0):
                _store_strip(q, k * strip, n, y, out.start + k * out_size, i, plan, bias[channel + k], slope)


@inner_kernel
def _convolve_strip(w, x, y, bias, channel, slope):
    """STRIP pixels of all outputs, with no gap between lines: the sums go from registers to y."""
    for k in range(0, w.count, TILE_ROWS):
        left = Rows(w.data, w.start + k * w.row_stride, w.row_stride, w.step, w.count - k)
        convolve_tile(left, x, Matrix(y.data, y.start + k * y.ld, y.ld), bias, channel + k, slope, ROWS, VECTORS)


@inner_kernel
def _multiply(w, x, columns, q):
    """q (rows, columns) = the Rows w times the OffsetRows x."""
    depth = len(x.offsets)
    vectors = (columns + TILE_LANES - 1) // TILE_LANES
    for p in range(0, depth, DEPTH):
        n, right = min(DEPTH, depth - p), OffsetRows(x.data, x.start, x.offsets, p)
        if w.count == 1:
            left = Rows(w.data, w.start + p * w.step, 0, w.step, 1)
            multiply_tile(left, right, q, n, p > 0, (0,), (0,) * 8)
            continue
        for k in range(0, w.count, TILE_ROWS):
            left = Rows(w.data, w.start + k * w.row_stride + p * w.step, w.row_stride, w.step, w.count - k)
            out = Matrix(q.data, k * q.ld, q.ld)
            if vectors == 3:
                multiply_tile(left, right, out, n, p > 0, ROWS, (0, 0, 0))
            elif vectors == 2:
                multiply_tile(left, right, out, n, p > 0, ROWS, (0, 0))
            else:
                multiply_tile(left, right, out, n, p > 0, ROWS, (0,))


@inner_kernel
def _store_strip(q, iq, n, y, iy, column, plan, bias, slope):
    """y[iy :] = relu(n pixels of q + bias), less those beyond the end of an output line; the first is at `column`."""
    out_w, done = plan.shape.out_w, 0
    while done < n:
        wide = min(n - done, out_w - column)
        if wide > 0:
            store_outputs(q, iq + done, wide, y, iy, bias, slope)
        done, iy, column = done + plan.ld - column, iy + out_w - column, 0


class DirectForward(NamedTuple):
    """A launch, and what it takes beside the arrays: where the row of each weight begins (see _forward)."""

    launch: Launch
    offsets: np.ndarray


@functools.lru_cache(4096)
def direct_forward(shape: ConvShape, row_stride: int, step: int) -> DirectForward:
    """How that convolution is cut up.  row_stride, step: see ForwardPlan."""
    c_group, k_group = shape.c_in // shape.group, shape.k_out // shape.group
    taps = np.arange(shape.kernel_y) * shape.dilation_y, np.arange(shape.kernel_x) * shape.dilation_x
    stride, rows, width = (shape.stride_y, shape.stride_x), shape.out_h, shape.out_w
    one_output = k_group == 1
    strip = LONG if one_output else STRIP
    padded = shape.pad_y > 0 or shape.pad_x > 0
    framed = padded or max(stride) > 1 or shape.width * (rows - 1) + width < strip
    remainders = [min(s, t[-1] + 1) for s, t in zip(stride, taps, strict=True)]
    reach = [t[-1] // s for s, t in zip(stride, taps, strict=True)]
    ld, band_rows, frame_rows = shape.width, rows, shape.height
    if framed:
        ld = width + reach[1]
        components = remainders[0] * remainders[1]
        band_rows = band_size(rows, shape.c_in * components * ld, 1 << 18 if one_output else 1 << 19)
        frame_rows = band_rows + reach[0]
    channel_size = int(remainders[0] * remainders[1] * frame_rows * ld)
    row = taps[0] % stride[0] * remainders[1] * frame_rows + taps[0] // stride[0]
    column = taps[1] % stride[1] * frame_rows * ld + taps[1] // stride[1]
    offsets = (np.arange(c_group)[:, None, None] * channel_size + row[:, None] * ld + column).reshape(-1)
    job_rows, job_columns = _job_size(k_group, len(offsets), (band_rows - 1) * ld + width, strip)
    plan = ForwardPlan(
        shape, row_stride, step, framed, band_rows, int(frame_rows), int(ld), channel_size, job_rows, job_columns
    )
    supersteps = (1 + framed) * shape.images * -(-rows // band_rows)
    frame = shape.c_in * channel_size + strip if framed else 0
    scratch = -(-job_rows // TILE_ROWS) * TILE_ROWS * strip
    return DirectForward(Launch(Packed(plan), supersteps, (frame,), scratch), offsets)


def _job_size(k_group, depth, columns, strip):
    """(outputs, pixels) of a job."""
    rows = min(k_group, 64, max(16, (1 << 17) // depth // 16 * 16))
    work = max(1 << 18, k_group * depth * columns // 32)
    return rows, int(strip * max(1, min(round(work / (rows * depth * strip)), -(-columns // strip))))


def run_direct_forward(be, how: DirectForward, x, w, bias, slope: float, y) -> None:
    """y (N, K, OH, OW) = relu(convolution of x (N, C, H, W) with the weights w + bias (K,)); slope 1: no relu."""
    how.launch.run(be, _forward, x.reshape(-1), w.reshape(-1), bias, np.float32(slope), y.reshape(-1), how.offsets)
