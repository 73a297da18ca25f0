"""Products of two matrices, by the register tiles of cpu_product."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.gemm_microkernel import multiply_deep, padded, transpose
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work


@kernel
def gemm(state, scratch, a, b, c, sizes, v):
    """c (rows, columns) (+)= a (rows, depth) b (depth, columns); flat.

    sizes: rows, columns, depth, whether a and b are stored transposed, whether c is (then the product's transpose
    is meant to be found in c), whether to add, blocks of 16 rows and columns per job, distances of rows in v and q.
    v: packed b; scratch: packed a of one job, then its product.
    """
    rows, columns, depth, ta, tb, tc, add, job_blocks, job_columns, v_ld, q_ld = sizes
    me = enter(state)
    u_floats = job_blocks * 16 * depth
    my_u, my_q = scratch[me][:u_floats], scratch[me][u_floats:]
    strips = (depth + 63) // 64
    for job in work(state, me, 0, strips):
        first, last = job * 64, min((job + 1) * 64, depth)
        if tb:
            transpose(b, first, depth, columns, last - first, v, first * v_ld, v_ld, (columns + 15) // 16 * 16)
        else:
            for p in range(first, last):
                copy(b, p * columns, v, p * v_ld, columns)
    blocks = (rows + 15) // 16
    parts = (blocks + job_blocks - 1) // job_blocks
    jobs = parts * ((columns + job_columns - 1) // job_columns)
    for job in work(state, me, 1, jobs):
        first, column = job % parts * job_blocks, job // parts * job_columns
        last, n = min(first + job_blocks, blocks), min(job_columns, columns - column)
        for block in range(first, last):
            wide, place = min(16, rows - block * 16), (block - first) * depth * 16
            if ta:
                for p in range(depth):
                    for i in range(wide):
                        my_u[place + p * 16 + i] = a[p * rows + block * 16 + i]
                    for i in range(wide, 16):
                        my_u[place + p * 16 + i] = 0
            else:
                transpose(a, block * 16 * depth, depth, wide, depth, my_u, place, 16, 16)
        multiply_deep(my_u, 0, depth * 16, last - first, v, column, v_ld, n, my_q, 0, q_ld, depth, 0)
        for i in range(first * 16, min(last * 16, rows)):
            line = (i - first * 16) * q_ld
            place, step = (column * rows + i, rows) if tc else (i * columns + column, 1)
            if add:
                for j in range(n):
                    c[place + j * step] += my_q[line + j]
            elif tc:
                for j in range(n):
                    c[place + j * step] = my_q[line + j]
            else:
                copy(my_q, line, c, place, n)


def matmul(pool, memory, a, b, c, add, ta, tb):
    """c (+)= a b for C-contiguous float32 matrices, each transposed first if told."""
    (rows, columns), depth = c.shape, a.shape[0] if ta else a.shape[1]
    tc = rows < columns and rows < 16  # few rows: better as columns of the transposed product
    if tc:
        a, b, ta, tb, rows, columns = b, a, not tb, not ta, columns, rows
    job_blocks, job_columns = min(2, -(-rows // 16)), min(columns, 480)
    v_ld, q_ld = padded(columns), padded(job_columns)
    v = memory.empty(depth * v_ld, np.float32)
    sizes = rows, columns, depth, int(ta), int(tb), int(tc), int(add), job_blocks, job_columns, v_ld, q_ld
    scratch = job_blocks * 16 * (depth + q_ld)
    pool.run(gemm, 2, a.reshape(-1), b.reshape(-1), c.reshape(-1), sizes, v, scratch=scratch)
