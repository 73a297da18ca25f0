"""The error that pycaffe raises for a file that is not there."""

from __future__ import annotations

import os

from demitasse.proto.errors import NetError, printable
from demitasse.proto.files import near_file


class FileFault(NetError, RuntimeError):
    """A file cannot be opened; scripts catch it as RuntimeError."""


def require_weights(paths: str | os.PathLike) -> None:
    """FileFault unless a weights file, or each of several joined by commas, can be opened."""
    text = os.fspath(paths)
    for path in [text] if os.path.exists(text) else text.split(","):
        require_file(path.strip())


def require_file(path: str | os.PathLike) -> str:
    """The path, if it can be opened; FileFault otherwise."""
    path = os.fspath(path)
    try:
        with open(path, "rb"):
            return path
    except (OSError, ValueError) as error:
        if "{" in path:
            raise FileFault(
                "a file's path is expected, but given is the text of a prototxt: write it into a file"
            ) from None
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise FileFault(f"Could not open file {printable(path)}: {reason}{near_file(path)}") from None
