"""Weights in the files of other tools: .npz and .safetensors.

An array is called `<layer>/<i>`, as in Caffe's HDF5 files; names of the
kind conv1.weight and conv1.bias are understood too, and a name without an index is a layer with one array.
"""

from __future__ import annotations

import json
import math
import os
import re
import tokenize
import zipfile
import zlib

import numpy as np

from demitasse.proto.files import DEFLATE_RATIO, buffer_of, fault, replacing, require_room, write_chunks

_ROLES = {"weight": 0, "weights": 0, "kernel": 0, "bias": 1, "biases": 1}


def _layers(arrays: dict[str, np.ndarray], path) -> dict[str, list]:
    """Names to layers with their arrays in order."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for key, values in arrays.items():
        layer, _, index = key.rpartition("/")
        module, _, role = key.rpartition(".")
        if layer and re.fullmatch("[0-9]{1,4}", index):
            slot = layer, int(index)
        elif module and role in _ROLES:
            slot = module, _ROLES[role]
        else:
            slot = key, 0
        if slot[1] in found.setdefault(slot[0], {}):
            raise fault(path, f"layer '{slot[0]}' has array {slot[1]} twice")
        found[slot[0]][slot[1]] = values
    return {name: [some.get(i) for i in range(max(some) + 1)] for name, some in found.items()}


def _named(layers: dict[str, list]):
    """("<layer>/<i>", array), float32 and contiguous."""
    for name, arrays in layers.items():
        for i, values in enumerate(arrays):
            if values is not None:
                yield f"{name}/{i}", np.ascontiguousarray(values, "<f4").reshape(np.shape(values))


# --- .npz ------------------------------------------------------------------------------------------


def read_npz(path: str | os.PathLike) -> dict[str, list]:
    """{layer: arrays} of a .npz, float32; names are `layer/i` or `layer.weight`.  WeightsFault for a damaged one."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not any(name.endswith(".npy") for name in names):
                what = (
                    "a PyTorch file: it holds a pickle, which can run code, and is not read; save as .safetensors"
                    if any(name.endswith("data.pkl") for name in names)
                    else "a zip archive without arrays"
                )
                raise fault(path, what)
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    arrays[info.filename[:-4]] = _read_npy(archive, info, path)
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        MemoryError,
        SyntaxError,
        TypeError,
        KeyError,
        tokenize.TokenError,
    ) as error:
        raise fault(path, "damaged or truncated .npz", error) from None
    return _layers(arrays, path)


def read_npy(path: str | os.PathLike) -> np.ndarray:
    """The one array of a .npy file in its own shape, float32."""
    values = map_npy(path)
    try:
        return np.ascontiguousarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise fault(path, "damaged .npy", error) from None


def map_npy(path: str | os.PathLike) -> np.ndarray:
    """The one array of a .npy file as it lies there, mapped: a size that the file has not allocates nothing.
    WeightsFault for a damaged one."""
    with open(path, "rb") as file:
        start = file.read(12)
    header = int.from_bytes(start[8:10] if start[6:7] == b"\1" else start[8:12], "little")
    if header > os.path.getsize(path):  # NumPy would make room for it
        raise fault(path, f"damaged .npy: its header promises {header:,} bytes, more than the file has")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError, tokenize.TokenError) as error:
        raise fault(path, "damaged .npy", error) from None


def _read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path) -> np.ndarray:
    if info.file_size > info.compress_size * DEFLATE_RATIO + 1024 or info.compress_size > os.path.getsize(path):
        raise fault(path, f"'{info.filename}' promises {info.file_size:,} bytes out of {info.compress_size:,}")
    require_room(path, info.file_size)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        if dtype.kind not in "fiu":
            raise fault(path, f"'{info.filename}' holds no numbers but {dtype}")
        data = member.read()
    if math.prod(shape) * dtype.itemsize != len(data) or min(shape, default=0) < 0:
        raise fault(path, f"'{info.filename}' promises shape {shape} in {len(data):,} bytes")
    values = np.frombuffer(data, dtype)
    values = values.reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(values, np.float32).reshape(shape)


def write_npz(path: str | os.PathLike, layers: dict[str, list]) -> None:
    """Write {layer: arrays} as `layer/i.npy`, float32, uncompressed; None (owned by another layer) is left out."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, values in _named(layers):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


# --- .safetensors ----------------------------------------------------------------------------------

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}


def read_safetensors(data: memoryview, path: str | os.PathLike) -> dict[str, list]:
    """float32 arrays are views of the file.  ValueError where its header and its bytes do not fit each other."""
    length = int.from_bytes(data[:8], "little")
    base = 8 + length
    arrays = {}
    try:
        header = json.loads(bytes(data[8:base]))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            dtype, (begin, end) = np.dtype(_DTYPES[entry["dtype"]]), entry["data_offsets"]
            count = math.prod(entry["shape"])
            if not 0 <= begin <= end or end - begin != count * dtype.itemsize or min(entry["shape"], default=0) < 0:
                raise ValueError(f"'{name}' of shape {entry['shape']} does not fit its {end - begin:,} bytes")
            if base + end > len(data):
                raise ValueError(f"truncated: '{name}' ends at byte {base + end:,}, the file at {len(data):,}")
            values = np.frombuffer(data, dtype, count, base + begin)
            if entry["dtype"] == "BF16":
                values = (values.astype("<u4") << 16).view("<f4")
            arrays[name] = values.astype(np.float32, copy=False).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise fault(path, "damaged .safetensors", error) from None
    return _layers(arrays, path)


def write_safetensors(path: str | os.PathLike, layers: dict[str, list]) -> None:
    """Write {layer: arrays} as tensors `layer/i`, float32; None (owned by another layer) is left out."""
    header, chunks, at = {}, [], 0
    for name, values in _named(layers):
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        chunks.append(buffer_of(values))
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays begin aligned
    write_chunks(path, [len(text).to_bytes(8, "little"), text, *chunks])
