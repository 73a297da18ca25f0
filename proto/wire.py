"""Arrays in protobuf's binary form, without protobuf: a blob's numbers are a view of the file's bytes.

protobuf would make a Python object or a second copy of each of the hundred million numbers of a
weights file.  Here a message is cut along its fields; what is an array becomes a NumPy view, and
the few bytes that remain go to protobuf.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from demitasse.proto.files import buffer_of

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# BlobProto's fields.  Legacy sizes (num, channels, height, width) are the fields 1 to 4.
_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_RAW_DATA_TYPE, _RAW_DIFF_TYPE, _RAW_DATA, _RAW_DIFF = 10, 11, 12, 13  # NVIDIA's Caffe
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}


class Damaged(Exception):
    """The bytes are not the message they should be; `offset` is where that shows."""

    def __init__(self, what: str, offset: int, truncated: bool = False):
        super().__init__(what)
        self.offset, self.truncated = offset, truncated


def read_varint(buffer: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """(value, offset after it)."""
    value = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise Damaged("a number of more than ten bytes", at)
    raise Damaged("the end cuts a number off", at, truncated=True)


def read_field(buffer: bytes | memoryview, at: int, end: int) -> tuple[int, int, int, int]:
    """(number, wire type, start, stop) of the field at `at`: its value, without the length before it, lies between."""
    tag, start = read_varint(buffer, at, end)
    number, kind = tag >> 3, tag & 7
    if kind == VARINT:
        stop = read_varint(buffer, start, end)[1]
    elif kind == BYTES:
        length, start = read_varint(buffer, start, end)
        stop = start + length
    elif kind in (FIXED32, FIXED64):
        stop = start + (4 if kind == FIXED32 else 8)
    else:
        raise Damaged(f"no field has wire type {kind}", at)
    if not 0 < number < 1 << 29:
        raise Damaged(f"no field has number {number}", at)
    if stop > end:
        raise Damaged(
            f"field {number} claims {stop - start:,} bytes where {max(0, end - start):,} are left", at, truncated=True
        )
    return number, kind, start, stop


def fields(buffer: bytes | memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(number, wire type, offset of the tag, start, stop) of every field between two offsets."""
    while at < end:
        number, kind, start, stop = read_field(buffer, at, end)
        yield number, kind, at, start, stop
        at = stop


def varint(value: int) -> bytes:
    """A whole number (negative ones as 64 bits) in groups of seven bits, the lowest first."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, kind: int) -> bytes:
    """The bytes before a field's value: its number and wire type."""
    return varint(number << 3 | kind)


# --- Blobs -----------------------------------------------------------------------------------------


