"""The few columns of outputs that are left beyond whole strips: 1 of 7 x 7, 4 of 14 x 14, the one of a 1 x 1 image.

Most lanes of a register tile would be idle.  So each of these columns of im2col is packed as a line of its own, and
lanes add up parts of the sum: the product of a row of weights, as it lies, and that line.
"""

from __future__ import annotations

from demitasse.layers.backend.cpu.conv_microkernel import convolve_tiles
from demitasse.layers.backend.cpu.gemm_microkernel import NARROW, ROWS, STRIP, TILE_LANES, VECTORS
from demitasse.layers.backend.cpu.gemv_microkernel import convolve_columns
from demitasse.layers.backend.cpu.jit import inner_kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, Rows


@inner_kernel
def are_lines(w, columns):
    """Whether so many columns that are left are packed as lines, for the Rows w."""
    return columns % STRIP <= NARROW and w.step == 1


@inner_kernel
def pack_lines(pixels, start, offsets, plan, column, n, lines):
    """Rows of the Matrix `lines` = n columns of im2col from `column` on."""
    for j in range(n):
        at = start + column + j
        if plan.framed:
            line, first = divmod(column + j, plan.shape.out_w)
            at = start + line * plan.ld + first
        for p in range(len(offsets)):
            lines.data[lines.start + j * lines.ld + p] = pixels[at + offsets[p]]


@inner_kernel
def convolve_narrow(w, panel, lines, y, depth, add, epilogue, columns):
    """convolve_tiles for fewer columns than a strip has: of the panel, or of those that are packed as lines."""
    if are_lines(w, columns):
        for k in range(0, w.count, len(ROWS)):
            left = Rows(w.data, w.start + k * w.row_stride, w.row_stride, w.step, min(len(ROWS), w.count - k))
            then, out = Epilogue(epilogue.outputs, epilogue.channel + k, epilogue.last), y.start + k * y.ld
            _convolve_lines(left, lines, Matrix(y.data, out, y.ld), depth, add, then, columns)
    elif columns > 2 * TILE_LANES:
        convolve_tiles(w, panel, y, 1, depth, add, epilogue, ROWS, VECTORS)
    elif columns > TILE_LANES:
        convolve_tiles(w, panel, y, 1, depth, add, epilogue, ROWS, (0, 0))
    else:
        convolve_tiles(w, panel, y, 1, depth, add, epilogue, ROWS, (0,))


@inner_kernel
def _convolve_lines(w, lines, y, depth, add, epilogue, columns):
    """convolve_columns for any number of columns."""
    ahead = len(ROWS) * w.row_stride
    for j in range(0, columns // 2 * 2, 2):
        seen, out = Matrix(lines.data, lines.start + j * lines.ld, lines.ld), Matrix(y.data, y.start + j, y.ld)
        convolve_columns(w, seen, out, depth, add, epilogue, ahead, ROWS, (0, 0))
    if columns % 2 == 1:
        j = columns - 1
        seen, out = Matrix(lines.data, lines.start + j * lines.ld, lines.ld), Matrix(y.data, y.start + j, y.ld)
        convolve_columns(w, seen, out, depth, add, epilogue, ahead, ROWS, (0,))
