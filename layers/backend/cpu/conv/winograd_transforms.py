"""The tile transforms of winograd_matrices as vector code, LANES tiles (or 16 channels of kernels) at a time.

A spectrum is a Matrix with a row for each of the (m + r - 1)^2 frequencies.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from demitasse.layers.backend.cpu import processor
from demitasse.layers.backend.cpu.conv.winograd_matrices import combine, matrices
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import I32, I64, OTHERS, Vec, Writer, void

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


class _Grid:
    """Vectors between the two halves of a transform, in memory where they are more than registers: there line after
    line is put and taken.  LLVM alone works on all lines at once, and stores and loads twice as many vectors."""

    def __init__(self, w, rows, columns):
        _, registers, _ = processor.vector_registers()
        self.w, self.columns, self.vectors, self.memory = w, columns, {}, None
        if rows * columns + OTHERS > registers:
            self.memory = cgutils.alloca_once(w.b, ir.ArrayType(w.type, rows * columns))

    def _place(self, i, j):
        return self.w.b.gep(self.memory, [I32(0), I32(i * self.columns + j)])

    def put_column(self, j, column):
        for i, value in enumerate(column):
            if self.memory is None:
                self.vectors[i, j] = value
            else:
                self.w.store(value, self._place(i, j))
        self.end_line()

    def row(self, i):
        if self.memory is None:
            return [self.vectors[i, j] for j in range(self.columns)]
        return [self.w.load(self._place(i, j)) for j in range(self.columns)]

    def end_line(self):
        if self.memory is not None:
            self.w.end_line(self.memory)


def _both_ways(w, matrix, columns):
    """The rows of matrix . grid . matrix^T one by one, from the columns of the grid (lists of vectors); from its rows,
    the columns."""
    between = _Grid(w, len(matrix), len(matrix[0]))
    for j, column in enumerate(columns):
        between.put_column(j, combine(matrix, column))
    for i in range(len(matrix)):
        yield combine(matrix, between.row(i))
        between.end_line()


def _addresses(w, pointer, step, count):
    """Addresses from a pointer on, `step` apart.  They are computed here: LLVM would compute those of all lines before
    the loop around, and keep them in memory."""
    kind = ir.FunctionType(pointer.type, [pointer.type])
    pointer = w.b.asm(kind, "", "=r,0", [pointer], True)
    return [w.at(pointer, (step, i)) for i in range(count)]


def _load_columns(w, side, matrix, start=0):
    """The columns of a grid of side x side vectors, from the rows of a Matrix (see operand)."""
    pointer, step = w.at(matrix["data"], start), w.b.mul(matrix["ld"], I64(side))
    for _ in range(side):
        yield [w.load(place) for place in _addresses(w, pointer, step, side)]
        pointer = w.at(pointer, matrix["ld"])


def _load_pixels(w, lines, m, side):
    """The rows of a grid of side x side vectors: every m-th pixel of the rows of a Matrix."""
    pointer = lines["data"]
    for _ in range(side):
        yield w.deinterleave(*_addresses(w, pointer, lines["ld"], 1), m, side)
        pointer = w.at(pointer, lines["ld"])


def _store_lines(w, lines, pointer, to_next, step):
    """Stores vectors to addresses `step` apart; each line begins at `to_next` (a term of Writer.at) from the last."""
    for line in lines:
        for value, place in zip(line, _addresses(w, pointer, step, len(line)), strict=True):
            w.store(value, place)
        pointer = w.at(pointer, to_next)


def _pixels_to_spectrum(name):
    """An intrinsic from lines of pixels to frequencies: spectrum[f] = (matrix . tile . matrix^T)[f] for LANES tiles."""

    @Intrinsic
    def transform(typing, lines, spectrum, tile):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args, LANES)
            m, r = sizes_of(signature.args[2])
            matrix, lines, spectrum = matrices(m, r)[name], operand(w, 0), operand(w, 1)
            rows = _load_pixels(w, lines, m, len(matrix[0]))
            step = builder.mul(spectrum["ld"], I64(len(matrix)))
            _store_lines(w, _both_ways(w, matrix, rows), spectrum["data"], spectrum["ld"], step)
            return context.get_dummy_value()

        return void(lines, spectrum, tile), generate

    return transform


input_tile = _pixels_to_spectrum("BT")  # x -> V
gradient_tile = _pixels_to_spectrum("A")  # dy -> dM


@Intrinsic
def output_tile(typing, spectrum, lines, scale, bias, slope, tile):
    """lines = relu(scale * (A^T spectrum A) + bias) for LANES tiles: m lines of LANES * m pixels.  A slope that is
    neither 0 nor 1 (no relu) is left out."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, LANES)
        m, r = sizes_of(signature.args[5])
        spectrum, lines = operand(w, 0), operand(w, 1)
        scale, bias, slope = (w.splat(args[i]) for i in (2, 3, 4))
        pointer, floor = lines["data"], w.floor_of(slope)
        for row in _both_ways(w, matrices(m, r)["AT"], _load_columns(w, m + r - 1, spectrum)):
            row = [w.at_least(w.fma(value, scale, bias), floor) for value in row]
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
        columns = (
            [Vec(builder, builder.select(wanted, value.value, zero.value)) for value in column]
            for column in _load_columns(w, a, spectrum)
        )
        pointer = lines["data"]
        for row in _both_ways(w, _transposed(matrices(m, r)["BT"]), columns):
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
            w = Writer(context, builder, signature, args, LANES)
            matrix = matrices(*sizes_of(signature.args[2]))["G"]
            matrix = _transposed(matrix) if transpose else matrix
            x, out = operand(w, 0), operand(w, 1)
            for start in range(0, 16, LANES):
                rows = _both_ways(w, matrix, _load_columns(w, len(matrix[0]), x, start))
                _store_lines(w, rows, w.at(out["data"], start), (out["ld"], len(matrix)), out["ld"])
            return context.get_dummy_value()

        return void(x, out, tile), generate

    return transform


kernel_tile = _between_kernels_and_spectrum(False)  # w -> U
kernel_gradient_tile = _between_kernels_and_spectrum(True)  # dU -> dw