def read_blob(buffer: bytes | memoryview, start: int, end: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(data, diff) of the BlobProto between two offsets of a buffer: float32 views of it; diff may be missing.

    Raises Damaged; also where the shape promises another count than there is.
    """
    dims: list[int] = []
    legacy: dict[int, int] = {}
    parts: dict[int, list[np.ndarray]] = {}
    raw: dict[int, tuple[int, int]] = {}  # where the bytes of _RAW_DATA and _RAW_DIFF lie
    types = {_RAW_DATA_TYPE: 0, _RAW_DIFF_TYPE: 0}
    shaped, at = False, start
    while at < end:
        number, kind, value, stop = read_field(buffer, at, end)
        if number in (_DATA, _DIFF, _DOUBLE_DATA, _DOUBLE_DIFF):
            dtype = np.dtype("<f4" if number in (_DATA, _DIFF) else "<f8")
            if kind == BYTES:
                if (stop - value) % dtype.itemsize:
                    raise Damaged(f"{stop - value:,} bytes are no whole number of values", value)
                part = np.frombuffer(buffer, dtype, (stop - value) // dtype.itemsize, value)
            elif kind == (FIXED32 if dtype.itemsize == 4 else FIXED64):
                part = _unpacked(buffer, at, end, dtype)
                stop = at + part.size * (1 + dtype.itemsize)
            else:
                raise Damaged("an array of another type than numbers", at)
            parts.setdefault(number, []).append(part)
        elif number == _SHAPE and kind == BYTES:
            shaped = True
            dims += _dims(buffer, value, stop)
        elif number <= 4 and kind == VARINT:
            legacy[number] = _signed(read_varint(buffer, value, stop)[0])
        elif number in types and kind == VARINT:
            types[number] = read_varint(buffer, value, stop)[0]
        elif number in (_RAW_DATA, _RAW_DIFF) and kind == BYTES and value < stop:
            raw[number] = value, stop
        at = stop
    for number, (value, stop) in raw.items():
        listed = _DATA if number == _RAW_DATA else _DIFF
        parts[listed] = [_raw(buffer, value, stop, types[number - 2])]  # its type's number is two less
    arrays = {number: np.concatenate(some) if len(some) > 1 else some[0] for number, some in parts.items()}
    data = arrays.get(_DOUBLE_DATA, arrays.get(_DATA, np.empty(0, np.float32)))
    diff = arrays.get(_DOUBLE_DIFF, arrays.get(_DIFF))
    if not shaped:  # files before 2014; and some tools write neither
        dims = [legacy.get(i, 0) for i in (1, 2, 3, 4)] if legacy else [data.size]
    return _shaped(data, dims, start), None if diff is None else _shaped(diff, dims, start)


def _raw(buffer, start: int, stop: int, kind: int) -> np.ndarray:
    if kind not in _RAW_TYPES:
        raise Damaged(f"raw values of the unknown type {kind}", start)
    dtype = np.dtype(_RAW_TYPES[kind])
    if (stop - start) % dtype.itemsize:
        raise Damaged(f"{stop - start:,} bytes are no whole number of values of {dtype.itemsize} bytes", start)
    return np.frombuffer(buffer, dtype, (stop - start) // dtype.itemsize, start)


def _shaped(values: np.ndarray, dims: list[int], offset: int) -> np.ndarray:
    if min(dims, default=0) < 0 or len(dims) > 32 or math.prod(dims) != values.size:
        shape = " x ".join(map(str, dims)) if len(dims) <= 32 else f"of {len(dims)} axes"
        raise Damaged(f"an array of shape {shape} holds {values.size:,} values", offset)
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
        return values.astype(np.float32, copy=False).reshape(dims)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _dims(buffer, start: int, end: int) -> list[int]:
    dims = []
    for number, kind, _, value, stop in fields(buffer, start, end):
        if number != 1:
            continue
        while value < stop:
            dim, value = read_varint(buffer, value, stop)
            dims.append(_signed(dim))
            if kind == VARINT:
                break
    return dims


def _unpacked(buffer, at: int, end: int, dtype: np.dtype) -> np.ndarray:
    """The values of a run of one-value fields (tag, value, tag, value, ...) as a strided view."""
    pair = np.dtype([("tag", "u1"), ("value", dtype)])
    pairs = np.frombuffer(buffer, pair, (end - at) // pair.itemsize, at)
    length = window = min(64, len(pairs))
    while True:
        others = np.flatnonzero(pairs["tag"][length - window : length] != pairs["tag"][0])
        if others.size:
            length += int(others[0]) - window
            break
        if length == len(pairs):
            break
        window = min(length, len(pairs) - length)
        length += window
    return pairs["value"][:length]


def blob_chunks(data: ArrayLike, diff: ArrayLike | None = None) -> list:
    """A BlobProto's bytes as a list of buffers to write one after the other; the array itself is one, not copied."""
    shape = np.shape(data)
    chunks: list = []
    for number, values in ((_DATA, data), (_DIFF, diff)):
        if values is None:
            continue
        values = np.ascontiguousarray(values, "<f4")
        if values.size:
            chunks += [tag(number, BYTES) + varint(values.nbytes), buffer_of(values)]
    dims = b"".join(varint(n) for n in shape)
    inner = tag(1, BYTES) + varint(len(dims)) + dims if dims else b""
    return [*chunks, tag(_SHAPE, BYTES) + varint(len(inner)) + inner]


def size(chunks: list) -> int:
    """The bytes of all chunks together."""
    return sum(len(chunk) for chunk in chunks)


def legacy_blob_chunks(image: np.ndarray) -> list:
    """The BlobProto of one image (channels, height, width) with four sizes instead of a shape, as means have it."""
    sizes = b"".join(tag(i, VARINT) + varint(n) for i, n in enumerate((1, *image.shape), start=1))
    values = np.ascontiguousarray(image, "<f4")
    return [sizes, tag(_DATA, BYTES) + varint(values.nbytes), buffer_of(values)]
