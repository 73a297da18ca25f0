"""The update of learned arrays: an elementwise program on all threads, step by step on lines that stay in the cache.

One loop over all arrays would be several times slower: their elements lie a multiple of 4096 bytes apart.
Before that their gradients, which are cleared on all threads too.
"""

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, exact_kernel, inner, kernel
from demitasse.layers.backend.cpu.simd import F32, I64, LANES, Vec, Writer, void
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import read, work
from demitasse.layers.backend.dispatch import takes

LINE, CHUNK = 1 << 10, 1 << 14  # elements: of a step, of a job
CLEARED = 1 << 22  # elements of a job that clears: so many go past the caches, which need not read them first
DATA = object.__basicsize__ // 8  # which word of an array object is the address of its elements
OPERATORS = "*", "/", "+", "-", "sqrt", "sign"
MULTIPLY, DIVIDE, ADD, SUBTRACT, SQRT, SIGN = range(6)


@takes(lambda program, tensors: all(floats(*arrays) for arrays, _ in tensors))
def update(be, program, tensors):
    steps, lines = _encoded(program)
    chunks = _chunks(tuple([arrays[0].size for arrays, _ in tensors]))
    if len(chunks):
        objects = np.array([[id(array) for array in arrays] for arrays, _ in tensors])
        scalars = np.array([scalars for _, scalars in tensors], np.float32)
        be.pool.run(_update, 1, objects, chunks, scalars, steps, scratch=lines * LINE)


@takes(lambda arrays: floats(*arrays))
def clear(be, arrays):
    chunks = _chunks(tuple([array.size for array in arrays]), CLEARED)
    if len(chunks):
        be.pool.run(_clear, 1, np.array([id(array) for array in arrays]), chunks)


@kernel
def _clear(state, objects, chunks):
    """Set chunks (array, first element, elements) to 0; objects: the arrays' addresses, as in _update."""
    me = enter(state)
    for job in work(state, me, 0, len(chunks)):
        _zero(read(objects[chunks[job, 0]], DATA) + 4 * chunks[job, 1], chunks[job, 2])


@Intrinsic
def _zero(typing, address, n):
    """Set n floats at an address to 0."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        place = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, place, builder.mul(w.integer(1), I64(4)), 0)
        return context.get_dummy_value()

    return void(address, n), generate


@functools.lru_cache(64)
def _chunks(sizes, most=CHUNK):
    """Rows (tensor, first element, elements) of jobs for tensors of those sizes."""
    rows = [(i, start, min(most, n - start)) for i, n in enumerate(sizes) for start in range(0, n, most)]
    return np.array(rows, np.int64)


@functools.cache
def _encoded(program):
    """(rows (operator, out, a, b) of numbers, how many lines a thread needs).

    Numbers stand for arrays first, then for scalars and temporaries, which have a line each.
    """
    outs = [step.out for step in program.steps]
    names = list(dict.fromkeys((*program.arrays, *program.scalars, *outs)))
    rows = [
        (OPERATORS.index(step.operator), *map(names.index, (step.out, step.a, step.b or step.a)))
        for step in program.steps
    ]
    return np.array(rows), len(names) - len(program.arrays)


def _elementwise(operation):
    """An intrinsic: out[i] = operation(a[i], b[i]) for the first n of 16 floats, at those addresses."""

    def apply(typing, out, a, b, n):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args)
            to, x, y = [builder.inttoptr(address, F32.as_pointer()) for address in args[:3]]
            count = w.integer(3)
            with builder.if_else(builder.icmp_signed(">=", count, I64(LANES))) as (all_lanes, some):
                with all_lanes:
                    w.store(Vec(builder, operation(w, w.load(x).value, w.load(y).value)), to)
                with some:
                    mask = w.below(count)
                    x, y = w.load_some(x, mask), w.load_some(y, mask)
                    w.store_some(Vec(builder, operation(w, x.value, y.value)), to, mask)
            return context.get_dummy_value()

        return void(out, a, b, n), generate

    return Intrinsic(apply)


def _sqrt_of(w, x, _):
    kind = ir.FunctionType(w.type, [w.type])
    return w.b.call(cgutils.get_or_insert_function(w.b.module, kind, f"llvm.sqrt.v{LANES}f32"), [x])


def _sign_of(w, x, _):
    one, zero = w.splat(F32(1)).value, w.zero().value
    below, above = (w.b.select(w.b.fcmp_ordered(how, x, zero), one, zero) for how in "<>")
    return w.b.select(w.b.fcmp_unordered("uno", x, x), x, w.b.fsub(above, below))


_multiply = _elementwise(lambda w, x, y: w.b.fmul(x, y))
_divide = _elementwise(lambda w, x, y: w.b.fdiv(x, y))
_add = _elementwise(lambda w, x, y: w.b.fadd(x, y))
_subtract = _elementwise(lambda w, x, y: w.b.fsub(x, y))
_sqrt, _sign = _elementwise(_sqrt_of), _elementwise(_sign_of)


@exact_kernel
def _update(state, scratch, objects, chunks, scalars, steps):
    """Run the steps (operator, out, a, b) on chunks (tensor, first element, elements), with NumPy's roundings.

    objects (tensors, arrays): their addresses, which are looked up here, where it takes no time; scalars (tensors, n).
    """
    me = enter(state)
    lines, filled = scratch[me], -1
    for job in work(state, me, 0, len(chunks)):
        tensor, start, end = chunks[job, 0], chunks[job, 1], chunks[job, 1] + chunks[job, 2]
        if filled != tensor:
            filled = tensor
            for i in range(scalars.shape[1] * LINE):
                lines[i] = scalars[tensor, i // LINE]
        for first in range(start, end, LINE):
            for s in range(len(steps)):
                out = _address(objects[tensor], first, lines, steps[s, 1])
                a = _address(objects[tensor], first, lines, steps[s, 2])
                b = _address(objects[tensor], first, lines, steps[s, 3])
                _step(steps[s, 0], out, a, b, min(LINE, end - first))


@inner
def _address(objects, first, lines, number):
    """Of element `first` of the array of that number, or of its line."""
    if number < len(objects):
        return read(objects[number], DATA) + 4 * first
    return lines.ctypes.data + 4 * LINE * (number - len(objects))


@inner
def _step(operator, out, a, b, n):
    """out[i] = a[i] operator b[i] for n floats at those addresses."""
    for i in range(0, n, LANES):
        to, x, y, rest = out + 4 * i, a + 4 * i, b + 4 * i, n - i
        if operator == MULTIPLY:
            _multiply(to, x, y, rest)
        elif operator == ADD:
            _add(to, x, y, rest)
        elif operator == SUBTRACT:
            _subtract(to, x, y, rest)
        elif operator == DIVIDE:
            _divide(to, x, y, rest)
        elif operator == SQRT:
            _sqrt(to, x, y, rest)
        else:
            _sign(to, x, y, rest)
