"""The matrix product that everything rests on: C (+)= A^T B from packed operands, by register tiles.

A is packed in blocks of 16 rows of C, (blocks, depth, 16); B is (depth, columns) with any distance between rows.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from demitasse.layers.backend.cpu.jit import kernel, kernel_of_sums
from demitasse.layers.backend.cpu.simd import F32, I32, I64, Vec, Writer, void
from demitasse.layers.backend.cpu.simd_ops import transpose_tile


def _tile_shape():
    """(rows, vectors, lanes) of the register tile of the matrix product: it must leave registers for operands."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 8, 3, 16
    if features.get("avx"):
        return 4, 3, 8
    return 8, 3, 4  # 32 registers of 4 floats (NEON); right, if slower, on anything else


TILE_ROWS, TILE_VECTORS, TILE_LANES = _tile_shape()

ROWS, VECTORS = (0,) * TILE_ROWS, (0,) * TILE_VECTORS
STRIP = TILE_VECTORS * TILE_LANES  # columns of one pass over B
NARROW = 4  # columns that are not worth a vector
DEPTH = 512  # rows of B that are worked through at a time


def padded(columns):
    """Elements from row to row of a matrix of `columns`: whole vectors and some, and not a power of two apart."""
    ld = -(-(columns + 15) // 16) * 16
    return ld + 16 if ld % 64 == 0 else ld


def worked(columns):
    """For how many columns `multiply` works where it is given so many."""
    rest = columns % STRIP
    return columns - rest + (rest if rest <= NARROW else -(-rest // TILE_LANES) * TILE_LANES)


def _lines(w, pointer, distance, count, n):
    """Pointers to `count` lines, `distance` apart; those after the first n repeat the last one."""
    lines = [pointer]
    for i in range(1, count):
        here = w.b.icmp_signed("<", ir.Constant(I64, i), n)
        lines.append(w.b.select(here, w.at(lines[-1], distance), lines[-1]))
    return lines


def _sums(w, lines, step, pb, ldb, depth, vectors):
    """The loop of a product: sums[i][j] of vectors j = the sum over p of lines[i][p * step] times row p at pb."""
    b, placed = w.b, ldb.type.is_pointer
    zero, entry = ir.Constant(I64, 0), b.block
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    p, at, qb = b.phi(I64), b.phi(I64), b.phi(pb.type)
    for phi, start in ((p, zero), (at, zero), (qb, pb)):
        phi.add_incoming(start, entry)
    sums = [[b.phi(w.type) for _ in range(vectors)] for _ in lines]
    for row in sums:
        for phi in row:
            phi.add_incoming(w.zero().value, entry)
    b.cbranch(b.icmp_signed("<", p, depth), body, done)
    b.position_at_end(body)
    place = w.at(pb, b.load(w.at(ldb, p))) if placed else qb
    right = [w.load(w.at(place, j * TILE_LANES)) for j in range(vectors)]
    for line, row in zip(lines, sums, strict=True):
        left = w.splat(b.load(w.at(line, at)))
        for vector, phi in zip(right, row, strict=True):
            phi.add_incoming(w.fma(left, vector, Vec(b, phi)).value, body)
    p.add_incoming(b.add(p, ir.Constant(I64, 1)), body)
    at.add_incoming(b.add(at, step), body)
    qb.add_incoming(qb if placed else w.at(qb, ldb), body)
    b.branch(head)
    b.position_at_end(done)
    return [[Vec(b, phi) for phi in row] for row in sums]


@intrinsic
def multiply_tile(typing, a, ia, lda, step, n, b, ib, ldb, p0, c, ic, ldc, depth, add, rows, vectors):
    """c[i, j] (+)= sum over p < depth of a[i, p] * b[p, j].

    len(rows) rows i, len(vectors) * TILE_LANES columns j.  a[i, p] lies at a[ia + i * lda + p * step], of n rows: the
    rest of the tile repeats the last one.  b[p, j] lies at b[ib + p * ldb + j], or where ldb is an array of places, at
    b[ib + ldb[p0 + p] + j].  ldc: elements between rows; add: nonzero adds to c.  The sum runs upwards in p: the same
    bits wherever the tile lies.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        lda, step, n, ldc, depth, add = (w.integer(i) for i in (2, 3, 4, 11, 12, 13))
        ldb = w.pointer(7) if isinstance(signature.args[7], types.Array) else w.integer(7)
        lines = _lines(w, w.pointer(0), lda, signature.args[14].count, n)
        sums = _sums(w, lines, step, w.pointer(5), ldb, depth, signature.args[15].count)
        with builder.if_else(builder.icmp_signed("!=", add, ir.Constant(I64, 0))) as (adding, setting):
            for branch, old in ((adding, True), (setting, False)):
                with branch:
                    line = w.pointer(9)
                    for row in sums:
                        for j, value in enumerate(row):
                            place = w.at(line, j * TILE_LANES)
                            w.store(value + w.load(place) if old else value, place)
                        line = w.at(line, ldc)
        return context.get_dummy_value()

    return void(a, ia, lda, step, n, b, ib, ldb, p0, c, ic, ldc, depth, add, rows, vectors), generate


@intrinsic
def convolve_tile(typing, a, ia, lda, step, n, b, ib, places, y, iy, ldy, bias, k, slope, rows, vectors):
    """The first n rows of y = relu(bias[k :] + the product of multiply_tile with `places`, whole rows long)."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        lda, step, n, ldy = (w.integer(i) for i in (2, 3, 4, 10))
        array = context.make_array(signature.args[7])(context, builder, args[7])
        count, one = signature.args[14].count, ir.Constant(I64, 1)
        lines = _lines(w, w.pointer(0), lda, count, n)
        sums = _sums(w, lines, step, w.pointer(5), array.data, array.nitems, signature.args[15].count)
        outs, biases = _lines(w, w.pointer(8), ldy, count, n), _lines(w, w.pointer(11), one, count, n)
        slope = w.splat(args[13])
        for row, line, number in zip(sums, outs, biases, strict=True):
            shift = w.splat(builder.load(number))
            for j, value in enumerate(row):
                w.store(w.relu(value + shift, slope), w.at(line, j * TILE_LANES))
        return context.get_dummy_value()

    return void(a, ia, lda, step, n, b, ib, places, y, iy, ldy, bias, k, slope, rows, vectors), generate


@intrinsic
def multiply_columns(typing, a, ia, b, ib, ldb, c, ic, ldc, depth, add):
    """c[i, j] (+)= sum over p < depth of a[ia + p * 16 + i] * b[ib + p * ldb + j] for 16 rows i and NARROW columns j,
    with the same bits as multiply_tile's."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        pa, pb, pc = w.pointer(0), w.pointer(2), w.pointer(5)
        ldb, ldc, depth, add = (w.integer(i) for i in (4, 7, 8, 9))
        entry, head = builder.block, builder.append_basic_block("head")
        body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        p, qa, qb = builder.phi(I64), builder.phi(pa.type), builder.phi(pb.type)
        for phi, start in ((p, ir.Constant(I64, 0)), (qa, pa), (qb, pb)):
            phi.add_incoming(start, entry)
        sums = [builder.phi(w.type) for _ in range(NARROW)]
        for phi in sums:
            phi.add_incoming(w.zero().value, entry)
        builder.cbranch(builder.icmp_signed("<", p, depth), body, done)
        builder.position_at_end(body)
        left = w.load(qa)
        for j, phi in enumerate(sums):
            right = w.splat(builder.load(w.at(qb, j)))
            phi.add_incoming(w.fma(left, right, Vec(builder, phi)).value, body)
        p.add_incoming(builder.add(p, ir.Constant(I64, 1)), body)
        qa.add_incoming(w.at(qa, 16), body)
        qb.add_incoming(w.at(qb, ldb), body)
        builder.branch(head)
        builder.position_at_end(done)
        adds = builder.icmp_signed("!=", add, ir.Constant(I64, 0))
        for i in range(16):
            for j, phi in enumerate(sums):
                place, value = w.at(pc, j), builder.extract_element(phi, ir.Constant(I32, i))
                old = builder.select(adds, builder.load(place), ir.Constant(F32, -0.0))
                builder.store(builder.fadd(value, old), place)
            pc = w.at(pc, ldc)
        return context.get_dummy_value()

    return void(a, ia, b, ib, ldb, c, ic, ldc, depth, add), generate


@kernel
def multiply(a, ia, block_stride, blocks, b, ib, ldb, columns, c, ic, ldc, depth, add):
    """c[16 * blocks rows, columns] (+)= a packed at ia, blocks block_stride apart, times b at ib.

    Reads and writes up to the next multiple of TILE_LANES columns.
    """
    for j in range(0, columns, STRIP):
        if columns - j <= NARROW:
            for block in range(blocks):
                left, place = ia + block * block_stride, ic + block * 16 * ldc + j
                multiply_columns(a, left, b, ib + j, ldb, c, place, ldc, depth, add)
            break
        wide = min(TILE_VECTORS, (columns - j + TILE_LANES - 1) // TILE_LANES)
        for block in range(blocks):
            for i in range(0, 16, TILE_ROWS):
                left, place = ia + block * block_stride + i, ic + (block * 16 + i) * ldc + j
                if wide == 3:
                    multiply_tile(
                        a, left, 1, 16, TILE_ROWS, b, ib + j, ldb, 0, c, place, ldc, depth, add, ROWS, (0, 0, 0)
                    )
                elif wide == 2:
                    multiply_tile(a, left, 1, 16, TILE_ROWS, b, ib + j, ldb, 0, c, place, ldc, depth, add, ROWS, (0, 0))
                else:
                    multiply_tile(a, left, 1, 16, TILE_ROWS, b, ib + j, ldb, 0, c, place, ldc, depth, add, ROWS, (0,))


@kernel
def multiply_deep(a, ia, block_stride, blocks, b, ib, ldb, columns, c, ic, ldc, depth, add):
    """multiply, the sum cut into parts so that a strip of b stays in the cache."""
    for p in range(0, depth, DEPTH):
        multiply(
            a,
            ia + p * 16,
            block_stride,
            blocks,
            b,
            ib + p * ldb,
            ldb,
            columns,
            c,
            ic,
            ldc,
            min(DEPTH, depth - p),
            add if p == 0 else 1,
        )


@kernel
def transpose(a, ia, lda, rows, columns, b, ib, ldb, width):
    """b[j, i] = a[i, j] for i < rows, j < columns; 0 for rows <= i < width (a multiple of 16)."""
    whole_rows, whole_columns = rows // 16 * 16, columns // 16 * 16
    for i in range(0, whole_rows, 16):
        for j in range(0, whole_columns, 16):
            transpose_tile(a, ia + i * lda + j, lda, b, ib + j * ldb + i, ldb)
    for j in range(columns):
        for i in range(whole_rows if j < whole_columns else 0, width):
            b[ib + j * ldb + i] = a[ia + i * lda + j] if i < rows else 0


@kernel
def fill(b, ib, n, value):
    """b[ib : ib + n] = value"""
    for i in range(np.uint64(ib), np.uint64(ib + n)):  # unsigned: see cpu_elementwise
        b[i] = value


@kernel_of_sums
def sum_of(x, start, n):
    """x[start] + ... of n elements."""
    total = np.float32(0)
    for i in range(np.uint64(start), np.uint64(start + n)):
        total += x[i]
    return total
