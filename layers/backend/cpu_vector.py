"""Vector code for Numba kernels, written once for every processor: LLVM picks AVX-512, AVX2 or NEON.

Numba has no vector type, so the few inner loops that decide the speed are *intrinsics*: Python functions
that write LLVM instructions.  All of them work on vectors of 16 floats.  Arrays come as (array, offset in elements).
A size that must be known while the code is written (the m and r of a tile) travels as the length of a tuple,
so that one text compiles, lazily, to one kernel per size and can be cached on disk.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
LOWEST = np.finfo(np.float32).min
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FUSE = ("contract",)


def _tile_shape():
    """(rows, vectors, lanes) of the register tile of the matrix product: it must leave registers for operands."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 8, 3, 16
    if features.get("avx"):
        return 4, 3, 8
    return 8, 3, 4  # 32 registers of 4 floats (NEON); right, if slower, on anything else


TILE_ROWS, TILE_VECTORS, TILE_LANES = _tile_shape()


class Vec:
    """A vector of floats in a function under construction; + - * write instructions."""

    def __init__(self, b, value):
        self.b, self.value = b, value

    def __add__(self, other):
        return Vec(self.b, self.b.fadd(self.value, other.value, flags=FUSE))

    def __sub__(self, other):
        return Vec(self.b, self.b.fsub(self.value, other.value, flags=FUSE))

    def __mul__(self, other):
        other = (
            other.value
            if isinstance(other, Vec)
            else ir.Constant(self.value.type, [ir.Constant(F32, float(other))] * self.value.type.count)
        )
        return Vec(self.b, self.b.fmul(self.value, other, flags=FUSE))

    def shuffle(self, other, lanes):
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), [ir.Constant(I32, n) for n in lanes])
        return Vec(self.b, self.b.shuffle_vector(self.value, other.value, mask))


