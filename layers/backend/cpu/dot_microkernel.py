"""Products whose sums run along the lines of both matrices: some rows of each at a time, with lanes along the sum, so
that nothing has to be packed or transposed.
"""

from __future__ import annotations

from typing import NamedTuple

from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, lines_of
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import I64, Vec, Writer, void


class Lines(NamedTuple):
    """What a sum runs along: `count` lines of n elements, so far apart in a and in b."""

    count: int
    n: int
    a_ld: int
    b_ld: int


@Intrinsic
def add_dots(typing, a, b, columns, c, lines, rows, vectors):
    """c[i, j] += the sum over the Lines of a's row i times b's row j, for at most len(rows) of the Rows a, whose
    elements lie side by side, and the first `columns` <= len(vectors) of the OffsetRows b.  c: a Matrix."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        a, b, columns, c = operand(w, 0), operand(w, 1), w.integer(2), operand(w, 3)
        count, n, a_ld, b_ld = (builder.extract_value(args[4], i) for i in range(4))
        height, width, step = signature.args[5].count, signature.args[6].count, I64(TILE_LANES)
        left, right = lines_of(w, a["data"], a["row_stride"], height, a["count"]), _rows_of(w, b, width, columns)
        sums = [[cgutils.alloca_once_value(builder, w.zero().value) for _ in right] for _ in left]

        def add_products(at_a, at_b, load):
            vectors = [load(w.at(row, at_b)) for row in right]
            for row, totals in zip(left, sums, strict=True):
                x = load(w.at(row, at_a))
                for y, total in zip(vectors, totals, strict=True):
                    builder.store(w.fma(x, y, Vec(builder, builder.load(total))).value, total)

        with cgutils.for_range(builder, count) as line:
            start_a, start_b = builder.mul(line.index, a_ld), builder.mul(line.index, b_ld)
            with cgutils.for_range(builder, builder.sdiv(n, step)) as part:
                p = builder.mul(part.index, step)
                add_products(builder.add(start_a, p), builder.add(start_b, p), w.load)
            rest = builder.srem(n, step)
            with builder.if_then(builder.icmp_signed("!=", rest, I64(0))):
                p, first = builder.sub(n, rest), w.below(rest)
                add_products(builder.add(start_a, p), builder.add(start_b, p), lambda at: w.load_some(at, first))
        for i, totals in enumerate(sums):
            for j, total in enumerate(totals):
                wanted = [builder.icmp_signed("<", I64(at), end) for at, end in ((i, a["count"]), (j, columns))]
                with builder.if_then(builder.and_(*wanted)):
                    here = w.at(c["data"], builder.mul(c["ld"], I64(i)), j)
                    value = w.sum_of(Vec(builder, builder.load(total)))
                    builder.store(builder.fadd(builder.load(here), value), here)
        return context.get_dummy_value()

    return void(a, b, columns, c, lines, rows, vectors), generate


def _rows_of(w, b, count, n):
    """Pointers to `count` of the OffsetRows; those after the first n are the first one again."""
    offsets = w.at(b["offsets"].data, b["first"])
    numbers = [w.b.select(w.b.icmp_signed("<", I64(j), n), I64(j), I64(0)) for j in range(count)]
    return [w.at(b["data"], w.b.load(w.at(offsets, j))) for j in numbers]
