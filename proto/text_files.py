"""Files of text: read whole, refused where they are something else."""

from __future__ import annotations

import os
import re

from demitasse.proto.errors import SyntaxFault, Where
from demitasse.proto.files import cannot_open, foreign_kind

LARGEST = 64 << 20  # bytes of a text: far more than anybody's net, and what fits into memory when it is parsed


def text_of(source: str | os.PathLike, file: str = "") -> tuple[str, str]:
    """The text and its file's name; the source is a path, or the text itself with a newline in it.

    SyntaxFault where the file is missing, empty, too large or no text.
    """
    if isinstance(source, str) and "\n" in source:
        text = source
    else:
        file = os.fspath(source)
        text = _decode(_read_bytes(file), file)
    if not re.sub(r"#[^\n]*", "", text).strip():
        raise SyntaxFault("the file is empty", Where(file))
    return text, file


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise SyntaxFault(cannot_open(path, error)) from None
    if len(data) > LARGEST:
        raise SyntaxFault(f"more than {LARGEST >> 20} MB are no prototxt: is it the weights, or data?", Where(path))
    return data


def _decode(data: bytes, path: str) -> str:
    if b"\0" in data:
        for encoding in ("utf-32", "utf-16", "utf-16-le", "utf-16-be"):
            if _is_text(data[:400], encoding):
                raise SyntaxFault(f"the text is {encoding[:6].upper()}: save it as UTF-8", Where(path))
        if what := foreign_kind(data):
            raise SyntaxFault(f"{what}; a prototxt is needed", Where(path))
        if data.startswith(b"PK"):
            raise SyntaxFault("a zip archive (PyTorch's, .npz or another), not a prototxt", Where(path))
        raise SyntaxFault(
            "a binary file, not a prototxt: is it the weights (.caffemodel) instead of the net?", Where(path)
        )
    if data.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise SyntaxFault("a web page, not a prototxt: download the file itself (on GitHub: Raw)", Where(path))
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # lines ended so on old Macs: a comment ends there too
    return data.decode("utf-8-sig", "surrogateescape")  # comments in another encoding do no harm


def _is_text(data: bytes, encoding: str) -> bool:
    """Whether these bytes are ASCII characters written in an encoding of two or four bytes each."""
    try:
        return data[: len(data) & ~3].decode(encoding).isascii() and b"\0" in data[:4]
    except UnicodeDecodeError:
        return False
