"""Files that a prototxt names: one DataFault, with where they are named, for all that can be wrong with them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.files import near_file
from demitasse.proto.input_paths import MissingFile

_MAGIC = {b"\x89HDF": "an HDF5 file itself", b"\x89PNG": "an image itself", b"\xff\xd8": "an image itself"}


def require_file(path: str, field: str) -> None:
    """MissingFile unless the path exists.  SchemaFault where it is not given."""
    if not path:
        raise SchemaFault(f"{field} is not given; name the file or folder to read")
    if not os.path.exists(path):
        raise MissingFile(path, f"{field}: '{path}' does not exist{near_file(path)}")


def no_such_file(path: str, where: str) -> MissingFile:
    """What to raise where a file is missing."""
    return MissingFile(path, f"{where}: no such file")


def read_file(path: str, where: str) -> bytes:
    """The file's bytes; DataFault where it cannot be read."""
    with _opened(path, where) as file:
        return file.read()


def text_lines(path: str, where: str, what: str = "", errors: str = "strict") -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not blank, stripped; any line end will do, and a byte order mark is
    passed over.

    what: is written on a line, for the advice.  errors: what to do about bytes that are not UTF-8, as for
    `bytes.decode`.  DataFault where the file is binary, or cannot be read.
    """
    with _opened(path, where) as file:
        if b"\0" in file.read(4096):
            file.seek(0)
            start = file.read(8)
            kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "a binary file, or UTF-16")
            advice = f" with, a line each, {what}" if what else ""
            raise DataFault(f"{where} is no text but {kind}; write a text (UTF-8){advice}")
        file.seek(0)
        with io.TextIOWrapper(file, "utf-8-sig", errors) as text:
            for number, line in enumerate(text, 1):
                if line := line.strip():
                    yield number, line


@contextlib.contextmanager
def _opened(path: str, where: str) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise no_such_file(path, where) from None
    except IsADirectoryError:
        raise DataFault(f"{where} is a folder: name a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name, bytes that are no UTF-8
        raise DataFault(f"{where}: cannot be read: {error}") from None


def below(root: str, name: str) -> str:
    """A listed name in its root folder, which may be empty or lack its last slash."""
    return root + name if not root or root.endswith(("/", "\\")) else f"{root}/{name}"
