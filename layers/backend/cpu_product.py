"""The matrix product that everything rests on: C (+)= A^T B from packed operands, by register tiles.

A is packed in blocks of 16 rows of C, (blocks, depth, 16); B is (depth, columns) with any distance between rows.
"""

from __future__ import annotations

import numpy as np

from layers.backend.cpu_threads import kernel, kernel_of_sums
from layers.backend.cpu_vector import TILE_LANES, TILE_ROWS, TILE_VECTORS, multiply_tile, transpose_tile

STRIP = TILE_VECTORS * TILE_LANES  # columns of one pass over B
DEPTH = 512  # rows of B that are worked through at a time


def padded(columns):
    """Elements from row to row of a matrix of `columns`: whole vectors and some, and not a power of two apart."""
    ld = -(-(columns + 15) // 16) * 16
    return ld + 16 if ld % 64 == 0 else ld


@kernel
def multiply(a, ia, block_stride, blocks, b, ib, ldb, columns, c, ic, ldc, depth, add):
    """c[16 * blocks rows, columns] (+)= a packed at ia, blocks block_stride apart, times b at ib.

    Reads and writes up to the next multiple of TILE_LANES columns.
    """
    for j in range(0, columns, STRIP):
        wide = min(TILE_VECTORS, (columns - j + TILE_LANES - 1) // TILE_LANES)
        for block in range(blocks):
            for i in range(0, 16, TILE_ROWS):
                left, place = ia + block * block_stride + i, ic + (block * 16 + i) * ldc + j
                if wide == 3:
                    multiply_tile(a, left, 16, b, ib + j, ldb, c, place, ldc, depth, add, (0, 0, 0))
                elif wide == 2:
                    multiply_tile(a, left, 16, b, ib + j, ldb, c, place, ldc, depth, add, (0, 0))
                else:
                    multiply_tile(a, left, 16, b, ib + j, ldb, c, place, ldc, depth, add, (0,))


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
    for i in range(n):
        b[ib + i] = value


@kernel_of_sums
def sum_of(x, start, n):
    """x[start] + ... of n elements."""
    total = np.float32(0)
    for i in range(start, start + n):
        total += x[i]
    return total
