"""The tile transforms of cpu_toom as vector code, 16 tiles (or 16 channels of kernels) at a time.

m and r of F(m x m, r x r) are the lengths of the last two arguments.
"""

from __future__ import annotations

from numba.extending import intrinsic

from demitasse.layers.backend.cpu.conv.winograd_matrices import matrices
from demitasse.layers.backend.cpu.simd import LANES, Vec, Writer, void


def combine(matrix, xs):
    """matrix times the vector xs of vectors.  Rows (or columns) of the points p and -p differ in the sign of the
    odd entries only: their even and odd parts are computed once."""
    rows, cols = len(matrix), len(matrix[0])

    def linear(row, which):
        total = None
        for j in which:
            if row[j] == 0:
                continue
            if total is None:
                total = xs[j] if row[j] == 1 else xs[j] * row[j]
            elif row[j] == 1:
                total = total + xs[j]
            elif row[j] == -1:
                total = total - xs[j]
            else:
                total = total + xs[j] * row[j]
        return total

    paired = [i for i in range(rows - 1) if all(matrix[i + 1][j] == (-1) ** j * matrix[i][j] for j in range(cols))]
    if paired:
        out = []
        for i in range(rows):
            if i in paired:
                even, odd = linear(matrix[i], range(0, cols, 2)), linear(matrix[i], range(1, cols, 2))
                out += [even + odd, even - odd]
            elif i - 1 not in paired:
                out.append(linear(matrix[i], range(cols)))
        return out
    xs, matrix = list(xs), [list(row) for row in matrix]
    for j in range(cols - 1):
        if any(row[j] for row in matrix) and all(row[j + 1] == (-1) ** i * row[j] for i, row in enumerate(matrix)):
            xs[j], xs[j + 1] = xs[j] + xs[j + 1], xs[j] - xs[j + 1]
            for i, row in enumerate(matrix):
                row[j], row[j + 1] = (0, row[j]) if i % 2 else (row[j], 0)
    return [linear(row, range(cols)) for row in matrix]


def _both_ways(matrix, grid):
    """matrix . grid . matrix^T for a grid (list of rows) of vectors."""
    columns = [combine(matrix, [row[j] for row in grid]) for j in range(len(grid[0]))]
    return [combine(matrix, [column[i] for column in columns]) for i in range(len(matrix))]


def _spread(name):
    """An intrinsic from lines of pixels to frequencies: out[f] = (matrix . tile . matrix^T)[f] for 16 tiles."""

    @intrinsic
    def spread(typing, lines, il, stride, out, io, plane, m, r):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args)
            m, r = signature.args[6].count, signature.args[7].count
            matrix = matrices(m, r)[name]
            pointer, stride, po, plane = w.pointer(0), w.integer(2), w.pointer(3), w.integer(5)
            grid = []
            for _ in range(len(matrix[0])):
                grid.append(w.deinterleave(pointer, m, len(matrix[0])))
                pointer = w.at(pointer, stride)
            for row in _both_ways(matrix, grid):
                for value in row:
                    w.store(value, po)
                    po = w.at(po, plane)
            return context.get_dummy_value()

        return void(lines, il, stride, out, io, plane, m, r), generate

    return spread


input_tile = _spread("BT")  # x -> V
gradient_tile = _spread("A")  # dy -> dM


@intrinsic
def output_tile(typing, freq, iq, plane, lines, il, stride, bias, slope, m, r):
    """lines = relu(A^T freq A + bias) for 16 tiles: m lines of 16 m pixels.  slope 1: no relu."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        m, r = signature.args[8].count, signature.args[9].count
        matrix = matrices(m, r)["AT"]
        pq, plane, pointer, stride = w.pointer(0), w.integer(2), w.pointer(3), w.integer(5)
        bias, slope = w.splat(args[6]), w.splat(args[7])
        grid = []
        for _ in range(m + r - 1):
            row = []
            for _ in range(m + r - 1):
                row.append(w.load(pq))
                pq = w.at(pq, plane)
            grid.append(row)
        for row in _both_ways(matrix, grid):
            row = [value + bias for value in row]
            row = [w.relu(value, slope) for value in row]
            for q, value in enumerate(w.interleave(row)):
                w.store(value, w.at(pointer, q * LANES))
            pointer = w.at(pointer, stride)
        return context.get_dummy_value()

    return void(freq, iq, plane, lines, il, stride, bias, slope, m, r), generate


@intrinsic
def scatter_tile(typing, freq, iq, plane, lines, il, stride, tiles, m, r):
    """lines += B freq B^T for the first `tiles` of 16, m pixels apart and m + r - 1 wide: the adjoint of input_tile."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        m, r = signature.args[7].count, signature.args[8].count
        a = m + r - 1
        matrix = [list(column) for column in zip(*matrices(m, r)["BT"], strict=True)]
        pq, plane, pointer, stride = w.pointer(0), w.integer(2), w.pointer(3), w.integer(5)
        wanted = w.below(w.integer(6))
        grid = []
        for _ in range(a):
            row = []
            for _ in range(a):
                row.append(Vec(builder, builder.select(wanted, w.load(pq).value, w.zero().value)))
                pq = w.at(pq, plane)
            grid.append(row)
        nothing = w.zero()
        for row in _both_ways(matrix, grid):
            for base in range(0, a, m):
                part = [row[base + i] if base + i < a else nothing for i in range(m)]
                for q, value in enumerate(w.interleave(part)):
                    place = w.at(pointer, base + q * LANES)
                    w.store(value + w.load(place), place)
            pointer = w.at(pointer, stride)
        return context.get_dummy_value()

    return void(freq, iq, plane, lines, il, stride, tiles, m, r), generate


def _kernel_map(name, transpose, add):
    """An intrinsic between kernels and frequencies, both (rows, 16 channels): out (+)= matrix . x . matrix^T."""

    @intrinsic
    def kernel_map(typing, x, ix, step, out, io, plane, m, r):
        def generate(context, builder, signature, args):
            w = Writer(context, builder, signature, args)
            matrix = matrices(signature.args[6].count, signature.args[7].count)[name]
            if transpose:
                matrix = [list(column) for column in zip(*matrix, strict=True)]
            px, step, po, plane = w.pointer(0), w.integer(2), w.pointer(3), w.integer(5)
            n = len(matrix[0])
            grid = []
            for _ in range(n):
                row = []
                for _ in range(n):
                    row.append(w.load(px))
                    px = w.at(px, step)
                grid.append(row)
            for row in _both_ways(matrix, grid):
                for value in row:
                    w.store(value + w.load(po) if add else value, po)
                    po = w.at(po, plane)
            return context.get_dummy_value()

        return void(x, ix, step, out, io, plane, m, r), generate

    return kernel_map


weight_tile = _kernel_map("G", False, False)  # w -> U
weight_gradient_tile = _kernel_map("G", True, False)  # dU -> dw
