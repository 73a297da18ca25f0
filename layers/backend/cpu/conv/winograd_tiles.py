"""Tile transforms of whole rows of tiles and of the kernels of 16 channels, at the borders too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import add_line
from demitasse.layers.backend.cpu.conv.winograd_transforms import (
    LANES,
    add_input_gradient_tile,
    gradient_tile,
    input_tile,
    kernel_gradient_tile,
    kernel_tile,
    output_tile,
)
from demitasse.layers.backend.cpu.gemm_microkernel import fill
from demitasse.layers.backend.cpu.jit import inner_kernel
from demitasse.layers.backend.cpu.operands import Matrix
from demitasse.layers.backend.cpu.simd_ops import copy, transpose_tile

LINES = 8192  # floats that these kernels need as `lines`
SKEW = 16  # between frequencies: matrices a power of two apart would all share a few cache sets


class Plane(NamedTuple):
    """A plane (height, width) of an image, at pixels[start :]."""

    pixels: np.ndarray
    start: int
    height: int
    width: int


class Kernels(NamedTuple):
    """The kernel of output k and input c is at data[start + k * out_step + c * in_step :]."""

    data: np.ndarray
    start: int
    out_step: int
    in_step: int
    rotated: bool  # whether they are meant rotated by 180 degrees


@inner_kernel
def side_of(tile):
    """m + r - 1: pixels that a tile sees, along each axis."""
    return len(tile.m) + len(tile.r) - 1


@inner_kernel
def tiles_along(size, tile):
    """How many tiles there are along an axis of so many outputs."""
    return (size + len(tile.m) - 1) // len(tile.m)


@inner_kernel
def reach_of(tile):
    """Columns of the pixels that LANES tiles see, in whole steps."""
    m = len(tile.m)
    return LANES * m + (side_of(tile) - 1) // m * m


@inner_kernel
def _read_kernels(w, start, step, rows, taps, out):
    """out (taps, 16) = the kernels at w[start], w[start + step], ... of `rows` <= 16 channels; 0 for the others."""
    whole = 0
    if rows == 16:
        while whole < taps and start + 15 * step + whole + 16 <= w.size:
            transpose_tile(w, start + whole, step, out, whole * 16, 16)
            whole += 16
    for t in range(whole, taps):
        for i in range(16):
            out[t * 16 + i] = w[start + i * step + t] if i < rows else 0


@inner_kernel
def transform_kernels(w, first, last, inputs, u, lines, tile):
    """u = U of the outputs first ... last - 1 (16 at most) of the Kernels w, packed (inputs, 16) for each frequency."""
    taps, rows = len(tile.r) * len(tile.r), min(16, last - first)
    at_once = min(16, LINES // (16 * taps)) if w.in_step == taps else 1  # of inputs whose kernels lie side by side
    for c0 in range(0, inputs, at_once):
        count = min(at_once, inputs - c0)
        start = w.start + first * w.out_step + c0 * w.in_step
        _read_kernels(w.data, start, w.out_step, rows, count * taps, lines)
        for c in range(count):
            begin = c * taps * 16
            taken = Matrix(lines, begin + (taps - 1) * 16, -16) if w.rotated else Matrix(lines, begin, 16)
            kernel_tile(taken, Matrix(u.data, u.start + (c0 + c) * 16, u.ld), tile)


@inner_kernel
def add_kernel_gradients(u, c_in, dw, start, lines, tile):
    """dw[start :] += G^T dU G for all inputs of one output; u: a spectrum of them."""
    taps, sorted_at = len(tile.r) * len(tile.r), LINES // 2
    for c in range(0, c_in, 16):
        kernel_gradient_tile(Matrix(u.data, u.start + c, u.ld), Matrix(lines, 0, 16), tile)
        at, channels = start + c * taps, min(16, c_in - c)
        if taps < 16:
            for i in range(channels):
                for t in range(taps):
                    dw[at + i * taps + t] += lines[t * 16 + i]
            continue
        for t in range(0, taps, 16):
            t = min(t, taps - 16)
            transpose_tile(lines, t * 16, 16, lines, sorted_at + t, taps)
        add_line(lines, sorted_at, dw, at, channels * taps)


@inner_kernel
def _read_patch(plane, row0, column0, rows, columns, lines):
    """lines (rows, columns) = the patch of the Plane that begins at (row0, column0), 0 outside."""
    left = max(0, -column0)
    wide = max(0, min(columns, plane.width - column0) - left)
    for i in range(rows):
        row, line = row0 + i, i * columns
        if row < 0 or row >= plane.height:
            fill(lines, line, columns, np.float32(0))
            continue
        fill(lines, line, left, np.float32(0))
        copy(plane.pixels, plane.start + row * plane.width + column0 + left, lines, line + left, wide)
        fill(lines, line + left + wide, columns - left - wide, np.float32(0))


@inner_kernel
def transform_inputs(plane, row0, column0, tiles_x, v, lines, tile):
    """v = the spectrum of a row of tiles of the Plane, the first at (row0, column0); of up to LANES - 1 tiles more."""
    side, reach = side_of(tile), reach_of(tile)
    inside = row0 >= 0 and row0 + side <= plane.height
    for t in range(0, tiles_x, LANES):
        column, out = column0 + t * len(tile.m), Matrix(v.data, v.start + t, v.ld)
        seen = Matrix(plane.pixels, plane.start + row0 * plane.width + column, plane.width)
        if not (inside and column >= 0 and column + reach <= plane.width):
            _read_patch(plane, row0, column, side, reach, lines)
            seen = Matrix(lines, 0, reach)
        input_tile(seen, out, tile)  # here only: it is most of the machine code


@inner_kernel
def transform_gradients(plane, row0, tiles_x, v, lines, tile):
    """v = the spectrum dM of a row of tiles of the Plane (of dy), from line row0; of up to LANES - 1 tiles more."""
    m = len(tile.m)
    for t in range(0, tiles_x, LANES):
        column, out = t * m, Matrix(v.data, v.start + t, v.ld)
        seen = Matrix(plane.pixels, plane.start + row0 * plane.width + column, plane.width)
        if row0 + m > plane.height or column + LANES * m > plane.width:
            _read_patch(plane, row0, column, m, LANES * m, lines)
            seen = Matrix(lines, 0, LANES * m)
        gradient_tile(seen, out, tile)


@inner_kernel
def transform_outputs(q, outputs, k, tiles_x, plane, row0, lines, tile):
    """The Plane of output k from line row0 = relu(scale * a row of tiles of the spectrum q + bias): Outputs.  A slope
    that is neither 0 nor 1 is left out."""
    m = len(tile.m)
    rows = min(m, plane.height - row0)
    for t in range(0, tiles_x, LANES):
        column, spectrum = t * m, Matrix(q.data, q.start + t, q.ld)
        start = plane.start + row0 * plane.width + column
        whole = rows == m and column + LANES * m <= plane.width
        out = Matrix(plane.pixels, start, plane.width) if whole else Matrix(lines, 0, LANES * m)
        output_tile(spectrum, out, outputs.scale[k], outputs.bias[k], outputs.slope[k], tile)
        if not whole:
            for i in range(rows):
                wide = min(LANES * m, plane.width - column)
                copy(lines, i * LANES * m, plane.pixels, start + i * plane.width, wide)


@inner_kernel
def add_input_gradients(q, tiles_x, plane, row0, column0, lines, tile):
    """The adjoint of transform_inputs: adds a row of tiles of the spectrum q, the first at (row0, column0)."""
    m, side, reach = len(tile.m), side_of(tile), reach_of(tile)
    for t in range(0, tiles_x, LANES):
        tiles = min(LANES, tiles_x - t)
        fill(lines, 0, side * reach, np.float32(0))
        add_input_gradient_tile(Matrix(q.data, q.start + t, q.ld), Matrix(lines, 0, reach), tiles, tile)
        column = column0 + t * m
        low, high = max(0, -column), min((tiles - 1) * m + side, plane.width - column)
        for i in range(max(0, -row0), min(side, plane.height - row0)):
            start = plane.start + (row0 + i) * plane.width + column
            for j in range(low, high):
                plane.pixels[start + j] += lines[i * reach + j]
