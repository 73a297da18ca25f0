"""Vector code for Numba kernels, written once for every processor: LLVM picks AVX-512, AVX2 or NEON.

Numba has no vector type, so the few inner loops that decide the speed are *intrinsics*: Python functions
that write LLVM instructions.  Most of them work on vectors of 16 floats.  Arrays come as (array, offset in elements).
A size that must be known while the code is written (the m and r of a tile) travels as the length of a tuple,
so that one text compiles, lazily, to one kernel per size and can be cached on disk.
"""

from __future__ import annotations

import contextlib

from llvmlite import ir

from demitasse.layers.backend.cpu import processor
from demitasse.layers.backend.cpu.jit import cgutils, types

LANES = 16
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FUSE = ("contract",)
OTHERS = 4  # registers beside those of the sums that a tile needs


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
        """The lanes `lanes` of this vector followed by the other."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), [ir.Constant(I32, n) for n in lanes])
        return Vec(self.b, self.b.shuffle_vector(self.value, other.value, mask))


class Writer:
    """Loads, stores and arguments of one intrinsic."""

    def __init__(self, context, builder, signature, args, lanes=LANES):
        self.context, self.b, self.signature, self.args = context, builder, signature, args
        self.lanes, self.type = lanes, ir.VectorType(F32, lanes)
        self.group = lanes if processor.level() == "x86-64-v4" else min(4, lanes)  # what shuffles are cheap within

    def integer(self, i):
        """Argument i as a 64 bit integer."""
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
        """The vector at an address, which need not be aligned."""
        value = self.b.load(self.b.bitcast(pointer, self.type.as_pointer()))
        value.align = 4
        return Vec(self.b, value)

    def store(self, vec, pointer):
        """Write a vector to an address, which need not be aligned."""
        self.b.store(vec.value, self.b.bitcast(pointer, vec.value.type.as_pointer())).align = 4

    def fetch(self, pointer):
        """Have the line of an address brought into the second cache: it is needed soon, or it does no harm."""
        pointer = self.b.bitcast(pointer, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(self.b.module, kind, "llvm.prefetch.p0")
        self.b.call(function, [pointer, *(ir.Constant(I32, n) for n in (0, 2, 1))])

    def end_line(self, *memory):
        """What is stored by now is in memory, also in the function's own `memory`; nothing beyond this point is loaded
        yet.  Left to itself LLVM loads all that it finds first, and then has no registers for it."""
        kind = ir.FunctionType(ir.VoidType(), [pointer.type for pointer in memory])
        self.b.asm(kind, "", ",".join([*("r" for _ in memory), "~{memory}"]), memory, True)

    def in_registers(self, values):
        """The vectors `values`, computed by now, and no load beyond this point begun: a compiler that sees a long run
        of products reads ahead until it has no register left for sums."""
        letter, count, floats = processor.vector_registers()
        if len(values) + OTHERS > count or self.lanes > floats:  # tiles are made for another processor
            return values
        kind = ir.LiteralStructType([self.type] * len(values))
        outs, same = [f"={letter}"] * len(values), [str(i) for i in range(len(values))]
        function = ir.FunctionType(kind, [self.type] * len(values))
        kept = self.b.asm(function, "", ",".join([*outs, *same, "~{memory}"]), values, True)
        return [self.b.extract_value(kept, i) for i in range(len(values))]

    def below(self, n):
        """For each lane whether its number is less than n (no more than 2^31 from 0)."""
        integers = ir.VectorType(I32, self.type.count)
        lanes = ir.Constant(integers, [ir.Constant(I32, i) for i in range(integers.count)])
        one = self.b.insert_element(ir.Constant(integers, ir.Undefined), self.b.trunc(n, I32), ir.Constant(I32, 0))
        zeros = ir.Constant(integers, [ir.Constant(I32, 0)] * integers.count)
        return self.b.icmp_signed("<", lanes, self.b.shuffle_vector(one, one, zeros))

    def load_some(self, pointer, mask):
        """The lanes that `mask` names; 0 in the others."""
        pointer = self.b.bitcast(pointer, self.type.as_pointer())
        kind = ir.FunctionType(self.type, [pointer.type, I32, mask.type, self.type])
        name = f"llvm.masked.load.v{self.type.count}f32.p0"
        function = cgutils.get_or_insert_function(self.b.module, kind, name)
        return Vec(self.b, self.b.call(function, [pointer, ir.Constant(I32, 4), mask, self.zero().value]))

    def store_some(self, vec, pointer, mask):
        """Store the lanes that `mask` names."""
        pointer = self.b.bitcast(pointer, self.type.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [self.type, pointer.type, I32, mask.type])
        name = f"llvm.masked.store.v{self.type.count}f32.p0"
        function = cgutils.get_or_insert_function(self.b.module, kind, name)
        self.b.call(function, [vec.value, pointer, ir.Constant(I32, 4), mask])

    def splat(self, scalar):
        """A vector with a scalar in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.b.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return Vec(self.b, one).shuffle(Vec(self.b, undefined), [0] * self.type.count)

    def fma(self, x, y, z):
        """x * y + z, rounded once."""
        name = f"llvm.fma.v{self.type.count}f32"
        function = cgutils.get_or_insert_function(self.b.module, ir.FunctionType(self.type, [self.type] * 3), name)
        return Vec(self.b, self.b.call(function, [x.value, y.value, z.value]))

    def sum_of(self, x):
        """The sum of a vector's lanes: halves are added until one is left."""
        while x.value.type.count > 1:
            half = x.value.type.count // 2
            x = x.shuffle(x, range(half)) + x.shuffle(x, range(half, 2 * half))
        return self.b.extract_element(x.value, ir.Constant(I32, 0))

    def zero(self):
        """A vector of zeros."""
        return Vec(self.b, ir.Constant(self.type, [ir.Constant(F32, 0.0)] * self.type.count))

    def relu(self, x, slope):
        """x where x > 0, else slope * x (+ 0, so that slope 0 gives no -0); NaN stays NaN."""
        positive = self.b.fcmp_ordered(">", x.value, self.zero().value)
        return Vec(self.b, self.b.select(positive, x.value, self.fma(slope, x, self.zero()).value))

    def floor_of(self, slope):
        """What is least where a slope is 0, for ReLU: 0; nothing where it is another."""
        nothing = ir.Constant(self.type, [ir.Constant(F32, float("-inf"))] * self.lanes)
        return Vec(
            self.b, self.b.select(self.b.fcmp_ordered("==", slope.value, self.zero().value), self.zero().value, nothing)
        )

    def at_least(self, x, floor):
        """x, or the floor where that is more: one instruction, where relu takes three; NaN stays NaN."""
        return Vec(self.b, self.b.select(self.b.fcmp_ordered(">", floor.value, x.value), floor.value, x.value))

    def deinterleave(self, pointer, m, taps):
        """taps vectors; lane l of vector i holds element l * m + i.  Reads whole multiples of m elements, and of them
        one or more than such vectors need."""
        return [v for base in range(0, taps, m) for v in self._split(self._lines(self.at(pointer, base), m))][:taps]

    def interleave(self, vectors, pointer, add=False):
        """The inverse: element l * m + i at the address (+)= lane l of the m vectors' number i."""
        m = len(vectors)
        for q, value in enumerate(self._merge(vectors)):
            here = self.at(pointer, q * self.group)
            if add:
                value = value + self._line(here, m)
            for start in range(0, self.lanes, self.group):
                piece = value if self.group == self.lanes else value.shuffle(value, range(start, start + self.group))
                address = self.at(here, start * m)
                self.b.store(piece.value, self.b.bitcast(address, piece.value.type.as_pointer())).align = 4

    def _lines(self, pointer, m):
        return [self._line(self.at(pointer, q * self.group), m) for q in range(m)]

    def _line(self, pointer, m):
        """A vector whose groups lie m groups apart, so that no element has to leave its group: that takes long."""
        if self.group == self.lanes:
            return self.load(pointer)
        kind = ir.VectorType(F32, self.group).as_pointer()
        pieces = []
        for start in range(0, self.lanes, self.group):
            pieces.append(Vec(self.b, self.b.load(self.b.bitcast(self.at(pointer, start * m), kind))))
            pieces[-1].value.align = 4
        while len(pieces) > 1:
            both = range(2 * pieces[0].value.type.count)
            pieces = [x.shuffle(y, both) for x, y in zip(pieces[::2], pieces[1::2], strict=True)]
        return pieces[0]

    def _in_groups(self, x, y, lanes):
        """x.shuffle(y, lanes) in each group of both vectors."""
        size = self.group
        places = [
            n + start + (self.lanes - size if n >= size else 0) for start in range(0, self.lanes, size) for n in lanes
        ]
        return x.shuffle(y, places)

    def _split(self, vectors):
        """Of the concatenation of m groups: the elements 0, m, 2 m ..., then 1, m + 1, ... as m groups."""
        m, size = len(vectors), self.group
        if m % 2:
            return [self._pick(vectors, range(i, m * size, m)) for i in range(m)] if m > 1 else vectors
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        halves = [self._split([self._in_groups(x, y, range(odd, 2 * size, 2)) for x, y in pairs]) for odd in (0, 1)]
        return [half[i] for i in range(m // 2) for half in halves]

    def _merge(self, vectors):
        """The inverse of splitting."""
        m, size = len(vectors), self.group
        if m % 2:
            elements = [(e % m) * size + e // m for e in range(m * size)]
            return [self._pick(vectors, elements[q : q + size]) for q in range(0, m * size, size)]
        out = []
        for x, y in zip(self._merge(vectors[::2]), self._merge(vectors[1::2]), strict=True):
            out += [self._in_groups(x, y, [i // 2 + i % 2 * size for i in range(q, q + size)]) for q in (0, size)]
        return out

    def _pick(self, vectors, wanted):
        """The groups of elements `wanted` of the concatenation of `vectors`, two at a time."""
        result, have, size = None, {}, self.group
        for q, vector in enumerate(vectors):
            mine = {lane: e - q * size for lane, e in enumerate(wanted) if e // size == q}
            if not mine:
                continue
            if result is None:
                result = self._in_groups(vector, vector, [mine.get(lane, 0) for lane in range(size)])
            else:
                lanes = [size + mine[lane] if lane in mine else lane for lane in range(size)]
                result = self._in_groups(result, vector, lanes)
            have.update(mine)
        return result


@contextlib.contextmanager
def steps(builder, n, step):
    """A loop over 0, step, 2 * step ... as far as n; the last is n - step, or 0."""
    count = builder.sdiv(builder.add(n, n.type(step - 1)), n.type(step))
    last = builder.sub(n, n.type(step))
    last = builder.select(builder.icmp_signed("<", last, n.type(0)), n.type(0), last)
    with cgutils.for_range(builder, count) as loop:
        start = builder.mul(loop.index, n.type(step))
        yield builder.select(builder.icmp_signed("<", start, last), start, last)


def void(*args):
    """The signature of an intrinsic without result."""
    return types.void(*args)
