"""The matrix product that everything rests on: C (+)= A^T B from packed operands, by register tiles.

A is packed in blocks of 16 rows of C, (blocks, depth, 16); B is (depth, columns) with any distance between rows.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from demitasse.layers.backend.cpu import processor
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inner_kernel, inner_kernel_of_sums
from demitasse.layers.backend.cpu.operands import Matrix, PackedRows, Rows, operand
from demitasse.layers.backend.cpu.simd import F32, I32, I64, Vec, Writer, void
from demitasse.layers.backend.cpu.simd_ops import copy, copy_block, transpose_tile


def _tile_shape():
    """(rows, vectors, lanes) of the register tile of the matrix product: it must leave registers for operands."""
    if processor.level() == "x86-64-v4":
        return 8, 3, 16
    if processor.has_avx():
        return 4, 3, 8
    return 8, 3, 4  # 32 registers of 4 floats (NEON); right, if slower, on anything else


TILE_ROWS, TILE_VECTORS, TILE_LANES = _tile_shape()

ROWS, VECTORS = (0,) * TILE_ROWS, (0,) * TILE_VECTORS
STRIP = TILE_VECTORS * TILE_LANES  # columns of one pass over B
NARROW = 4  # columns that are not worth a vector
CACHE_LINE = 16  # floats that are fetched together
UNROLL = 16 // TILE_ROWS  # products of a tile between two looks at how many are left
DEPTH, NEAR_DEPTH = 512, 128  # rows of B at a time; and those that stay in the innermost cache beside a block's columns
FETCHED = 1 << 15  # floats of B, from where on its next rows are fetched ahead
FAR, MANY_BLOCKS = 256, 4  # from where on a strip is copied: floats from row to row of B, blocks of A
NEAR_FLOATS, LINE = DEPTH * STRIP, (0,) * STRIP


def padded(columns: int) -> int:
    """Elements from row to row of a matrix of `columns`: whole vectors and some, and not a power of two apart."""
    ld = -(-(columns + 15) // 16) * 16
    return ld + 16 if ld % 64 == 0 else ld


@inner_kernel
def padded_columns(columns):
    """For how many columns `multiply` computes where it is given so many."""
    rest = columns % STRIP
    return columns - rest + (rest if rest <= NARROW else -(-rest // TILE_LANES) * TILE_LANES)


def lines_of(w, pointer, distance, count, n):
    """Pointers to `count` lines, `distance` apart; those after the first n repeat the last one."""
    lines = [pointer]
    for i in range(1, count):
        here = w.b.icmp_signed("<", ir.Constant(I64, i), n)
        lines.append(w.b.select(here, w.at(lines[-1], distance), lines[-1]))
    return lines


def sums_of(w, lines, step, b, depth, vectors, first=None, ahead=None):
    """The loop of a product: sums[i][j] of vectors j = the sum over p of lines[i][p * step] times row p of b.

    step: a constant, or a value, for which 1 is fast; b: operand of a Matrix or of OffsetRows; first: what the sums
    begin with, None for 0; ahead: how far from the lines those of the next tile lie, which are fetched meanwhile; None:
    not.
    """
    build, several = w.b, UNROLL if ahead is None else 2 * UNROLL
    near = step if isinstance(step, ir.Constant) else I64(1)
    start = w.at(b["offsets"].data, b["first"]) if "offsets" in b else b["data"]

    def product(values, step=step):
        at, row_b, *sums = values
        here = w.at(b["data"], build.load(row_b)) if "offsets" in b else row_b
        right = [w.load(w.at(here, j * TILE_LANES)) for j in range(vectors)]
        for i, line in enumerate(lines):
            left = w.splat(build.load(w.at(line, at)))
            for j, vector in enumerate(right, i * vectors):
                sums[j] = w.fma(left, vector, Vec(build, sums[j])).value
        return [build.add(at, step), w.at(row_b, 1 if "offsets" in b else b["ld"]), *sums]

    def products(values):
        if ahead is not None:
            for line in lines:
                w.fetch(w.at(line, values[0], ahead))
        for _ in range(several):
            at, row_b, *sums = product(values, near)
            values = [at, row_b, *w.in_registers(sums)]
        return values

    fast, zeros = build.icmp_signed("==", step, near), [[w.zero().value] * vectors for _ in lines]
    values = [I64(0), start, *(value for row in first or zeros for value in row)]
    values = repeat(build, build.select(fast, build.udiv(depth, I64(several)), I64(0)), products, values)
    values = repeat(build, build.select(fast, build.urem(depth, I64(several)), depth), product, values)
    sums = [Vec(build, value) for value in values[2:]]
    return [sums[i : i + vectors] for i in range(0, len(sums), vectors)]


def repeat(build, times, body, values):
    """The values after values = body(values) has been done so often."""
    entry = build.block
    head, inside, done = (build.append_basic_block(name) for name in ("head", "body", "done"))
    build.branch(head)
    build.position_at_end(head)
    count, *phis = (build.phi(value.type) for value in (times, *values))
    build.cbranch(build.icmp_signed("!=", count, I64(0)), inside, done)
    build.position_at_end(inside)
    after = [build.sub(count, I64(1)), *body(phis)]
    build.branch(head)
    for phi, before, value in zip((count, *phis), (times, *values), after, strict=True):
        phi.add_incoming(before, entry)
        phi.add_incoming(value, build.block)
    build.position_at_end(done)
    return phis


@Intrinsic
def multiply_tile(typing, a, b, c, depth, add, rows, vectors):
    """c[i, j] (+)= sum over p < depth of a[i, p] * b[p, j].

    a: Rows of a block of PackedRows, the last of which is repeated where there are fewer than len(rows); b: a Matrix or
    OffsetRows, of which len(vectors) * TILE_LANES columns are read; c: a Matrix.  add: whether to add to c.  The sum
    runs upwards in p: the same bits wherever the tile lies.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        a, b, c, depth, add = operand(w, 0), operand(w, 1), operand(w, 2), w.integer(3), w.integer(4)
        lines = lines_of(w, a["data"], a["row_stride"], signature.args[5].count, a["count"])
        sums = sums_of(w, lines, I64(16), b, depth, signature.args[6].count)
        with builder.if_else(builder.icmp_signed("!=", add, ir.Constant(I64, 0))) as (adding, setting):
            for branch, old in ((adding, True), (setting, False)):
                with branch:
                    line = c["data"]
                    for row in sums:
                        for j, value in enumerate(row):
                            here = w.at(line, j * TILE_LANES)
                            w.store(value + w.load(here) if old else value, here)
                        line = w.at(line, c["ld"])
        return context.get_dummy_value()

    return void(a, b, c, depth, add, rows, vectors), generate


