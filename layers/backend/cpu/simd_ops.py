"""Lines of 16 elements: copied, added up, transposed."""

from __future__ import annotations

from demitasse.layers.backend.cpu import processor
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.simd import LANES, Writer, void

AHEAD = 64  # floats in a line: what is transposed next is fetched meanwhile


@Intrinsic
def copy(typing, a, ia, b, ib, n):
    """b[ib : ib + n] = a[ia : ia + n]"""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        cgutils.raw_memcpy(builder, w.pointer(2), w.pointer(0), w.integer(4), 4)
        return context.get_dummy_value()

    return void(a, ia, b, ib, n), generate


@Intrinsic
def copy_block(typing, a, ia, b, ib, elements):
    """b[ib : ib + n] = a[ia : ia + n] for n = len(elements), in whole vectors."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, signature.args[4].count)
        w.store(w.load(w.pointer(0)), w.pointer(2))
        return context.get_dummy_value()

    return void(a, ia, b, ib, elements), generate


@Intrinsic
def copy_every(typing, a, ia, b, ib, step):
    """b[ib + i] = a[ia + i * len(step)] for 16 elements; reads 16 * len(step)."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        w.store(w.deinterleave(w.pointer(0), signature.args[4].count, 1)[0], w.pointer(2))
        return context.get_dummy_value()

    return void(a, ia, b, ib, step), generate


@Intrinsic
def copy_pairs(typing, a, ia, b, even, odd, pairs):
    """b[even + i] = a[ia + 2 * i] and b[odd + i] = a[ia + 2 * i + 1] for i < len(pairs)."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, signature.args[5].count)
        out = w.context.make_array(signature.args[2])(w.context, builder, args[2]).data
        for i, vector in enumerate(w.deinterleave(w.pointer(0), 2, 2)):
            w.store(vector, w.at(out, w.integer(3 + i)))
        return context.get_dummy_value()

    return void(a, ia, b, even, odd, pairs), generate


@Intrinsic
def scale_and_add(typing, q, iq, y, iy, scale, bias, slope):
    """y[iy + i] = relu(q[iq + i] * scale + bias) for 16 elements; slope 1: no relu."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        value = w.fma(w.load(w.pointer(0)), w.splat(args[4]), w.splat(args[5]))
        w.store(w.relu(value, w.splat(args[6])), w.pointer(2))
        return context.get_dummy_value()

    return void(q, iq, y, iy, scale, bias, slope), generate


@Intrinsic
def scale_and_add_some(typing, q, iq, y, iy, n, scale, bias, slope):
    """scale_and_add for the first n of 16 elements."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        first = w.below(w.integer(4))
        value = w.fma(w.load_some(w.pointer(0), first), w.splat(args[5]), w.splat(args[6]))
        w.store_some(w.relu(value, w.splat(args[7])), w.pointer(2), first)
        return context.get_dummy_value()

    return void(q, iq, y, iy, n, scale, bias, slope), generate


@Intrinsic
def add_scaled(typing, scale, a, ia, b, ib):
    """b[ib + i] += scale * a[ia + i] for 16 elements."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        place = w.pointer(3)
        w.store(w.fma(w.splat(args[0]), w.load(w.pointer(1)), w.load(place)), place)
        return context.get_dummy_value()

    return void(scale, a, ia, b, ib), generate


def _transposed(rows):
    """The columns of a square of vectors: off-diagonal blocks of size `step` are swapped."""
    rows, size, step = list(rows), len(rows), 1
    while step < size:
        low = [lane if not lane & step else size + lane - step for lane in range(size)]
        high = [lane + step if not lane & step else size + lane for lane in range(size)]
        for i in range(size):
            if not i & step:
                x, y = rows[i], rows[i + step]
                rows[i], rows[i + step] = x.shuffle(y, low), x.shuffle(y, high)
        step *= 2
    return rows


@Intrinsic
def transpose_tile(typing, a, ia, lda, b, ib, ldb):
    """b[j, i] = a[i, j] for 16 x 16 elements."""

    def generate(context, builder, signature, args):
        _, _, floats = processor.vector_registers()
        size = min(LANES, max(4, floats))  # of the squares that registers have room for: one after another
        w = Writer(context, builder, signature, args, size)
        pa, pb, lda, ldb = w.pointer(0), w.pointer(3), w.integer(2), w.integer(5)
        for i in range(0, LANES, size):
            for j in range(0, LANES, size):
                rows = []
                for row in range(i, i + size):
                    here = w.at(pa, (lda, row), j)
                    rows.append(w.load(here))
                    if j == 0:
                        w.fetch(w.at(here, AHEAD))
                for row, value in enumerate(_transposed(rows), j):
                    w.store(value, w.at(pb, (ldb, row), i))
                w.end_line()
        return context.get_dummy_value()

    return void(a, ia, lda, b, ib, ldb), generate
