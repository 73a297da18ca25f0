"""The few columns of outputs that are left beyond whole strips: 1 of 7 x 7, 4 of 14 x 14, the one of a 1 x 1 image.

Most lanes of a register tile would be idle.  So each of these columns of im2col is packed as a line of its own, and
lanes add up parts of the sum: the product of a row of weights, as it lies, and that line.
"""

from __future__ import annotations

from llvmlite import ir

from demitasse.layers.backend.cpu.gemm_microkernel import (
    NARROW,
    ROWS,
    STRIP,
    TILE_LANES,
    VECTORS,
    convolve_tile,
    epilogue_of,
    lines_of,
)
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inner_kernel
from demitasse.layers.backend.cpu.operands import Matrix, operand
from demitasse.layers.backend.cpu.simd import F32, I64, Vec, Writer, void


@inner_kernel
def are_lines(w, columns):
    """Whether so many columns that are left are packed as lines, for the Rows w."""
    return columns % STRIP <= NARROW and w.step == 1


@inner_kernel
def pack_lines(pixels, start, offsets, plan, column, n, lines):
    """Rows of the Matrix `lines` = n columns of im2col from `column` on."""
    for j in range(n):
        at = start + column + j
        if plan.framed:
            line, first = divmod(column + j, plan.shape.out_w)
            at = start + line * plan.ld + first
        for p in range(len(offsets)):
            lines.data[lines.start + j * lines.ld + p] = pixels[at + offsets[p]]


@inner_kernel
def convolve_narrow(w, panel, lines, y, depth, add, epilogue, columns):
    """convolve_tile for fewer columns than a strip has: of the panel, or of those that are packed as lines."""
    if are_lines(w, columns):
        for j in range(columns):
            line, out = Matrix(lines.data, lines.start + j * lines.ld, 0), Matrix(y.data, y.start + j, y.ld)
            convolve_column(w, line, out, depth, add, epilogue, len(ROWS) * w.row_stride, ROWS)
    elif columns > 2 * TILE_LANES:
        convolve_tile(w, panel, y, depth, add, epilogue, ROWS, VECTORS)
    elif columns > TILE_LANES:
        convolve_tile(w, panel, y, depth, add, epilogue, ROWS, (0, 0))
    else:
        convolve_tile(w, panel, y, depth, add, epilogue, ROWS, (0,))


@Intrinsic
def convolve_column(typing, w, x, y, depth, add, epilogue, ahead, rows):
    """y[i, 0] (+)= the sum over p < depth of w[i, p] * x[p] for the Rows w, at most len(rows) of them whose weights lie
    side by side, and the epilogue.  x, y: Matrices; ahead: how far from these weights those lie that are next."""

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
            scalar.store(scalar.relu(scalar.fma(value, scale[i], bias[i]), slope[i]), out)
        return context.get_dummy_value()

    return void(w, x, y, depth, add, epilogue, ahead, rows), generate
