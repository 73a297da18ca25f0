"""The product of a matrix and a vector: some rows of weights, as they lie, at a time, with lanes along the sum."""

from __future__ import annotations

from llvmlite import ir

from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, epilogue_of, lines_of
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import F32, I64, Vec, Writer, void


@Intrinsic
def convolve_column(typing, w, x, y, depth, add, epilogue, ahead, rows):
    """y[i, 0] (+)= the sum over p < depth of w[i, p] * x[p] for the Rows w, at most len(rows) of them whose weights lie
    side by side, and the epilogue as in convolve_tiles.  x, y: Matrices; ahead: how far from these weights those lie
    that are next."""

    def generate(context, builder, signature, args):
        writer = Writer(context, builder, signature, args, TILE_LANES)
        w, x, y, depth, add, ahead = *(operand(writer, i) for i in range(3)), *map(writer.integer, (3, 4, 6))
        count, step = signature.args[7].count, ir.Constant(I64, TILE_LANES)
        lines = lines_of(writer, w["data"], w["row_stride"], count, w["count"])
        outs = lines_of(writer, y["data"], y["ld"], count, w["count"])
        sums = [cgutils.alloca_once_value(builder, writer.zero().value) for _ in lines]

        def add_products(p, load):
            right = load(writer.at(x["data"], p))
            for line, total in zip(lines, sums, strict=True):
                product = writer.fma(load(writer.at(line, p)), right, Vec(builder, builder.load(total)))
                builder.store(product.value, total)

        with cgutils.for_range(builder, builder.sdiv(depth, step)) as loop:
            at = builder.mul(loop.index, step)
            add_products(at, writer.load)
            for line in lines:
                writer.fetch(writer.at(line, at, ahead))
        rest = builder.srem(depth, step)
        with builder.if_then(builder.icmp_signed("!=", rest, ir.Constant(I64, 0))):
            first = writer.below(rest)
            add_products(builder.sub(depth, rest), lambda pointer: writer.load_some(pointer, first))
        scalar = Writer(context, builder, signature, args, 1)
        scale, bias, slope = epilogue_of(scalar, 5, count, w["count"])
        adds = builder.icmp_signed("!=", add, ir.Constant(I64, 0))
        old = [
            builder.select(adds, builder.load(out), ir.Constant(F32, 0.0)) for out in outs
        ]  # the last may be repeated
        for i, (total, out) in enumerate(zip(sums, outs, strict=True)):
            value = scalar.splat(builder.fadd(writer.sum_of(Vec(builder, builder.load(total))), old[i]))
            scalar.store(scalar.at_least(scalar.fma(value, scale[i], bias[i]), scalar.floor_of(slope[i])), out)
        return context.get_dummy_value()

    return void(w, x, y, depth, add, epilogue, ahead, rows), generate