@Intrinsic
def multiply_columns(typing, a, b, c, depth, add):
    """multiply_tile for one block of PackedRows and NARROW columns, with the same bits."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        a, b, c, depth, add = operand(w, 0), operand(w, 1), operand(w, 2), w.integer(3), w.integer(4)
        entry, head = builder.block, builder.append_basic_block("head")
        body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        p, column_a, row_b = builder.phi(I64), builder.phi(a["data"].type), builder.phi(b["data"].type)
        for phi, start in ((p, ir.Constant(I64, 0)), (column_a, a["data"]), (row_b, b["data"])):
            phi.add_incoming(start, entry)
        sums = [builder.phi(w.type) for _ in range(NARROW)]
        for phi in sums:
            phi.add_incoming(w.zero().value, entry)
        builder.cbranch(builder.icmp_signed("<", p, depth), body, done)
        builder.position_at_end(body)
        left = w.load(column_a)
        for j, phi in enumerate(sums):
            right = w.splat(builder.load(w.at(row_b, j)))
            phi.add_incoming(w.fma(left, right, Vec(builder, phi)).value, body)
        p.add_incoming(builder.add(p, ir.Constant(I64, 1)), body)
        column_a.add_incoming(w.at(column_a, 16), body)
        row_b.add_incoming(w.at(row_b, b["ld"]), body)
        builder.branch(head)
        builder.position_at_end(done)
        adds, line = builder.icmp_signed("!=", add, ir.Constant(I64, 0)), c["data"]
        for i in range(16):
            for j, phi in enumerate(sums):
                here, value = w.at(line, j), builder.extract_element(phi, ir.Constant(I32, i))
                old = builder.select(adds, builder.load(here), ir.Constant(F32, -0.0))
                builder.store(builder.fadd(value, old), here)
            line = w.at(line, c["ld"])
        return context.get_dummy_value()

    return void(a, b, c, depth, add), generate


@Intrinsic
def _fetch_rows(typing, b, rows):
    """Have so many rows of a strip of b brought into the second cache."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        b, rows = operand(w, 0), w.integer(1)
        with cgutils.for_range(builder, rows) as loop:
            line = w.at(b["data"], builder.mul(loop.index, b["ld"]))
            for end in (*range(CACHE_LINE, STRIP, CACHE_LINE), STRIP):
                w.fetch(w.at(line, end - 1))
        return context.get_dummy_value()

    return void(b, rows), generate