class Writer:
    """Loads, stores and arguments of one intrinsic."""

    def __init__(self, context, builder, signature, args, lanes=LANES):
        self.context, self.b, self.signature, self.args = context, builder, signature, args
        self.type = ir.VectorType(F32, lanes)

    def integer(self, i):
        return self.context.cast(self.b, self.args[i], self.signature.args[i], types.int64)

    def pointer(self, i):
        """The address of arguments (array, offset) at i, i + 1."""
        array = self.context.make_array(self.signature.args[i])(self.context, self.b, self.args[i])
        return self.b.gep(array.data, [self.integer(i + 1)])

    def at(self, pointer, *terms):
        """pointer + the sum of terms: integers, values, or (value, integer) products."""
        for t in terms:
            if isinstance(t, tuple):
                t = self.b.mul(t[0], ir.Constant(I64, t[1]))
            pointer = self.b.gep(pointer, [ir.Constant(I64, t) if isinstance(t, int) else t])
        return pointer

    def load(self, pointer):
        value = self.b.load(self.b.bitcast(pointer, self.type.as_pointer()))
        value.align = 4
        return Vec(self.b, value)

    def store(self, vec, pointer):
        self.b.store(vec.value, self.b.bitcast(pointer, vec.value.type.as_pointer())).align = 4

    def splat(self, scalar):
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.b.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return Vec(self.b, one).shuffle(Vec(self.b, undefined), [0] * self.type.count)

    def fma(self, x, y, z):
        name = f"llvm.fma.v{self.type.count}f32"
        function = cgutils.get_or_insert_function(self.b.module, ir.FunctionType(self.type, [self.type] * 3), name)
        return Vec(self.b, self.b.call(function, [x.value, y.value, z.value]))

    def zero(self):
        return Vec(self.b, ir.Constant(self.type, [ir.Constant(F32, 0.0)] * self.type.count))

    def relu(self, x, slope):
        """x where x > 0, else slope * x (+ 0, so that slope 0 gives no -0); NaN stays NaN."""
        positive = self.b.fcmp_ordered(">", x.value, self.zero().value)
        return Vec(self.b, self.b.select(positive, x.value, self.fma(slope, x, self.zero()).value))

    def deinterleave(self, pointer, m, taps):
        """taps vectors; lane l of vector i holds element l * m + i."""
        loaded = {}
        phases = []
        for tap in range(taps):
            base, phase = tap // m * m, tap % m
            if base not in loaded:
                loaded[base] = [self.load(self.at(pointer, base + q * LANES)) for q in range(m)]
            phases.append(self._pick(loaded[base], [lane * m + phase for lane in range(LANES)]))
        return phases

    def interleave(self, phases):
        """The inverse: len(phases) vectors of contiguous elements."""
        m = len(phases)
        return [
            self._pick(phases, [(e % m) * LANES + e // m for e in range(q * LANES, (q + 1) * LANES)]) for q in range(m)
        ]

    def _pick(self, vectors, wanted):
        """The vector of elements `wanted` of the concatenation of `vectors`, two at a time."""
        result, have = None, {}
        for q, vector in enumerate(vectors):
            mine = {lane: e - q * LANES for lane, e in enumerate(wanted) if e // LANES == q}
            if not mine:
                continue
            if result is None:
                result = vector.shuffle(vector, [mine.get(lane, 0) for lane in range(LANES)])
            else:
                lanes = [LANES + mine[lane] if lane in mine else lane for lane in range(LANES)]
                result = result.shuffle(vector, lanes)
            have.update(mine)
        return result


def void(*args):
    """The signature of an intrinsic without result."""
    return types.void(*args)


# -- matrix product ----------------------------------------------------------------------------------------------


@intrinsic
def multiply_tile(typing, a, ia, lda, b, ib, ldb, c, ic, ldc, k, add, vectors):
    """c[i, j] (+)= sum over p < k of a[p, i] * b[p, j] for TILE_ROWS rows i and len(vectors) * TILE_LANES columns j.

    lda, ldb, ldc: elements between rows; add: nonzero adds to c.  The sum runs upwards in p: the same bits wherever
    the tile lies.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        pa, pb, pc = w.pointer(0), w.pointer(3), w.pointer(6)
        lda, ldb, ldc, k, add = (w.integer(i) for i in (2, 5, 8, 9, 10))
        rows, columns = range(TILE_ROWS), range(signature.args[11].count)
        zero = ir.Constant(w.type, [ir.Constant(F32, 0.0)] * TILE_LANES)
        entry, head = builder.block, builder.append_basic_block("head")
        body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        p, qa, qb = builder.phi(I64), builder.phi(pa.type), builder.phi(pb.type)
        for phi, start in ((p, ir.Constant(I64, 0)), (qa, pa), (qb, pb)):
            phi.add_incoming(start, entry)
        sums = [[builder.phi(w.type) for _ in columns] for _ in rows]
        for row in sums:
            for phi in row:
                phi.add_incoming(zero, entry)
        builder.cbranch(builder.icmp_signed("<", p, k), body, done)
        builder.position_at_end(body)
        right = [w.load(w.at(qb, j * TILE_LANES)) for j in columns]
        for i in rows:
            left = w.splat(builder.load(w.at(qa, i)))
            for j in columns:
                sums[i][j].add_incoming(w.fma(left, right[j], Vec(builder, sums[i][j])).value, body)
        p.add_incoming(builder.add(p, ir.Constant(I64, 1)), body)
        qa.add_incoming(w.at(qa, lda), body)
        qb.add_incoming(w.at(qb, ldb), body)
        builder.branch(head)
        builder.position_at_end(done)
        row_pointers = [pc]
        for _ in rows:
            row_pointers.append(w.at(row_pointers[-1], ldc))
        with builder.if_else(builder.icmp_signed("!=", add, ir.Constant(I64, 0))) as (adding, setting):
            for branch, old in ((adding, True), (setting, False)):
                with branch:
                    for i in rows:
                        for j in columns:
                            place = w.at(row_pointers[i], j * TILE_LANES)
                            value = Vec(builder, sums[i][j])
                            w.store(value + w.load(place) if old else value, place)
        return context.get_dummy_value()

    return void(a, ia, lda, b, ib, ldb, c, ic, ldc, k, add, vectors), generate


@intrinsic
def copy(typing, a, ia, b, ib, n):
    """b[ib : ib + n] = a[ia : ia + n]"""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        cgutils.raw_memcpy(builder, w.pointer(2), w.pointer(0), w.integer(4), 4)
        return context.get_dummy_value()

    return void(a, ia, b, ib, n), generate


@intrinsic
def copy_every(typing, a, ia, b, ib, step):
    """b[ib + i] = a[ia + i * len(step)] for 16 elements; reads 16 * len(step)."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        w.store(w.deinterleave(w.pointer(0), signature.args[4].count, 1)[0], w.pointer(2))
        return context.get_dummy_value()

    return void(a, ia, b, ib, step), generate


@intrinsic
def add_bias(typing, q, iq, y, iy, bias, slope):
    """y[iy + i] = relu(q[iq + i] + bias) for 16 elements; slope 1: no relu."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        value = w.load(w.pointer(0)) + w.splat(args[4])
        w.store(w.relu(value, w.splat(args[5])), w.pointer(2))
        return context.get_dummy_value()

    return void(q, iq, y, iy, bias, slope), generate


@intrinsic
def add_scaled(typing, scale, a, ia, b, ib):
    """b[ib + i] += scale * a[ia + i] for 16 elements."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        place = w.pointer(3)
        w.store(w.fma(w.splat(args[0]), w.load(w.pointer(1)), w.load(place)), place)
        return context.get_dummy_value()

    return void(scale, a, ia, b, ib), generate


@intrinsic
def transpose_tile(typing, a, ia, lda, b, ib, ldb):
    """b[j, i] = a[i, j] for 16 x 16 elements."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        pa, pb, lda, ldb = w.pointer(0), w.pointer(3), w.integer(2), w.integer(5)
        rows = []
        for _ in range(LANES):
            rows.append(w.load(pa))
            pa = w.at(pa, lda)
        step = 1
        while step < LANES:  # swap off-diagonal blocks of size step
            low = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
            high = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
            for i in range(LANES):
                if not i & step:
                    x, y = rows[i], rows[i + step]
                    rows[i], rows[i + step] = x.shuffle(y, low), x.shuffle(y, high)
            step *= 2
        for row in rows:
            w.store(row, pb)
            pb = w.at(pb, ldb)
        return context.get_dummy_value()

    return void(a, ia, lda, b, ib, ldb), generate


@intrinsic
def max_tile(typing, x, ix, width, y, iy, index, ii, place, kernel, stride):
    """y, index = the largest of each of 16 windows side by side and its place; the first of equals, never NaN.

    The windows (len(kernel) square, len(stride) apart) lie inside the image: the first pixel of the first is x[ix]
    and has number `place` in its plane; width: pixels from line to line.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        px, width, py, pi, place = w.pointer(0), w.integer(2), w.pointer(3), w.pointer(5), w.integer(7)
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
            here = numbers(place)
            for tap, value in enumerate(w.deinterleave(px, stride, kernel)):
                wins = builder.fcmp_ordered(">", value.value, best)
                best = builder.select(wins, value.value, best)
                number = builder.add(here, ir.Constant(integers, [ir.Constant(I32, tap)] * LANES))
                where = builder.select(wins, number, where)
            px, place = w.at(px, width), builder.add(place, width)
        w.store(Vec(builder, best), py)
        builder.store(where, builder.bitcast(pi, integers.as_pointer())).align = 4
        return context.get_dummy_value()

    return void(x, ix, width, y, iy, index, ii, place, kernel, stride), generate
