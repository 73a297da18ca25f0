"""Products of two matrices, by the register tiles of gemm_microkernel."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.axes import by_channel
from demitasse.layers.backend.cpu.gemm_microkernel import (
    DEPTH,
    NARROW,
    NEAR_DEPTH,
    NEAR_FLOATS,
    ROWS,
    STRIP,
    TILE_ROWS,
    VECTORS,
    fill,
    multiply_deep,
    multiply_tile,
    padded,
    transpose,
)
from demitasse.layers.backend.cpu.gemv_microkernel import convolve_columns
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, Outputs, PackedRows, Rows
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

JOB_COLUMNS = 32  # of a product of few rows
LARGE = 1 << 18  # elements of a product that is cut into larger jobs
ROUNDS = 16384  # products a job, of operands that stay in the innermost cache


class GemmPlan(NamedTuple):
    """How a product is cut into jobs, of some blocks of 16 rows and some columns each."""

    rows: int
    columns: int
    depth: int
    a_transposed: bool  # whether a and b are stored so
    b_transposed: bool
    c_transposed: bool  # whether c is to hold the product's transpose
    add: bool  # to what c holds
    job_blocks: int
    job_columns: int
    b_ld: int  # of packed b
    c_ld: int  # of a job's product


@takes(
    lambda a, b, out=None, add=False, ta=False, tb=False: (
        floats(a, b) and (out is None or floats(out)) and a.size > 0 and b.size > 0
    )
)
def matmul(be, a, b, out=None, add=False, ta=False, tb=False):
    if out is None:
        out, add = (
            be.memory.empty((a.shape[1] if ta else a.shape[0], b.shape[0] if tb else b.shape[1]), np.float32),
            False,
        )
    (rows, columns), depth = out.shape, a.shape[0] if ta else a.shape[1]
    if rows <= NARROW and tb and not ta:
        arrays = a.reshape(-1), b.reshape(-1), out.reshape(-1)
        be.pool.run(_multiply_few, 1, *arrays, rows, depth, bool(add), plain_outputs(columns))
        return out
    tc = rows < columns and rows < 16  # few rows: better as columns of the transposed product
    if tc:
        a, b, ta, tb, rows, columns = b, a, not tb, not ta, columns, rows
    job_blocks = min(4 if rows * columns >= LARGE else 2, -(-rows // 16))
    job_columns = min(columns, 480)
    b_ld, c_ld = padded(columns), padded(job_columns)
    plan = GemmPlan(rows, columns, depth, bool(ta), bool(tb), tc, bool(add), job_blocks, job_columns, b_ld, c_ld)
    packed_b = be.memory.empty(depth * b_ld, np.float32)
    scratch = job_blocks * 16 * (depth + c_ld) + NEAR_FLOATS
    be.pool.run(_gemm, 2, a.reshape(-1), b.reshape(-1), out.reshape(-1), plan, packed_b, scratch=scratch)
    return out


def products(be):
    be.pool.run(_products, 1, scratch=NEAR_DEPTH * (STRIP + 16) + STRIP * TILE_ROWS)
    return 2 * NEAR_DEPTH * STRIP * TILE_ROWS * ROUNDS * be.pool.threads


@functools.lru_cache(64)
def plain_outputs(channels: int) -> Outputs:
    """Outputs that are the sums themselves."""
    return Outputs(*(by_channel(channels, None, neutral) for neutral in (1.0, 0.0, 1.0)))


@kernel
def _products(state, scratch):
    """A job for each thread: the same register tile of a product again and again."""
    me = enter(state)
    near, panel = scratch[me], NEAR_DEPTH * STRIP
    fill(near, 0, near.size, np.float32(1))
    rows, b = Rows(near, panel, 1, 16, TILE_ROWS), Matrix(near, 0, STRIP)
    c = Matrix(near, panel + NEAR_DEPTH * 16, STRIP)
    for _ in work(state, me, 0, len(scratch)):
        for _ in range(ROUNDS):
            multiply_tile(rows, b, c, NEAR_DEPTH, False, ROWS, VECTORS)


@kernel
def _multiply_few(state, a, b, c, rows, depth, add, outputs):
    """c (rows, columns) (+)= a (rows, depth) times the transpose of b (columns, depth): few rows, so b is read once."""
    me, columns = enter(state), b.size // depth
    for job in work(state, me, 0, (columns + JOB_COLUMNS - 1) // JOB_COLUMNS):
        for column in range(job * JOB_COLUMNS, min((job + 1) * JOB_COLUMNS, columns), TILE_ROWS):
            for p in range(0, depth, DEPTH):
                left = Rows(b, column * depth + p, depth, 1, columns - column)
                for row in range(rows):
                    line, out = Matrix(a, row * depth + p, 0), Matrix(c, row * columns + column, 1)
                    then, n = Epilogue(outputs, column, False), min(DEPTH, depth - p)
                    convolve_columns(left, line, out, n, add or p > 0, then, DEPTH, ROWS, (0,))


@kernel
def _gemm(state, scratch, a, b, c, plan, packed_b):
    """c (rows, columns) (+)= a (rows, depth) b (depth, columns); flat.

    packed_b: b (depth, columns) with rows b_ld apart; scratch: packed a of one job, then its product.
    """
    me = enter(state)
    u_floats = plan.job_blocks * 16 * plan.depth
    near, mine = scratch[me][:NEAR_FLOATS], scratch[me][NEAR_FLOATS:]
    my_u, my_q = mine[:u_floats], mine[u_floats:]
    for job in work(state, me, 0, (plan.depth + 63) // 64):
        _pack_rows_of_b(b, plan, job * 64, min((job + 1) * 64, plan.depth), packed_b)
    blocks = (plan.rows + 15) // 16
    parts = (blocks + plan.job_blocks - 1) // plan.job_blocks
    for job in work(state, me, 1, parts * ((plan.columns + plan.job_columns - 1) // plan.job_columns)):
        first, column = job % parts * plan.job_blocks, job // parts * plan.job_columns
        last, n = min(first + plan.job_blocks, blocks), min(plan.job_columns, plan.columns - column)
        for block in range(first, last):
            _pack_block_of_a(a, plan, block, my_u, (block - first) * plan.depth * 16)
        left, product = PackedRows(my_u, 0, plan.depth * 16, last - first), Matrix(my_q, 0, plan.c_ld)
        multiply_deep(left, Matrix(packed_b, column, plan.b_ld), product, n, plan.depth, False, near)
        for i in range(first * 16, min(last * 16, plan.rows)):
            _store_row(my_q, (i - first * 16) * plan.c_ld, n, c, plan, i, column)


@inner_kernel
def _pack_rows_of_b(b, plan, first, last, packed_b):
    """Rows first ... last - 1 of b."""
    if plan.b_transposed:
        out = Matrix(packed_b, first * plan.b_ld, plan.b_ld)
        transpose(Matrix(b, first, plan.depth), plan.columns, last - first, out, (plan.columns + 15) // 16 * 16)
    else:
        for p in range(first, last):
            copy(b, p * plan.columns, packed_b, p * plan.b_ld, plan.columns)


@inner_kernel
def _pack_block_of_a(a, plan, block, u, start):
    """16 rows of a at u[start :], (depth, 16); 0 for those beyond the last."""
    rows = min(16, plan.rows - block * 16)
    if plan.a_transposed:
        for p in range(plan.depth):
            for i in range(rows):
                u[start + p * 16 + i] = a[p * plan.rows + block * 16 + i]
            for i in range(rows, 16):
                u[start + p * 16 + i] = 0
    else:
        transpose(Matrix(a, block * 16 * plan.depth, plan.depth), rows, plan.depth, Matrix(u, start, 16), 16)


@inner_kernel
def _store_row(q, iq, n, c, plan, row, column):
    """n elements of the product, from (row, column), from q[iq :] to c."""
    start = column * plan.rows + row if plan.c_transposed else row * plan.columns + column
    step = plan.rows if plan.c_transposed else 1
    if plan.add:
        for j in range(n):
            c[start + j * step] += q[iq + j]
    elif plan.c_transposed:
        for j in range(n):
            c[start + j * step] = q[iq + j]
    else:
        copy(q, iq, c, start, n)