@inner_kernel
def multiply(a, b, c, columns, depth, add):
    """c (+)= a b for PackedRows a and Matrices b (depth, columns) and c (16 * a.blocks, columns).

    Reads and writes padded_columns(columns) of them.  A register tile takes four of 16 rows, and so goes over all the
    memory of a block: NEAR_DEPTH rows of a strip are multiplied with all blocks while these and they are near.  The
    next ones, lines from many rows, are fetched meanwhile: no processor foresees those.
    """
    fetches = depth * b.ld >= FETCHED and a.blocks >= MANY_BLOCKS
    for j in range(0, columns, STRIP):
        for p in range(0, depth, NEAR_DEPTH):
            n, right = min(NEAR_DEPTH, depth - p), Matrix(b.data, b.start + p * b.ld + j, b.ld)
            next_p = p + n if p + n < depth else 0
            next_j = j if next_p > 0 else j + STRIP
            ahead = min(NEAR_DEPTH, depth - next_p) if fetches and next_j < columns else 0
            for block in range(a.blocks):
                left = PackedRows(a.data, a.start + block * a.block_stride + p * 16, 0, 1)
                out = Matrix(c.data, c.start + block * 16 * c.ld + j, c.ld)
                first, end = ahead * block // a.blocks, ahead * (block + 1) // a.blocks
                _fetch_rows(Matrix(b.data, b.start + (next_p + first) * b.ld + next_j, b.ld), end - first)
                _fetch_rows(out, 16 if fetches and add and p == 0 else 0)
                _multiply_block(left, right, out, columns - j, n, add or p > 0)


@inner_kernel
def _multiply_block(a, b, c, columns, depth, add):
    """multiply for one block, and a strip of columns at most."""
    if columns <= NARROW:
        multiply_columns(a, b, c, depth, add)
        return
    for i in range(0, 16, TILE_ROWS):
        left, out = Rows(a.data, a.start + i, 1, 16, TILE_ROWS), Matrix(c.data, c.start + i * c.ld, c.ld)
        if columns > 2 * TILE_LANES:
            multiply_tile(left, b, out, depth, add, ROWS, (0, 0, 0))
        elif columns > TILE_LANES:
            multiply_tile(left, b, out, depth, add, ROWS, (0, 0))
        else:
            multiply_tile(left, b, out, depth, add, ROWS, (0,))


@inner_kernel
def multiply_deep(a, b, c, columns, depth, add, near):
    """multiply, the sum cut into parts so that a strip of b stays in the cache.

    near: NEAR_FLOATS for a strip.  One whose rows lie far apart is copied there first: else each of them is
    on a page of its own, and looked up anew for every four rows of c.
    """
    for p in range(0, depth, DEPTH):
        rows, right = min(DEPTH, depth - p), Matrix(b.data, b.start + p * b.ld, b.ld)
        left = PackedRows(a.data, a.start + p * 16, a.block_stride, a.blocks)
        if a.blocks < MANY_BLOCKS or b.ld < FAR:
            multiply(left, right, c, columns, rows, add or p > 0)
            continue
        for j in range(0, columns, STRIP):
            n = min(STRIP, columns - j)
            for i in range(rows):
                at = right.start + i * b.ld + j
                if n == STRIP:
                    copy_block(b.data, at, near, i * STRIP, LINE)
                else:
                    copy(b.data, at, near, i * STRIP, padded_columns(n))
            multiply(left, Matrix(near, 0, STRIP), Matrix(c.data, c.start + j, c.ld), n, rows, add or p > 0)


@inner_kernel
def transpose(a, rows, columns, b, width):
    """b[j, i] = a[i, j] for i < rows, j < columns; 0 for rows <= i < width (a multiple of 16).  a, b: Matrices."""
    whole_rows, whole_columns = rows // 16 * 16, columns // 16 * 16
    for i in range(0, whole_rows, 16):
        for j in range(0, whole_columns, 16):
            transpose_tile(a.data, a.start + i * a.ld + j, a.ld, b.data, b.start + j * b.ld + i, b.ld)
    for j in range(columns):
        for i in range(whole_rows if j < whole_columns else 0, width):
            b.data[b.start + j * b.ld + i] = a.data[a.start + i * a.ld + j] if i < rows else 0


@inner_kernel
def fill(b, ib, n, value):
    """b[ib : ib + n] = value"""
    for i in range(np.uint64(ib), np.uint64(ib + n)):  # unsigned: see elementwise.py
        b[i] = value


@inner_kernel_of_sums
def sum_of(x, start, n):
    """x[start] + ... of n elements."""
    total = np.float32(0)
    for i in range(np.uint64(start), np.uint64(start + n)):
        total += x[i]
    return total


@inner_kernel_of_sums
def dot_of(a, ia, b, ib, n):
    """a[ia] * b[ib] + ... of n elements."""
    total = np.float32(0)
    for i in range(np.uint64(n)):
        total += a[np.uint64(ia) + i] * b[np.uint64(ib) + i]
    return total
