"""The largest pixel of 16 windows side by side."""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.simd import F32, I32, LANES, Vec, Writer, void

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
def max_of_lines(typing, x, ix, width, lines, y, iy):
    """y[iy + i] = the largest of x[ix + i + line * width] over so many lines, LOWEST if all are NaN, for 16
    elements."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        px, width, lines = w.pointer(0), w.integer(2), w.integer(3)
        lowest = ir.Constant(w.type, [ir.Constant(F32, float(LOWEST))] * LANES)
        best = cgutils.alloca_once_value(builder, lowest)
        with cgutils.for_range(builder, lines) as loop:
            value, old = w.load(w.at(px, builder.mul(loop.index, width))), builder.load(best)
            wins = builder.fcmp_ordered(">", value.value, old)
            builder.store(builder.select(wins, value.value, old), best)
        w.store(Vec(builder, builder.load(best)), w.pointer(4))
        return context.get_dummy_value()

    return void(x, ix, width, lines, y, iy), generate


@Intrinsic
def max_every(typing, x, ix, y, iy, kernel, stride):
    """y[iy + i] = the largest of x[ix + i * len(stride) + tap] over len(kernel) taps, for 16 elements.  x holds no
    NaN."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        taps, step = signature.args[4].count, signature.args[5].count
        best, *others = w.deinterleave(w.pointer(0), step, taps)
        for other in others:
            wins = builder.fcmp_ordered(">", other.value, best.value)
            best = Vec(builder, builder.select(wins, other.value, best.value))
        w.store(best, w.pointer(2))
        return context.get_dummy_value()

    return void(x, ix, y, iy, kernel, stride), generate
