"""Convolution of each channel on its own (MobileNet's depthwise convolutions), forward.

Some rows of a channel are framed (see direct_forward) in memory of the thread's own, where they stay in the innermost
cache.  For the common kernels there is vector code that makes several rows of outputs at a time, so that a pixel is
read once for all of them that see it in its column.  Its frame has the lines of the image as they lie or, for a stride
of 2, the even pixels of each line and then the odd ones; what is pad at their ends is written once for all planes.
For any other kernel the frame is sorted by remainders, and the taps are added up, many pixels at a time, line after
line; pixels beyond the end of an output line are computed too and left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.framed_lines import Lines, frame_lines
from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.conv.residual import add_residual, leak
from demitasse.layers.backend.cpu.conv_microkernel import convolve_tiles, epilogue_of
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, fill
from demitasse.layers.backend.cpu.jit import Intrinsic, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, OffsetRows, Rows, operand
from demitasse.layers.backend.cpu.simd import Writer, steps, void
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work

WIDE = 64  # pixels at a time, where there is no vector code for the kernel
ONE_ROW, ALL_VECTORS = (0,), (0,) * (WIDE // TILE_LANES)
BAND_FLOATS = 1 << 12
JOB_PIXELS = 1 << 10
ROWS_AT_ONCE = (0,) * 4


class DepthwisePlan(NamedTuple):
    """A job is some planes, each a channel of an image, or a part of the rows of one; band_rows at a time."""

    shape: ConvShape
    planes: int  # of a job
    band_rows: int  # of outputs
    reach: int  # rows of a framed component beyond those
    ld: int  # pixels of a framed line
    component: int  # pixels of a framed polyphase component; of a line's even or odd ones where there is vector code
    frame_floats: int
    side: tuple[int, ...]  # as long as the sides of a square kernel for which there is vector code; else ()
    stride: tuple[int, ...]


def vector_window(shape: ConvShape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`side` and `stride` of a DepthwisePlan."""
    side, stride = shape.kernel_y, shape.stride_y
    common = 2 <= side <= 5 and stride <= 2 and shape.dilation_y == shape.dilation_x == 1
    if common and (side, stride) == (shape.kernel_x, shape.stride_x):
        return (0,) * side, (0,) * stride
    return (), ()


