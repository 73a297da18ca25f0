"""The gradient of the input of a 1x1 convolution: such a convolution of dy with the transposed weights.

Large weights are transposed first.  As they lie, those that one input is multiplied with are a whole row of memory
apart, often by a power of two: they share a few cache sets, and none stays in the cache until its neighbours are due.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.direct_forward import direct_forward, run_direct_forward
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Outputs
from demitasse.layers.backend.cpu.simd_ops import transpose_tile
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

LARGE = 1 << 17  # weights that do not stay in the cache
SQUARE = 64  # weights along each side of what is transposed at a time
LEAST_PIXELS = 64  # that are worth transposing them


def pointwise_backward_data(be, shape: ConvShape, dy, w, outputs: Outputs, dx) -> None:
    """dx (N, C, H, W) = relu(scale * the transposed convolution of dy (N, K, H, W) with w (K, C/group, 1, 1) + bias).

    The same bits whether the weights are transposed or not.
    """
    k_group, c_group = shape.k_out // shape.group, shape.c_in // shape.group
    transposed = shape._replace(c_in=shape.k_out, k_out=shape.c_in)
    row_stride, step = 1, c_group
    if w.size >= LARGE and shape.images * shape.height * shape.width >= LEAST_PIXELS:
        rows = be.memory.empty(w.size, np.float32)
        be.pool.run(_transpose, 1, w.reshape(-1), shape.group, k_group, c_group, rows)
        w, row_stride, step = rows, k_group, 1
    run_direct_forward(be, direct_forward(transposed, row_stride, step, be.pool.threads), dy, w, outputs, dx)


@kernel
def _transpose(state, w, groups, k, c, out):
    """out (groups, c, k) = w (groups, k, c), each matrix transposed, in squares: lines next to each other in memory are
    read and written at once."""
    me, squares = enter(state), (c + SQUARE - 1) // SQUARE
    for job in work(state, me, 0, groups * squares):
        start, first = job // squares * k * c, job % squares * SQUARE
        end = min(first + SQUARE, c)
        for top in range(0, k, SQUARE):
            for i in range(top, min(top + SQUARE, k), 16):
                for j in range(first, end, 16):
                    _transpose_some(
                        w, start + i * c + j, c, out, start + j * k + i, k, min(16, k - i), min(16, end - j)
                    )


@inner_kernel
def _transpose_some(a, ia, lda, b, ib, ldb, rows, columns):
    """b[ib + j * ldb + i] = a[ia + i * lda + j] for i < rows, j < columns, 16 at most."""
    if rows == 16 and columns == 16:
        transpose_tile(a, ia, lda, b, ib, ldb)
        return
    for j in range(columns):
        for i in range(rows):
            b[ib + j * ldb + i] = a[ia + i * lda + j]
