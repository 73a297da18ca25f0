"""Binary files: mapped into memory for reading, replaced whole when written, told apart by their first bytes."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demitasse.proto.errors import WeightsFault, Where, did_you_mean
from demitasse.proto.memory import bytes_text, memory_left

ZERO_BYTE = "a file's name cannot hold a zero byte"  # Python's ValueError, said alike by all its versions


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary name beside `path`; what is written there takes the path's place when all went well.

    A crash or a full disk leaves the old file as it was.  Raises WeightsFault where writing fails.
    """
    try:
        path = Path(os.path.realpath(path))  # a link stays a link
    except ValueError:
        raise WeightsFault(f"Could not write file {os.fspath(path)!r}: {ZERO_BYTE}") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        hint = "" if path.parent.is_dir() else f" (there is no folder '{path.parent}')"
        raise WeightsFault(f"Could not write file {path}: {_reason(error)}{hint}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def buffer_of(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    return memoryview(array.reshape(-1).view(np.uint8))


def write_chunks(path, chunks) -> None:
    """Write buffers one after the other to a file, replacing it whole."""
    with replacing(path) as temporary, open(temporary, "wb", buffering=0) as file:
        for chunk in joined(chunks):
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]


def joined(chunks, limit: int = 1 << 16) -> Iterator:
    """The same bytes with small buffers put together; large ones pass as they are."""
    small = bytearray()
    for chunk in chunks:
        if len(chunk) < limit:
            small += chunk
        if len(chunk) >= limit or len(small) >= limit:
            yield bytes(small)
            small.clear()
            if len(chunk) >= limit:
                yield chunk
    yield bytes(small)


def map_file(path) -> memoryview:
    """The bytes of a file, read as they are touched.  Raises WeightsFault: missing, empty, a folder."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise fault(path, "not a regular file")
            if not about.st_size:
                raise fault(path, "the file is empty (0 bytes): was it copied or downloaded to the end?")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise WeightsFault(cannot_open(path, error)) from None


def cannot_open(path: str, error: OSError | ValueError) -> str:
    """What to say of a file that cannot be opened; for one that is missing, with a hint at one of nearly its name."""
    if isinstance(error, ValueError):
        return f"Could not open file {path!r}: {ZERO_BYTE}"
    folder, name = os.path.split(path)
    beside = isinstance(error, FileNotFoundError) and os.path.isdir(folder or ".") and os.listdir(folder or ".")
    return f"Could not open file {path}: {_reason(error)}{did_you_mean(name, beside or [])}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def require_room(path, count: int) -> None:
    """WeightsFault unless an array of that many bytes, packed in a file, can be in memory."""
    left = memory_left() if count > 1 << 28 else None
    if left is not None and count > left:
        raise fault(
            path, f"the memory is not enough: an array in it takes {bytes_text(count)}, and {bytes_text(left)} are left"
        )


DEFLATE_RATIO = 1100  # what deflate can reach, nearly: a file that promises more of its bytes is lying

_MAGIC = [
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PK\x03\x04", "zip"),
    (b"MATLAB 5.0 MAT-file", "mat"),
]
_FOREIGN = [
    (b"MATLAB 7.3 MAT-file", "a MATLAB 7.3 file: save it with save(..., '-v7')"),
    (b"\x93NUMPY", "a .npy file with one array: an .npz with a name for each array is needed"),
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself: run `git lfs pull` where it comes from"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a rar archive: unpack it first"),
    (b"\x80\x02", "a Python pickle (PyTorch, Theano): it can run code, and is not read"),
    (b"\x80\x03", "a Python pickle: it can run code, and is not read"),
    (b"\x80\x04", "a Python pickle: it can run code, and is not read"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
]


def kind_of(data: memoryview, path, wanted: str) -> str:
    """ "hdf5", "zip", "mat", "safetensors" or "protobuf" by the first bytes of a file.

    Raises WeightsFault for what is none of them and not a protobuf message either; `wanted` says what it should be.
    """
    head = bytes(data[:4096])
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise fault(path, f"{what}; {wanted} is needed")
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header <= len(data) - 8:
        return "safetensors"
    if what := _text_kind(head):
        raise fault(path, f"{what}; {wanted} is needed")
    return "protobuf"


def _text_kind(head: bytes) -> str:
    """What a text is; empty for what is not text at all."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<error")):
        return "a web page, not the file it should be: the download went to a log-in or an error page"
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" or byte == 127 for byte in head):
        return ""
    try:
        text = head.decode("utf-8", "ignore" if len(head) == 4096 else "strict")
    except UnicodeDecodeError:
        return ""
    if re.search(r"^\s*(#.*\n\s*)*[a-z_]+\s*[:{]", text):
        return "a prototxt, the text that describes a net or a solver"
    return "a text file"


def fault(path, what: str, error: Exception | None = None) -> WeightsFault:
    """The fault of a file; with what a reader of its format raised, on one line."""
    detail = "" if error is None else ": " + (" ".join(str(error).split()) or type(error).__name__)
    return WeightsFault(what + detail, Where(os.fspath(path)))
