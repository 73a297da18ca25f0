"""Binary files: mapped into memory for reading, replaced whole when written, recognised by their first bytes."""

from __future__ import annotations

import contextlib
import difflib
import errno
import mmap
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from demitasse.proto.errors import WeightsFault, Where, printable
from demitasse.proto.memory import bytes_text, memory_left

Buffer = bytes | bytearray | memoryview
ZERO_BYTE = "a file's name cannot hold a zero byte"  # Python's ValueError, said alike by all its versions


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary name to write to; what lies there takes the place of `path` when all went well.

    A crash or a full disk leaves the old file as it was; what a killed process left of its own is removed.  A link
    stays a link, and a device or a FIFO stays what it is: the bytes go into it.  Raises WeightsFault where writing
    fails; the folder has to be there.
    """
    try:
        goal = Path(os.path.realpath(path))
        node = _is_node(path)
    except ValueError:
        raise WeightsFault(f"Could not write file {os.fspath(path)!r}: {ZERO_BYTE}") from None
    try:
        with _beside(goal) if not node else _elsewhere() as temporary:
            yield temporary
            if node:
                _copy_into(temporary, path)
            else:
                os.replace(temporary, goal)
    except OSError as error:
        hint = "" if node or goal.parent.is_dir() else f" (there is no folder '{goal.parent}')"
        raise WeightsFault(f"Could not write file {path}: {_reason(error)}{hint}") from None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text whole or not at all, in UTF-8; its folder is made."""
    make_folder(Path(path).parent)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: str | os.PathLike) -> None:
    """Make a folder and those above it, where they are not there; WeightsFault where that cannot be."""
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as error:
        files = [folder for folder in (Path(path), *Path(path).parents) if folder.is_file()]
        reason = f"{files[0]} is a file" if files else _reason(error)
        raise WeightsFault(f"Could not make folder {printable(str(path))}: {reason}: choose another one") from None


@contextlib.contextmanager
def _beside(goal: Path) -> Iterator[Path]:
    """A temporary name in the folder of `goal`, so that it can be renamed to it."""
    remove_leftovers(goal)
    temporary = goal.with_name(f".{goal.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "output"


def remove_leftovers(prefix: str | os.PathLike) -> None:
    """Remove what killed processes have left of files and folders whose paths began with `prefix`."""
    folder, name = os.path.split(os.path.abspath(prefix))
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            pid = re.fullmatch(rf"\.{re.escape(name)}.*\.([0-9]+)\.tmp", entry.name)
            if pid and not _lives(int(pid[1])):
                with contextlib.suppress(OSError):
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _is_node(path) -> bool:
    """Whether the path leads to a device, a FIFO or a socket, which no file may take the place of."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _copy_into(source: Path, node) -> None:
    """Write a file's bytes into a device or a FIFO; a FIFO that nobody reads is refused, not waited for."""
    try:
        target = os.open(node, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        unread = error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(node).st_mode)
        raise OSError(error.errno, "it is a FIFO that nobody reads") if unread else error from None
    os.set_blocking(target, True)
    with open(source, "rb") as file, open(target, "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def buffer_of(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def write_chunks(path: str | os.PathLike, chunks: Iterable[Buffer]) -> None:
    """Write buffers one after the other to a file, replacing it whole."""
    with replacing(path) as temporary, open(temporary, "wb", buffering=0) as file:
        for chunk in joined(chunks):
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]


def joined(chunks: Iterable[Buffer], limit: int = 1 << 16) -> Iterator[Buffer]:
    """The same bytes with buffers below `limit` bytes put together; larger ones pass as they are."""
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


def map_file(path: str | os.PathLike) -> memoryview:
    """The bytes of a file, read as they are touched.  Raises WeightsFault: missing, empty, a folder."""
    path = os.fspath(path)
    try:
        if _is_node(path):  # refused before it is opened: a FIFO could be waited for without end
            raise fault(path, "not a regular file")
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            if not about.st_size:
                raise fault(path, "the file is empty (0 bytes): was it copied or downloaded to the end?")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise WeightsFault(cannot_open(path, error)) from None


def cannot_open(path: str, error: OSError | ValueError) -> str:
    """What to say of a file that cannot be opened; for one that is missing, with a hint at one of nearly its name."""
    if isinstance(error, ValueError):
        return f"Could not open file {path!r}: {ZERO_BYTE}"
    near = near_file(path) if isinstance(error, FileNotFoundError) else ""
    return f"Could not open file {path}: {_reason(error)}{near}"


# How the names begin of weights that others have published.
PUBLISHED = ("vgg_ilsvrc_", "vgg16", "vgg_voc", "bvlc_", "squeezenet_v", "fcn8s-", "fcn16s-", "fcn32s-", "mobilenetssd")


def near_file(path: str) -> str:
    """ " (did you mean 'train.prototxt'?)" for a missing file with one of nearly its name and its kind beside it; for
    weights that others have published, where to read of them."""
    folder, name = os.path.split(os.fspath(path).rstrip("/"))
    weights = name.lower().startswith(PUBLISHED) and ".caffemodel" in name
    published = " (docs/sources.md says where published weights are)" if weights else ""
    try:
        beside = [other for other in os.listdir(folder or ".") if _same_kind(name, other)]
    except (OSError, ValueError):
        return published
    spelled = {other.lower(): other for other in beside}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    more = near or [other for other in spelled if other.startswith(name.lower() + ".")]  # its ending left out
    return f" (did you mean '{spelled[more[0]]}'?)" if more and name else published


def _same_kind(name: str, other: str) -> bool:
    """Whether two names end alike, but for a slip of the pen; or one is the other with a further ending."""
    one, two = (os.path.splitext(word.lower())[1] for word in (name, other))
    if one == two or name.lower().startswith(other.lower() + ".") or other.lower().startswith(name.lower() + "."):
        return True
    return difflib.SequenceMatcher(None, one, two).ratio() > 0.7


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def require_room(path: str | os.PathLike, count: int) -> None:
    """WeightsFault unless an array of that many bytes, packed in a file, can be in memory."""
    left = memory_left() if count > 1 << 28 else None
    if left is not None and count > left:
        raise fault(
            path, f"not enough memory: an array in it takes {bytes_text(count)}, and {bytes_text(left)} are left"
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


def kind_of(data: memoryview, path: str | os.PathLike, wanted: str) -> str:
    """ "hdf5", "zip", "mat", "safetensors" or "protobuf" by the first bytes of a file.

    Raises WeightsFault for what is none of them and not a protobuf message either; `wanted` says what it should be.
    """
    head = bytes(data[:4096])
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if what := foreign_kind(head):
        raise fault(path, f"{what}; {wanted} is needed")
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header <= len(data) - 8:
        return "safetensors"
    if what := _text_kind(head):
        raise fault(path, f"{what}; {wanted} is needed")
    return "protobuf"


def foreign_kind(head: bytes) -> str:
    """What a file is that begins so, where that is nothing that is read here; may be empty."""
    return next((what for magic, what in _FOREIGN if head.startswith(magic)), "")


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


def fault(path: str | os.PathLike, what: str, error: Exception | None = None) -> WeightsFault:
    """The fault of a file; with what a reader of its format raised, on one line."""
    detail = "" if error is None else ": " + (" ".join(str(error).split()) or type(error).__name__)
    return WeightsFault(what + detail, Where(os.fspath(path)))
