"""MATLAB's .mat files (version 5, as save and save -v7 write them): variables to Python values.

scipy.io reads them too, but a damaged file can make it crash the process.  Here every size is checked
against the bytes that are there.  A numeric array becomes a NumPy array (a view where nothing is
compressed), text a str, a cell array a list and a struct array a list of dicts, both column by column;
what else MATLAB knows (sparse arrays, objects, functions) becomes None.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

from demitasse.proto.memory import bytes_text, memory_left

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _FIRST_NUMERIC, _LAST_NUMERIC = 1, 2, 4, 6, 15
_DEEPEST = 32


def read(data: bytes | memoryview) -> dict[str, Any]:
    """{name: value} of a file's bytes.  Raises ValueError."""
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if bytes(data[:19]) == b"MATLAB 7.3 MAT-file":
        raise ValueError("it is a MATLAB 7.3 file: save it with -v7")
    if order is None:
        raise ValueError("the header is not that of a MATLAB 5 file")
    variables, at = {}, 128
    while at < len(data):
        kind, start, stop, after = _element(data, at, len(data), order)
        if kind == _COMPRESSED:
            name, value = _unpacked(data[start:stop], order)
            after = stop  # compressed elements are not padded
        elif kind == _MATRIX:
            name, value = _matrix(data, start, stop, order, 0)
        else:
            raise ValueError(f"an element of type {kind} at byte {at:,}, where a variable is expected")
        variables[name] = value
        at = after
    return variables


def _unpacked(packed, order: str):
    stream = zlib.decompressobj()
    try:
        head = stream.decompress(packed, 8)  # says how many bytes there are, so that none are without end
        length = int(np.frombuffer(head, order + "u4")[1]) if len(head) == 8 else 0
        left = memory_left() if length > 1 << 28 else None
        if left is not None and length > left:
            raise ValueError(
                f"not enough memory: a variable takes {bytes_text(length)}, and {bytes_text(left)} are left"
            )
        data = head + stream.decompress(stream.unconsumed_tail, max(1, length))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    kind, start, stop, _ = _element(data, 0, len(data), order)
    if kind != _MATRIX:
        raise ValueError("a compressed element that is no variable")
    return _matrix(data, start, stop, order, 0)


def _element(data, at: int, end: int, order: str) -> tuple[int, int, int, int]:
    """(type, start, stop, offset of the next) of the element at an offset."""
    if at + 8 > end:
        raise ValueError(f"truncated at byte {end:,}")
    kind, length = np.frombuffer(data, order + "u4", 2, at).tolist()
    start = at + 8
    if kind >> 16:  # up to four bytes lie inside the tag
        kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
        if length > 4:
            raise ValueError(f"a small element of {length} bytes at byte {at:,}")
        return kind, start, start + length, at + 8
    if start + length > end:
        raise ValueError(f"truncated: {length:,} bytes are promised at byte {at:,}, {end - start:,} are there")
    return kind, start, start + length, min(end, start + length + -length % 8)


def _numbers(data, at: int, end: int, order: str) -> tuple[np.ndarray, int]:
    """(values of the element at an offset, offset of the next)."""
    kind, start, stop, after = _element(data, at, end, order)
    if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} at byte {at:,}, where numbers are expected")
    dtype = np.dtype(order + _NUMBERS[kind])
    return np.frombuffer(data, dtype, (stop - start) // dtype.itemsize, start), after


def _matrix(data, at: int, end: int, order: str, depth: int) -> tuple[str, object]:
    """(name, value) of an array whose contents lie between two offsets."""
    if at == end:
        return "", np.empty((0, 0))
    if depth > _DEEPEST:
        raise ValueError(f"cells or structs more than {_DEEPEST} deep")
    flags, at = _numbers(data, at, end, order)
    sizes, at = _numbers(data, at, end, order)
    name, at = _numbers(data, at, end, order)
    if not flags.size or not 1 <= sizes.size <= 32 or min(sizes) < 0:
        raise ValueError(f"an array without sizes before byte {at:,}")
    kind, shape = int(flags[0]) & 0xFF, tuple(map(int, sizes))
    return name.tobytes().decode("latin-1"), _value(data, at, end, order, kind, shape, depth)


def _value(data, at: int, end: int, order: str, kind: int, shape: tuple[int, ...], depth: int):
    count = math.prod(shape)
    if kind == _CELL:
        return [value for value, _ in zip(_matrices(data, at, end, order, depth), range(count), strict=False)]
    if kind == _STRUCT:
        length, at = _numbers(data, at, end, order)
        names, at = _numbers(data, at, end, order)
        width = int(length[0]) if length.size else 0
        if width < 1:
            raise ValueError(f"a struct without names before byte {at:,}")
        text = names.tobytes()
        fields = [text[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(text), width)]
        values = list(_matrices(data, at, end, order, depth))
        if len(values) != count * len(fields):
            raise ValueError(f"a struct of {count} x {len(fields)} values with {len(values)} of them")
        return [
            dict(zip(fields, values[i : i + len(fields)], strict=True)) for i in range(0, len(values), len(fields) or 1)
        ]
    if kind == _CHAR:
        encoding, start, stop, _ = _element(data, at, end, order)
        codec = _ENCODINGS.get(encoding, "latin-1")
        if codec in ("utf-16", "utf-32"):
            codec += "-le" if order == "<" else "-be"
        return bytes(data[start:stop]).decode(codec, "replace")
    if _FIRST_NUMERIC <= kind <= _LAST_NUMERIC:
        numbers, _ = _numbers(data, at, end, order)
        if numbers.size != count:
            raise ValueError(f"an array of {' x '.join(map(str, shape))} holds {numbers.size:,} values")
        return numbers.reshape(shape, order="F")
    return None


def _matrices(data, at: int, end: int, order: str, depth: int):
    while at < end:
        kind, start, stop, at = _element(data, at, end, order)
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} before byte {at:,}, where an array is expected")
        yield _matrix(data, start, stop, order, depth + 1)[1]
