"""The tile transforms of winograd_matrices as vector code, LANES tiles (or 16 channels of kernels) at a time.

A spectrum is a Matrix with a row for each of the (m + r - 1)^2 frequencies.
"""

from __future__ import annotations

from typing import NamedTuple

from demitasse.layers.backend.cpu.conv.winograd_matrices import combine, matrices
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES
from demitasse.layers.backend.cpu.jit import Intrinsic
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import Vec, Writer, void

LANES = max(8, TILE_LANES)  # a register, where there are 8 or 16 floats in it


class Tile(NamedTuple):
    """m and r of F(m x m, r x r): the lengths of two tuples, which are known while code is written."""

    m: tuple[int, ...]
    r: tuple[int, ...]


def sizes_of(tile_type) -> tuple[int, int]:
    """(m, r) of Numba's type of a Tile."""
    m, r = tile_type.types
    return m.count, r.count


def _transposed(matrix):
    return [list(column) for column in zip(*matrix, strict=True)]


def _both_ways(matrix, grid):
    """matrix . grid . matrix^T for a grid (list of rows) of vectors."""
    columns = [combine(matrix, [row[j] for row in grid]) for j in range(len(grid[0]))]
    return [combine(matrix, [column[i] for column in columns]) for i in range(len(matrix))]


def _load_grid(w, side, matrix):
    """side x side vectors, from the rows of a Matrix (see operand)."""
    pointer, grid = matrix["data"], []
    for _ in range(side):
        row = []
        for _ in range(side):
            row.append(w.load(pointer))
            pointer = w.at(pointer, matrix["ld"])
        grid.append(row)
    return grid


def _store_grid(w, grid, matrix):
    """The inverse of _load_grid."""
    pointer = matrix["data"]
    for row in grid:
        for value in row:
            w.store(value, pointer)
            pointer = w.at(pointer, matrix["ld"])


def _pixels_to_spectrum(name):
    """An intrinsic from lines of pixels to frequencies: spectrum[f] = (matrix . tile . matrix^T)[f] for LANES tiles."""

    @Intrinsic
    def transform(typing, lines, spectrum, tile):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args, LANES)
            m, r = sizes_of(signature.args[2])
            matrix, lines, spectrum = matrices(m, r)[name], operand(w, 0), operand(w, 1)
            pointer, grid = lines["data"], []
            for _ in range(len(matrix[0])):
                grid.append(w.deinterleave(pointer, m, len(matrix[0])))
                pointer = w.at(pointer, lines["ld"])
            _store_grid(w, _both_ways(matrix, grid), spectrum)
            return context.get_dummy_value()

        return void(lines, spectrum, tile), generate

    return transform


input_tile = _pixels_to_spectrum("BT")  # x -> V
gradient_tile = _pixels_to_spectrum("A")  # dy -> dM


@Intrinsic
def output_tile(typing, spectrum, lines, scale, bias, slope, tile):
    """lines = relu(scale * (A^T spectrum A) + bias) for LANES tiles: m lines of LANES * m pixels.  slope 1: no relu."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, LANES)
        m, r = sizes_of(signature.args[5])
        spectrum, lines = operand(w, 0), operand(w, 1)
        scale, bias, slope = (w.splat(args[i]) for i in (2, 3, 4))
        grid, pointer = _load_grid(w, m + r - 1, spectrum), lines["data"]
        for row in _both_ways(matrices(m, r)["AT"], grid):
            row = [w.relu(w.fma(value, scale, bias), slope) for value in row]
            w.interleave(row, pointer)
            pointer = w.at(pointer, lines["ld"])
        return context.get_dummy_value()

    return void(spectrum, lines, scale, bias, slope, tile), generate


@Intrinsic
def add_input_gradient_tile(typing, spectrum, lines, tiles, tile):
    """The adjoint of input_tile: lines += B spectrum B^T for the first `tiles` of LANES, m pixels apart."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, LANES)
        m, r = sizes_of(signature.args[3])
        a, spectrum, lines = m + r - 1, operand(w, 0), operand(w, 1)
        wanted, zero = w.below(w.integer(2)), w.zero()
        grid = [
            [Vec(builder, builder.select(wanted, value.value, zero.value)) for value in row]
            for row in _load_grid(w, a, spectrum)
        ]
        pointer = lines["data"]
        for row in _both_ways(_transposed(matrices(m, r)["BT"]), grid):
            for base in range(0, a, m):
                part = [row[base + i] if base + i < a else zero for i in range(m)]
                w.interleave(part, w.at(pointer, base), add=True)
            pointer = w.at(pointer, lines["ld"])
        return context.get_dummy_value()

    return void(spectrum, lines, tiles, tile), generate


def _between_kernels_and_spectrum(transpose):
    """An intrinsic from the Matrix x to the Matrix out, (r * r, 16 channels) or (frequencies, 16 channels):
    out = G . x . G^T, or with G transposed."""

    @Intrinsic
    def transform(typing, x, out, tile):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args)
            matrix = matrices(*sizes_of(signature.args[2]))["G"]
            matrix = _transposed(matrix) if transpose else matrix
            grid = _load_grid(w, len(matrix[0]), operand(w, 0))
            _store_grid(w, _both_ways(matrix, grid), operand(w, 1))
            return context.get_dummy_value()

        return void(x, out, tile), generate

    return transform


kernel_tile = _between_kernels_and_spectrum(False)  # w -> U
kernel_gradient_tile = _between_kernels_and_spectrum(True)  # dU -> dw