def component_pixels(shape: ConvShape) -> int:
    """`component` of a DepthwisePlan where there is vector code: what a line needs, and whole vectors of the image."""
    seen = (shape.out_w - 1) * shape.stride_x + shape.kernel_x
    step = shape.stride_x * TILE_LANES
    return max(-(-seen // shape.stride_x), -(-shape.pad_x // shape.stride_x) + -(-shape.width // step) * TILE_LANES)


@kernel
def depthwise(state, scratch, x, w, outputs, y, offsets, plan):
    """y = relu(scale * the convolution of x + bias): Outputs.

    offsets: where in the frame each tap begins; scratch: a frame, then outputs.
    """
    shape = plan.shape
    me = enter(state)
    mine = scratch[me]
    frame = mine[: plan.frame_floats]
    fill(frame, 0, plan.frame_floats, np.float32(0))
    planes, bands = shape.images * shape.c_in, band_count(state, shape.out_h, shape.out_w)
    parts = planes * bands
    for job in work(state, me, 0, (parts + plan.planes - 1) // plan.planes):
        first_part, end_part = job * plan.planes, min((job + 1) * plan.planes, parts)
        band, plane = divmod(first_part, planes)
        c = plane % shape.c_in
        for _ in range(first_part, end_part):
            first, end = partition(shape.out_h, band, bands) if bands > 1 else (0, shape.out_h)
            taps, epilogue = Rows(w, c * len(offsets), 0, 1, 1), Epilogue(outputs, c, True)
            for row0 in range(first, end, plan.band_rows):
                rows = min(plan.band_rows, end - row0)
                out = Matrix(y, (plane * shape.out_h + row0) * shape.out_w, shape.out_w)
                if len(plan.side) > 0:
                    _frame_band(x, plane * shape.height * shape.width, row0, rows, plan, frame)
                    _convolve_band(taps, frame, plan, rows, out, epilogue)
                else:
                    _add_taps(x, plane, row0, rows, taps, offsets, plan, mine, out, epilogue)
                leak(y, out.start, rows * out.ld, outputs.slope[c])
                if outputs.residual.size:
                    add_residual(outputs, y, out.start, rows * out.ld, c)
            plane, c = plane + 1, c + 1 if c + 1 < shape.c_in else 0  # without a division: small planes take less time
            if plane == planes:
                plane, band = 0, band + 1


@inner_kernel
def _add_taps(x, plane, row0, rows, taps, offsets, plan, scratch, y, epilogue):
    """`rows` of outputs by a kernel for which there is no vector code."""
    shape, frame, sums = plan.shape, scratch[: plan.frame_floats], scratch[plan.frame_floats :]
    gap = plan.component - (rows + plan.reach) * plan.ld
    frame_plane(x, plane * shape.height * shape.width, shape, row0, rows + plan.reach, plan.ld, frame, 0, gap)
    for j in range(0, rows * plan.ld, WIDE):
        seen = OffsetRows(frame, j, offsets, 0)
        convolve_tiles(taps, seen, Matrix(sums, j, 0), 1, len(offsets), False, epilogue, ONE_ROW, ALL_VECTORS)
    for i in range(rows):
        copy(sums, i * plan.ld, y.data, y.start + i * y.ld, y.ld)


@inner_kernel
def _frame_band(x, plane, row0, rows, plan, frame):
    """The plane's pixels that `rows` of outputs from row0 on see, framed; the pad beside them is 0 already."""
    shape = plan.shape
    top, lines = row0 * shape.stride_y - shape.pad_y, (rows - 1) * shape.stride_y + shape.kernel_y
    first = min(max(0, -top), lines)
    end = max(first, min(lines, shape.height - top))
    fill(frame, 0, first * plan.ld, np.float32(0))
    fill(frame, end * plan.ld, (lines - end) * plan.ld, np.float32(0))
    to, seen = Lines(frame, first * plan.ld, plan.ld, plan.component), plane + (top + first) * shape.width
    image = Matrix(x, seen, shape.width)
    frame_lines(image, x.size - seen, end - first, to, shape.pad_x, shape.height * shape.width, plan.stride)


@inner_kernel
def _convolve_band(taps, frame, plan, rows, y, epilogue):
    """`rows` of outputs of a framed plane."""
    seen, several = Lines(frame, 0, plan.ld, plan.component), rows >= len(ROWS_AT_ONCE)
    if several and y.ld >= TILE_LANES:
        convolve_windows(taps, seen, y, rows, epilogue, plan.side, plan.stride, ROWS_AT_ONCE, ())
    elif several:
        convolve_windows(taps, seen, y, rows, epilogue, plan.side, plan.stride, ROWS_AT_ONCE, (0,))
    else:
        convolve_windows(taps, seen, y, rows, epilogue, plan.side, plan.stride, ONE_ROW, (0,))


@Intrinsic
def convolve_windows(typing, w, frame, y, rows, epilogue, side, stride, at_once, narrow):
    """The Matrix y = the epilogue of windows of the Lines `frame` times the Rows w, one row; so many rows of columns,
    len(at_once) of them, or more, len(at_once) at a time: the last ones may be computed twice.  A slope that is neither
    0 nor 1 is left out.

    side, stride: as long as a window's; narrow: () where there are TILE_LANES columns or more.
    """

    def generate(context, builder, signature, args):
        writer = Writer(context, builder, signature, args, TILE_LANES)
        w, frame, y, rows = operand(writer, 0), operand(writer, 1), operand(writer, 2), writer.integer(3)
        scale, bias, slope = (vectors[0] for vectors in epilogue_of(writer, 4))
        side, stride, at_once, narrow = (signature.args[i].count for i in (5, 6, 7, 8))
        weights = [scale * writer.splat(builder.load(writer.at(w["data"], i))) for i in range(side * side)]
        floor = writer.floor_of(slope)
        end = writer.at(y["data"], builder.mul(rows, y["ld"]))
        with steps(builder, rows, at_once) as row, steps(builder, y["ld"], TILE_LANES) as column:
            line = writer.at(frame["data"], (builder.mul(row, frame["ld"]), stride), column)
            sums = [bias] * at_once
            for seen in range((at_once - 1) * stride + side):
                for tap in range(side):
                    pixels = writer.load(writer.at(line, tap // stride, (frame["component"], tap % stride)))
                    for out in range(at_once):
                        if 0 <= seen - out * stride < side:
                            weight = weights[(seen - out * stride) * side + tap]
                            sums[out] = writer.fma(weight, pixels, sums[out])
                line = writer.at(line, frame["ld"])
            outs = [writer.at(y["data"], builder.mul(row, y["ld"]), column)]
            while len(outs) < at_once:
                outs.append(writer.at(outs[-1], y["ld"]))
            values = [writer.at_least(total, floor) for total in sums]
            if narrow:
                _store_narrow(writer, values, outs, y["ld"], end)
            else:
                for value, out in zip(values, outs, strict=True):
                    writer.store(value, out)
        return context.get_dummy_value()

    return void(w, frame, y, rows, epilogue, side, stride, at_once, narrow), generate


def _store_narrow(w, values, lines, n, end):
    """Store n elements of each vector or, where that is not beyond the end, all of it: lines that follow come later."""

    def fits(line):
        return w.b.icmp_unsigned("<=", w.at(line, TILE_LANES), end)

    with w.b.if_else(fits(lines[-1])) as (inside, last):
        with inside:
            for value, line in zip(values, lines, strict=True):
                w.store(value, line)
        with last:
            for value, line in zip(values, lines, strict=True):
                with w.b.if_else(fits(line)) as (whole, few):
                    with whole:
                        w.store(value, line)
                    with few:
                        w.store_some(value, line, w.below(n))
