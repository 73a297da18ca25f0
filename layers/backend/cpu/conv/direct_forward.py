"""Convolution as a matrix product of the weights, as they lie, with im2col, made a piece at a time (implicit im2col).

Row p of the product's right side is what weight p (a channel and a tap) is multiplied with: one pixel for every
output.  In an image with its pad around it, lines of neighbouring outputs are lines of neighbouring pixels, so that
row p is made of pieces of lines that begin at an offset of its own.  A panel, some columns of these rows, is packed
at a time, such that it stays in the innermost cache while all weights of a job go over it.

An image without pad and stride is taken as it lies; any other is framed first, band by band, a band being a run of
output rows; with a stride, rows and columns are sorted by their remainders (polyphase).  For few outputs lines are
multiplied where they lie in the frame.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv import depthwise
from demitasse.layers.backend.cpu.conv.im2col import frame_plane, pack_panel
from demitasse.layers.backend.cpu.conv.narrow import are_lines, convolve_narrow, pack_lines
from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.conv.residual import add_residual, fetch_residual, leak
from demitasse.layers.backend.cpu.conv_microkernel import convolve_tiles
from demitasse.layers.backend.cpu.gemm_microkernel import (
    DEPTH,
    NARROW,
    ROWS,
    STRIP,
    TILE_ROWS,
    VECTORS,
    padded_columns,
)
from demitasse.layers.backend.cpu.jit import Kernel, Packed, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, OffsetRows, Outputs, Rows
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work

PANEL_FLOATS, MAX_PANEL_STRIPS = 1 << 12, 8
FRAME_FLOATS = 1 << 19
MAX_JOB_ROWS, JOB_WEIGHTS = 256, 1 << 18  # with long sums, packed again and again, twice as many rows


class ForwardPlan(NamedTuple):
    """A job is some outputs of a group (job_rows) and some pixels of a band (job_columns)."""

    shape: ConvShape
    row_stride: int  # between the weights of two outputs
    step: int  # between two weights of one output
    framed: bool  # whether a band is copied into a frame; else x itself is taken
    images: int  # at a time
    band_rows: int  # of outputs
    frame_rows: int  # of a channel, and of each of its polyphase components
    ld: int  # pixels of a framed line
    channel_size: int  # pixels of a framed channel
    in_frame: bool  # whether a panel is a line of outputs, whose pixels are multiplied where they lie
    panel: int  # columns
    job_rows: int
    job_columns: int


class _Job(NamedTuple):
    """Outputs k0 ... k1 - 1 of a group, and pixels column0 ... end - 1 of a band, which begins at output row row0."""

    image: int
    seen: int  # where the image's pixels lie: its number in the frame, or in x
    row0: int
    group: int
    k0: int
    k1: int
    column0: int
    end: int


@kernel
def _forward(state, scratch, x, w, outputs, y, offsets, plan, frame):
    """y = relu(scale * the convolution of x + bias): Outputs.

    offsets: where in a group's framed channels the row of each weight begins; frame: of a band; scratch: outputs
    that do not fill a strip, then a panel.
    """
    shape = plan.shape
    me = enter(state)
    k_group = shape.k_out // shape.group
    parts = (k_group + plan.job_rows - 1) // plan.job_rows
    by_pixels = band_count(state, shape.out_h, shape.out_w) > 1
    pixels = frame if plan.framed else x
    superstep = -1
    for image0 in range(0, shape.images, plan.images):
        images = min(plan.images, shape.images - image0)
        for row0 in range(0, shape.out_h, plan.band_rows):
            if plan.framed:
                superstep += 1
                bands = band_count(state, plan.frame_rows, plan.ld)
                for job in work(state, me, superstep, images * shape.c_in * bands):
                    band, c = divmod(job, images * shape.c_in)
                    _frame_channel(x, image0, c, row0, band, bands, plan, frame)
            superstep += 1
            columns = min(plan.band_rows, shape.out_h - row0) * shape.out_w
            pieces = (columns + plan.job_columns - 1) // plan.job_columns
            for job in work(state, me, superstep, shape.group * parts * images * pieces):
                if by_pixels:
                    part, at = job % (shape.group * parts), job // (shape.group * parts)
                else:
                    part, at = divmod(job, images * pieces)
                k0, (image, column0) = part % parts * plan.job_rows, divmod(at, pieces)
                column0 *= plan.job_columns
                k1, end = min(k0 + plan.job_rows, k_group), min(column0 + plan.job_columns, columns)
                seen = image if plan.framed else image0 + image
                piece = _Job(image0 + image, seen, row0, part // parts, k0, k1, column0, end)
                _convolve_job(pixels, w, outputs, y, offsets, plan, piece, scratch[me])


@inner_kernel
def _frame_channel(x, image0, c, row0, band, bands, plan, frame):
    """One of `bands` bands of a channel's frame, for outputs from row0; c: counted from the first of image0."""
    shape = plan.shape
    first, end = partition(plan.frame_rows, band, bands)
    plane, gap = (image0 * shape.c_in + c) * shape.height * shape.width, (plan.frame_rows - end + first) * plan.ld
    start = c * plan.channel_size + first * plan.ld
    frame_plane(x, plane, shape, row0 + first, end - first, plan.ld, frame, start, gap)


