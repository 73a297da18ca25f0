"""The product of a matrix and a few vectors: some rows of weights, as they lie, at a time, with lanes along the sum."""

from __future__ import annotations

from llvmlite import ir

from demitasse.layers.backend.cpu.conv_microkernel import epilogue_of
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, lines_of
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import F32, I64, Vec, Writer, void


@Intrinsic
def convolve_columns(typing, w, x, y, depth, add, epilogue, ahead, rows, columns):
    """y[i, j] (+)= the sum over p < depth of w[i, p] * x[j, p] for the Rows w, at most len(rows) of them whose weights
    lie side by side, len(columns) lines of x, and the epilogue as in convolve_tiles.  x, y: Matrices; ahead: how far
    from these weights those lie that are next."""

    def generate(context, builder, signature, args):
        writer = Writer(context, builder, signature, args, TILE_LANES)
        w, x, y, depth, add, ahead = *(operand(writer, i) for i in range(3)), *map(writer.integer, (3, 4, 6))
        count, step = signature.args[7].count, I64(TILE_LANES)
        lines = lines_of(writer, w["data"], w["row_stride"], count, w["count"])
        outs = lines_of(writer, y["data"], y["ld"], count, w["count"])
        columns = [writer.at(x["data"], (x["ld"], j)) for j in range(signature.args[8].count)]
        sums = [[cgutils.alloca_once_value(builder, writer.zero().value) for _ in columns] for _ in lines]

        def add_products(p, load):
            right = [load(writer.at(column, p)) for column in columns]
            for line, totals in zip(lines, sums, strict=True):
                left = load(writer.at(line, p))
                for vector, total in zip(right, totals, strict=True):
                    builder.store(writer.fma(left, vector, Vec(builder, builder.load(total))).value, total)

        with cgutils.for_range(builder, builder.sdiv(depth, step)) as loop:
            at = builder.mul(loop.index, step)
            add_products(at, writer.load)
            for line in lines:
                writer.fetch(writer.at(line, at, ahead))
        rest = builder.srem(depth, step)
        with builder.if_then(builder.icmp_signed("!=", rest, I64(0))):
            first = writer.below(rest)
            add_products(builder.sub(depth, rest), lambda pointer: writer.load_some(pointer, first))
        scalar = Writer(context, builder, signature, args, 1)
        scale, bias, slope = epilogue_of(scalar, 5, count, w["count"])
        adds = builder.icmp_signed("!=", add, I64(0))
        places = [[writer.at(out, j) for j in range(len(columns))] for out in outs]  # the last may be repeated
        old = [[builder.select(adds, builder.load(at), ir.Constant(F32, 0.0)) for at in line] for line in places]
        for i, totals in enumerate(sums):
            for j, total in enumerate(totals):
                value = builder.fadd(writer.sum_of(Vec(builder, builder.load(total))), old[i][j])
                value = scalar.fma(scalar.splat(value), scale[i], bias[i])
                scalar.store(scalar.at_least(value, scalar.floor_of(slope[i])), places[i][j])
        return context.get_dummy_value()

    return void(w, x, y, depth, add, epilogue, ahead, rows, columns), generate
