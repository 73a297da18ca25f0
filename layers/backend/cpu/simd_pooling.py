"""The largest pixel or the mean of windows side by side."""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import F32, I32, I64, LANES, Vec, Writer, steps, void

LOWEST = np.finfo(np.float32).min


@Intrinsic
def max_tile(typing, x, ix, width, y, iy, index, ii, position, kernel, stride):
    """y, index = the largest of each of 16 windows side by side and its position; the first of equals, never NaN.

    The windows (len(kernel) square, len(stride) apart) lie inside the image: the first pixel of the first is x[ix]
    and has number `position` in its plane; width: pixels from line to line.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        px, width, py, pi, position = w.pointer(0), w.integer(2), w.pointer(3), w.pointer(5), w.integer(7)
        kernel, stride = signature.args[8].count, signature.args[9].count
        integers = ir.VectorType(I32, LANES)

        def numbers(first):
            one = builder.insert_element(
                ir.Constant(integers, ir.Undefined), builder.trunc(first, I32), ir.Constant(I32, 0)
            )
            all_lanes = builder.shuffle_vector(one, one, ir.Constant(integers, [ir.Constant(I32, 0)] * LANES))
            return builder.add(all_lanes, ir.Constant(integers, [ir.Constant(I32, i * stride) for i in range(LANES)]))

        best = ir.Constant(w.type, [ir.Constant(F32, float(LOWEST))] * LANES)
        where = ir.Constant(integers, [ir.Constant(I32, -1)] * LANES)
        for _ in range(kernel):
            here = numbers(position)
            for tap, value in enumerate(w.deinterleave(px, stride, kernel)):
                wins = builder.fcmp_ordered(">", value.value, best)
                best = builder.select(wins, value.value, best)
                number = builder.add(here, ir.Constant(integers, [ir.Constant(I32, tap)] * LANES))
                where = builder.select(wins, number, where)
            px, position = w.at(px, width), builder.add(position, width)
        w.store(Vec(builder, best), py)
        builder.store(where, builder.bitcast(pi, integers.as_pointer())).align = 4
        return context.get_dummy_value()

    return void(x, ix, width, y, iy, index, ii, position, kernel, stride), generate


@Intrinsic
def fold_lines(typing, x, ix, width, lines, y, iy, largest, narrow):
    """y[iy + i] = the sum of x[ix + i + line * width] over so many lines for i < width; the largest of them, LOWEST if
    all are NaN, where `largest` is not ().

    narrow: () where a line has TILE_LANES pixels or more; else so many are written, 0 or LOWEST beyond the line.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        px, width, lines, py = w.pointer(0), w.integer(2), w.integer(3), w.pointer(4)
        largest, narrow = signature.args[6].count, signature.args[7].count
        none = ir.Constant(w.type, [ir.Constant(F32, float(LOWEST) if largest else 0.0)] * TILE_LANES)
        inside = w.below(width)
        with steps(builder, width, TILE_LANES) as column:
            total = cgutils.alloca_once_value(builder, none)
            with cgutils.for_range(builder, lines) as loop:
                here = w.at(px, column, builder.mul(loop.index, width))
                value, old = w.load_some(here, inside) if narrow else w.load(here), Vec(builder, builder.load(total))
                builder.store(_fold(w, old, value, largest).value, total)
            value = builder.load(total)
            w.store(Vec(builder, builder.select(inside, value, none) if narrow else value), w.at(py, column))
        return context.get_dummy_value()

    return void(x, ix, width, lines, y, iy, largest, narrow), generate


@Intrinsic
def fold_windows(typing, x, y, height, widths, kernel, stride, largest, narrow, exact):
    """The Matrix y, one row of y.ld means: y[i] = the sum of x[i * len(stride) + tap] over len(kernel) taps, over
    height * widths[i], at least 1; the largest of them where `largest` is not (): then x holds no NaN.

    narrow: () where y has TILE_LANES columns or more; else so many are written unless `exact`.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        px, y = context.make_array(signature.args[0])(context, builder, args[0]).data, operand(w, 1)
        taps, step, largest, narrow = (signature.args[i].count for i in range(4, 8))
        py, n = y["data"], y["ld"]
        inside, one = w.below(n), ir.Constant(w.type, [ir.Constant(F32, 1.0)] * TILE_LANES)
        areas = context.make_array(signature.args[3])(context, builder, args[3]).data
        with steps(builder, n, TILE_LANES) as column:
            total, *others = w.deinterleave(w.at(px, (column, step)), step, taps)
            for other in others:
                total = _fold(w, total, other, largest)
            if not largest:
                here = w.at(areas, column)
                area = (w.load_some(here, inside) if narrow else w.load(here)) * w.splat(args[2])
                area = builder.select(builder.fcmp_ordered(">", area.value, one), area.value, one)
                total = Vec(builder, builder.fdiv(total.value, area))
            if narrow:
                with builder.if_else(builder.icmp_signed("!=", w.integer(8), I64(0))) as (few, all_):
                    with few:
                        w.store_some(total, py, inside)
                    with all_:
                        w.store(total, py)
            else:
                w.store(total, w.at(py, column))
        return context.get_dummy_value()

    return void(x, y, height, widths, kernel, stride, largest, narrow, exact), generate


def _fold(w, total, value, largest):
    """The sum, or the larger of two vectors: the first unless the other is greater."""
    if not largest:
        return total + value
    return Vec(w.b, w.b.select(w.b.fcmp_ordered(">", value.value, total.value), value.value, total.value))
