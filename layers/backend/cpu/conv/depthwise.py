"""Convolution of each channel on its own (MobileNet's depthwise convolutions), forward.

Some rows of a channel are framed (see direct_forward) in memory of the thread's own, where they stay in the innermost
cache.  For the common kernels there is vector code that makes several rows of outputs at a time, so that a pixel is
read once for all of them that see it in its column.  For any other kernel the taps are added up, many pixels at a
time, line after line of the frame; pixels beyond the end of an output line are computed too and left out.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, convolve_tile, epilogue_of
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, OffsetRows, Rows, operand
from demitasse.layers.backend.cpu.simd import I64, Vec, Writer, void
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work

WIDE = 64  # pixels at a time, where there is no vector code for the kernel
ONE_ROW, ALL_VECTORS = (0,), (0,) * (WIDE // TILE_LANES)
BAND_FLOATS = 1 << 12
ROWS_AT_ONCE = (0,) * 4


class DepthwisePlan(NamedTuple):
    """A job is a channel of an image, or a part of its rows, of which band_rows are worked through at a time."""

    shape: ConvShape
    band_rows: int  # of outputs
    reach: int  # rows of the frame beyond those
    ld: int  # pixels of a framed line
    component: int  # pixels of a framed polyphase component
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


@kernel
def depthwise(state, scratch, x, w, outputs, y, offsets, plan):
    """y = relu(scale * the convolution of x + bias): Outputs.

    offsets: where in the frame each tap begins; scratch: a frame, then outputs.
    """
    shape, least = plan.shape, len(ROWS_AT_ONCE)
    me = enter(state)
    frame, sums = scratch[me][: plan.frame_floats], scratch[me][plan.frame_floats :]
    planes, bands = shape.images * shape.c_in, band_count(state, shape.out_h, shape.out_w)
    for job in work(state, me, 0, planes * bands):
        plane, (first, end) = job % planes, partition(shape.out_h, job // planes, bands)
        c = plane % shape.c_in
        taps, epilogue = Rows(w, c * len(offsets), 0, 1, 1), Epilogue(outputs, c, True)
        for row0 in range(first, end, plan.band_rows):
            if end - first >= least:
                row0 = min(row0, end - least)  # some rows are computed twice, rather than one alone
            rows = min(plan.band_rows, end - row0)
            gap = plan.component - (rows + plan.reach) * plan.ld
            start = plane * shape.height * shape.width
            frame_plane(x, start, shape, row0, rows + plan.reach, plan.ld, frame, 0, gap)
            out = Matrix(y, (plane * shape.out_h + row0) * shape.out_w, shape.out_w)
            if len(plan.side) > 0 and rows >= least:
                _convolve_rows(taps, frame, plan, rows, out, sums, epilogue)
                continue
            for j in range(0, rows * plan.ld, WIDE):
                seen = OffsetRows(frame, j, offsets, 0)
                convolve_tile(taps, seen, Matrix(sums, j, 0), len(offsets), False, epilogue, ONE_ROW, ALL_VECTORS)
            for i in range(rows):
                copy(sums, i * plan.ld, y, out.start + i * out.ld, out.ld)


@inner_kernel
def _convolve_rows(taps, frame, plan, rows, y, sums, epilogue):
    """`rows` of outputs, some at a time; the last ones may be computed twice."""
    for i in range(0, rows, len(ROWS_AT_ONCE)):
        i = min(i, rows - len(ROWS_AT_ONCE))
        seen, out = Matrix(frame, i * plan.ld, plan.ld), Matrix(y.data, y.start + i * y.ld, y.ld)
        narrow = y.ld < TILE_LANES
        if narrow:
            out = Matrix(sums, 0, TILE_LANES)
        columns = max(y.ld, TILE_LANES)
        convolve_windows(taps, seen, plan.component, out, columns, epilogue, plan.side, plan.stride, ROWS_AT_ONCE)
        if narrow:
            for k in range(len(ROWS_AT_ONCE)):
                copy(sums, k * TILE_LANES, y.data, y.start + (i + k) * y.ld, y.ld)


@Intrinsic
def convolve_windows(typing, w, frame, component, y, columns, epilogue, side, stride, rows):
    """The Matrix y = the epilogue of windows of the frame times the Rows w, one row; len(rows) rows of `columns`,
    TILE_LANES or more.

    frame: a Matrix, from the first window's first pixel on, sorted by remainders of len(stride); component: pixels of
    one of them; side: as long as a window's.
    """

    def generate(context, builder, signature, args):
        writer = Writer(context, builder, signature, args, TILE_LANES)
        w, frame, component, y, columns = (
            operand(writer, 0),
            operand(writer, 1),
            writer.integer(2),
            operand(writer, 3),
            writer.integer(4),
        )
        scale, bias, slope = (vectors[0] for vectors in epilogue_of(writer, 5))
        side, stride, rows = (signature.args[i].count for i in (6, 7, 8))
        weights = [scale * writer.splat(builder.load(writer.at(w["data"], i))) for i in range(side * side)]
        lines = [[frame["data"]] for _ in range(stride)]  # of the first component in x
        for a, line in enumerate(lines):
            line[0] = writer.at(line[0], (component, a * min(stride, side)))
            for _ in range(rows - 1 + (side - 1 - a) // stride):
                line.append(writer.at(line[-1], frame["ld"]))
        vectors = builder.sdiv(builder.add(columns, ir.Constant(I64, TILE_LANES - 1)), ir.Constant(I64, TILE_LANES))
        last = builder.sub(columns, ir.Constant(I64, TILE_LANES))
        with cgutils.for_range(builder, vectors) as loop:
            column = builder.mul(loop.index, ir.Constant(I64, TILE_LANES))
            column = builder.select(builder.icmp_signed("<", column, last), column, last)
            sums = [bias] * rows
            for a, here in enumerate(lines):
                for row, line in enumerate(here):
                    for tap in range(side):
                        seen = [(row - ty // stride, ty) for ty in range(a, side, stride)]
                        seen = [(out, ty) for out, ty in seen if 0 <= out < rows]
                        place = writer.at(line, column, (component, tap % stride), tap // stride)
                        pixels = writer.load(place)
                        for out, ty in seen:
                            sums[out] = writer.fma(weights[ty * side + tap], pixels, sums[out])
            out = writer.at(y["data"], column)
            for total in sums:
                writer.store(writer.relu(Vec(builder, total.value), slope), out)
                out = writer.at(out, y["ld"])
        return context.get_dummy_value()

    return void(w, frame, component, y, columns, epilogue, side, stride, rows), generate
