"""The register tiles of a convolution: products of the weights, as they lie, with rows of pixels; and what becomes of
the sums while they are in registers."""

from __future__ import annotations

from llvmlite import ir

from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, lines_of, sums_of
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, types
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import F32, I64, Writer, void


def _apart(generate):
    """An intrinsic's instructions in a function of their own, which has all registers for itself."""

    def call(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
        function = ir.Function(builder.module, kind, builder.module.get_unique_name(f"{builder.function.name}.tiles"))
        function.linkage = "internal"
        function.attributes.add("noinline")
        own = ir.IRBuilder(function.append_basic_block())
        generate(context, own, signature, function.args)
        own.ret_void()
        builder.call(function, args)
        return context.get_dummy_value()

    return call


@Intrinsic
def convolve_tiles(typing, w, x, y, tiles, depth, add, epilogue, rows, vectors):
    """y[i] (+)= the sum over p < depth of w[i, p] * x[p] for the Rows w, and the epilogue.

    x: a Matrix or OffsetRows; y: a Matrix with a line for each row; so many tiles side by side, each of len(rows) rows
    and len(vectors) * TILE_LANES columns.  add: whether to add to y: the same bits as one sum over all.  Slopes but 0
    and 1 are left out (see conv/residual.py).
    """

    @_apart
    def generate(context, builder, signature, args):
        writer = Writer(context, builder, signature, args, TILE_LANES)
        w, x, y, (tiles, depth, add) = *(operand(writer, i) for i in range(3)), map(writer.integer, (3, 4, 5))
        height, vectors = (signature.args[i].count for i in (7, 8))
        ahead = builder.mul(w["row_stride"], I64(height))
        adds = builder.icmp_signed("!=", add, I64(0))
        blocks = builder.sdiv(builder.add(w["count"], I64(height - 1)), I64(height))
        with cgutils.for_range(builder, blocks) as block:
            first = builder.mul(block.index, I64(height))
            left = builder.sub(w["count"], first)
            lines, outs = (
                lines_of(writer, writer.at(each["data"], builder.mul(first, distance)), distance, height, left)
                for each, distance in ((w, w["row_stride"]), (y, y["ld"]))
            )
            scale, bias, slope = epilogue_of(writer, 6, height, left, first)
            floors = [writer.floor_of(each) for each in slope]
            with cgutils.for_range(builder, tiles) as tile:
                column = builder.mul(tile.index, I64(vectors * TILE_LANES))
                here, seen = [writer.at(line, column) for line in outs], {**x, "data": writer.at(x["data"], column)}
                old = _old_sums(writer, here, vectors, adds)
                sums = sums_of(writer, lines, w["step"], seen, depth, vectors, old, ahead)
                for i, (row, line) in enumerate(zip(sums, here, strict=True)):
                    for j, value in enumerate(row):
                        value = writer.at_least(writer.fma(value, scale[i], bias[i]), floors[i])
                        writer.store(value, writer.at(line, j * TILE_LANES))
        return context.get_dummy_value()

    return void(w, x, y, tiles, depth, add, epilogue, rows, vectors), generate


def epilogue_of(w, i, count=1, n=None, first=None):
    """Scale, bias and slope of the Epilogue that is argument i: of each the vectors of `count` rows from `first` on;
    those after the first n of these are the last one's again."""
    outputs, channel, last = (w.b.extract_value(w.args[i], field) for field in range(3))
    last, kind = w.b.icmp_signed("!=", last, last.type(0)), types.Array(types.float32, 1, "C")
    found = []
    for field, neutral in enumerate((1.0, 0.0, 1.0)):
        array = w.context.make_array(kind)(w.context, w.b, w.b.extract_value(outputs, field))
        start = w.at(array.data, channel, *([] if first is None else [first]))
        lines = lines_of(w, start, I64(1), count, n)
        found.append([w.splat(w.b.select(last, w.b.load(line), ir.Constant(F32, neutral))) for line in lines])
    return found


def _old_sums(w, lines, vectors, add):
    """What the sums of convolve_tiles begin with: the vectors of the lines, or 0."""
    entry, old, begin = w.b.block, w.b.append_basic_block("old"), w.b.append_basic_block("begin")
    w.b.cbranch(add, old, begin)
    w.b.position_at_end(old)
    loaded = [[w.load(w.at(line, j * TILE_LANES)) for j in range(vectors)] for line in lines]
    w.b.branch(begin)
    w.b.position_at_end(begin)
    for row in loaded:
        for j, value in enumerate(row):
            row[j] = w.b.phi(w.type)
            row[j].add_incoming(value.value, old)
            row[j].add_incoming(w.zero().value, entry)
    return loaded