@inner_kernel
def _convolve_job(pixels, w, outputs, y, offsets, plan, job, scratch):
    """The outputs of a job, a panel of pixels at a time, of which no more than DEPTH rows.  What such rows give beyond
    whole strips waits for the next rows in one place: in the frame all panels have some, else the last one only."""
    depth, at_once = len(offsets), plan.panel if plan.in_frame else job.end - job.column0
    for column in range(job.column0, job.end, at_once):
        for p in range(0, depth, DEPTH):
            for panel in range(column, min(column + at_once, job.end), plan.panel):
                _convolve_panel(pixels, w, outputs, y, offsets, plan, job, panel, p, scratch)


@inner_kernel
def _convolve_panel(pixels, w, outputs, y, offsets, plan, job, column, p, scratch):
    """A panel of a job from a column on, of the rows from number p on."""
    shape, depth = plan.shape, len(offsets)
    k_group, out_size = shape.k_out // shape.group, shape.out_h * shape.out_w
    channel, count = job.group * k_group + job.k0, job.k1 - job.k0
    start = (job.seen * shape.c_in + job.group * (shape.c_in // shape.group)) * plan.channel_size
    first_weight = job.group * k_group * depth + job.k0 * plan.row_stride
    first_output = (job.image * shape.k_out + channel) * out_size + job.row0 * shape.out_w
    q_floats = (plan.job_rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS * STRIP
    q, panel = scratch[:q_floats], Matrix(scratch[q_floats:], 0, plan.panel)
    lines = Matrix(panel.data, min(DEPTH, depth) * plan.panel + STRIP, min(DEPTH, depth))
    rows = min(DEPTH, depth - p)
    weights, seen = Rows(w, first_weight + p * plan.step, plan.row_stride, plan.step, count), offsets[p : p + rows]
    then = Epilogue(outputs, channel, p + rows == depth)
    n, out = min(plan.panel, job.end - column), Matrix(y, first_output + column, out_size)
    left, whole = n % STRIP if are_lines(weights, n) else 0, n // STRIP * STRIP
    pack_lines(pixels, start, seen, plan, column + n - left, left, lines)
    if plan.in_frame:
        first = start + column // shape.out_w * plan.ld
        line, right = OffsetRows(pixels, first, seen, 0), OffsetRows(pixels, first + whole, seen, 0)
        _multiply_panel(weights, line, right, lines, rows, n, out, q, p > 0, then)
    else:
        pack_panel(pixels, start, seen, plan, column, n - left, panel)
        right = Matrix(panel.data, whole, panel.ld)
        _multiply_panel(weights, panel, right, lines, rows, n, out, q, p > 0, then)


@inner_kernel
def _multiply_panel(w, panel, right, lines, depth, n, y, q, add, epilogue):
    """y (+)= the Rows w times n columns of the panel, and the epilogue; right: those beyond whole strips; lines: the
    same, where they are packed so (see narrow); q: their outputs."""
    whole, outputs = n // STRIP, epilogue.outputs
    rest = n - whole * STRIP
    has_residual = epilogue.last and outputs.residual.size > 0
    height = TILE_ROWS if has_residual else w.count  # so that a residual is fetched not long before it is added
    for k in range(0, w.count, height):
        end = min(k + height, w.count)
        left = Rows(w.data, w.start + k * w.row_stride, w.row_stride, w.step, end - k)
        then, out = Epilogue(outputs, epilogue.channel + k, epilogue.last), Matrix(y.data, y.start + k * y.ld, y.ld)
        for i in range(k, end if has_residual else k):
            fetch_residual(outputs, y.start + i * y.ld, n)
        convolve_tiles(left, panel, out, whole, depth, add, then, ROWS, VECTORS)
        if rest > 0:
            convolve_narrow(left, right, lines, Matrix(q, k * STRIP, STRIP), depth, add, then, rest)
        for i in range(k, end if epilogue.last else k):
            if rest > 0:
                copy(q, i * STRIP, y.data, y.start + i * y.ld + whole * STRIP, rest)
            leak(y.data, y.start + i * y.ld, n, outputs.slope[epilogue.channel + i])
            if has_residual:
                add_residual(outputs, y.data, y.start + i * y.ld, n, epilogue.channel + i)


class DirectForward(NamedTuple):
    """A kernel and its launch, and what it takes beside the arrays: where the row of each weight begins."""

    kernel: Kernel
    launch: Launch
    offsets: np.ndarray


class _Frame(NamedTuple):
    """Lines of `ld` pixels, so many rows beyond those of the outputs, in each of a channel's components."""

    ld: int
    reach: int
    components: int


def frame_of(shape):
    """The frame of a convolution, and where in it the row of each tap begins: a function of the rows of outputs."""
    taps = np.arange(shape.kernel_y) * shape.dilation_y, np.arange(shape.kernel_x) * shape.dilation_x
    (rows, columns), stride = taps, (shape.stride_y, shape.stride_x)
    remainders = [min(s, t[-1] + 1) for s, t in zip(stride, taps, strict=True)]
    ld, reach = int(shape.out_w + columns[-1] // stride[1]), int(rows[-1] // stride[0])

    def offsets(frame_rows):
        row = rows % stride[0] * remainders[1] * frame_rows + rows // stride[0]
        column = columns % stride[1] * frame_rows * ld + columns // stride[1]
        return (row[:, None] * ld + column).reshape(-1)

    return _Frame(ld, reach, int(remainders[0] * remainders[1])), offsets


@functools.lru_cache(4096)
def direct_forward(shape: ConvShape, row_stride: int, step: int, threads: int) -> DirectForward:
    """How that convolution is cut up for so many threads.  row_stride, step: see ForwardPlan."""
    frame, offsets = frame_of(shape)
    if shape.group == shape.c_in == shape.k_out:
        return _depthwise_forward(shape, frame, offsets)
    strided, padded = max(shape.stride_y, shape.stride_x) > 1, shape.pad_y > 0 or shape.pad_x > 0
    framed, rows, band_rows, frame_rows = (
        strided or padded or frame.ld > shape.out_w,
        shape.out_h,
        shape.out_h,
        shape.height,
    )
    if framed:
        band_rows = band_size(rows, shape.c_in * frame.components * frame.ld, FRAME_FLOATS)
        frame_rows = band_rows + frame.reach
    channel_size = frame.components * frame_rows * frame.ld
    channels = np.arange(shape.c_in // shape.group) * channel_size
    offsets = (channels[:, None] + offsets(frame_rows)).reshape(-1)
    depth = min(len(offsets), DEPTH)
    panel = STRIP * max(1, min(MAX_PANEL_STRIPS, PANEL_FLOATS // (STRIP * depth)))
    in_frame = framed and _is_best_in_frame(shape, len(offsets))
    panel = shape.out_w if in_frame else panel
    images = 1 if band_rows < rows else max(1, min(shape.images, FRAME_FLOATS // (shape.c_in * channel_size)))
    images = images if framed else shape.images
    jobs = _job_size(shape.k_out // shape.group, len(offsets), band_rows * shape.out_w, images, panel, threads)
    plan = ForwardPlan(
        shape, row_stride, step, framed, images, band_rows, frame_rows, frame.ld, channel_size, in_frame, panel, *jobs
    )
    supersteps = (1 + framed) * -(-shape.images // images) * -(-rows // band_rows)
    frame_floats = images * shape.c_in * channel_size + STRIP if framed else 0
    scratch = -(-plan.job_rows // TILE_ROWS) * TILE_ROWS * STRIP + depth * (panel + NARROW) + STRIP
    return DirectForward(_forward, Launch(Packed(plan), supersteps, (frame_floats,), scratch), offsets)


def _is_best_in_frame(shape, depth):
    """Whether to pack pixels for so few outputs takes longer than to read them where they lie, line by line."""
    few = shape.k_out // shape.group <= (64 if depth <= 32 else 32)
    wide = shape.out_w >= (32 if depth <= 8 * DEPTH else 16)
    return few and wide and padded_columns.py_func(shape.out_w) <= 1.15 * shape.out_w


def _depthwise_forward(shape, frame, offsets):
    """direct_forward of a convolution of each channel on its own."""
    side, stride = depthwise.vector_window(shape)
    lines, ld, component = frame.components, frame.ld, 0
    if side:
        lines, component = shape.stride_y, depthwise.component_pixels(shape)
        ld = shape.stride_x * component
    band_rows = band_size(shape.out_h, lines * ld, depthwise.BAND_FLOATS)
    component = component or (band_rows + frame.reach) * ld
    frame_floats = lines * (band_rows + frame.reach) * ld + depthwise.WIDE
    planes = max(1, depthwise.JOB_PIXELS // (shape.out_h * shape.out_w))
    plan = depthwise.DepthwisePlan(shape, planes, band_rows, frame.reach, ld, component, frame_floats, side, stride)
    launch = Launch(Packed(plan), 1, (), frame_floats + band_rows * ld + depthwise.WIDE)
    return DirectForward(depthwise.depthwise, launch, offsets(band_rows + frame.reach))


def _job_size(k_group, depth, columns, images, panel, threads):
    """(outputs, pixels) of a job: as many outputs as possible, for each job packs its panel; but all threads get some.
    Columns are cut where panels end, so that the bits do not depend on it."""
    panels = images * -(-columns // panel)
    most = MAX_JOB_ROWS * (2 if depth > 2 * DEPTH else 1)
    rows = min(k_group, most, max(16, JOB_WEIGHTS // min(depth, DEPTH) // 16 * 16))
    while rows > 64 and panels * -(-k_group // rows) < 4 * threads:
        rows //= 2
    parts = -(-k_group // rows)
    rows = -(-k_group // (16 * parts)) * 16
    work = max(1 << 18, k_group * depth * columns * images // 32)
    return min(rows, k_group), int(panel * max(1, min(round(work / (rows * depth * panel)), -(-columns // panel))))


def run_direct_forward(be, how: DirectForward, x, w, outputs: Outputs, y) -> None:
    """y (N, K, OH, OW) = relu(scale * the convolution of x (N, C, H, W) with the weights w + bias)."""
    arrays = x.reshape(-1), w.reshape(-1), outputs, y.reshape(-1), how.offsets
    how.launch.run(be, how.kernel, *arrays)
