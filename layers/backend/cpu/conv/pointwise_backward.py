"""The gradient of the input of a 1x1 convolution: such a convolution of dy with the transposed weights.

Large weights are transposed first.  As they lie, those that one input is multiplied with are a whole row of memory
apart, often by a power of two: they share a few cache sets, and none stays in the cache until its neighbours are due.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.direct_forward import direct_forward, run_direct_forward
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.gemm_microkernel import transpose
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.operands import Matrix, Outputs
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
        columns = min(SQUARE, c - first)
        for top in range(0, k, SQUARE):
            rows = min(SQUARE, k - top)  # as wide are the lines that are written: nothing follows them
            right = Matrix(out, start + first * k + top, k)
            transpose(Matrix(w, start + top * c + first, c), rows, columns, right, rows)
