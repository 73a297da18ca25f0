"""What products take inside kernels: NamedTuples of the flat array that holds a matrix, and of where it lies there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.jit import types


class Matrix(NamedTuple):
    """Element (i, j) is data[start + i * ld + j]."""

    data: np.ndarray
    start: int
    ld: int


class Rows(NamedTuple):
    """`count` rows of weights as they lie: element (i, p) is data[start + i * row_stride + p * step]."""

    data: np.ndarray
    start: int
    row_stride: int
    step: int
    count: int


class OffsetRows(NamedTuple):
    """Rows that begin anywhere in an image: element (p, j) is data[start + offsets[first + p] + j]."""

    data: np.ndarray
    start: int
    offsets: np.ndarray
    first: int


EMPTY = np.empty(0, np.float32)


class Outputs(NamedTuple):
    """What sums of products become, by channel: y = relu(scale * sum + bias), with that slope below 0; 1: no relu.

    residual: what is added to each output then, all of them flat, before a ReLU with the slope last_slope; empty: no
    more is done.
    """

    scale: np.ndarray
    bias: np.ndarray
    slope: np.ndarray
    residual: np.ndarray = EMPTY
    last_slope: np.ndarray = EMPTY


class Epilogue(NamedTuple):
    """Row i becomes what Outputs says of channel + i.  Nothing unless the sums are the last of their rows."""

    outputs: Outputs
    channel: int
    last: bool


class PackedRows(NamedTuple):
    """Blocks of 16 rows: element (16 * k + i, p) is data[start + k * block_stride + p * 16 + i], k < blocks."""

    data: np.ndarray
    start: int
    block_stride: int
    blocks: int


def operand(w, i):
    """{name: value} of argument i, one of the NamedTuples above: integers as int64, `data` as a pointer to where it
    starts, other arrays as Numba's structures."""
    kind, fields = w.signature.args[i], {}
    for j, name in enumerate(kind.fields):
        value, own = w.b.extract_value(w.args[i], j), kind.types[j]
        if isinstance(own, types.Array):
            fields[name] = w.context.make_array(own)(w.context, w.b, value)
        else:
            fields[name] = w.context.cast(w.b, value, own, types.int64)
    fields["data"] = w.at(fields["data"].data, fields["start"])
    return fields
