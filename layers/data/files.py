"""Files that a prototxt names: one DataFault, with the place it was named in, for all that can be wrong with them."""

from __future__ import annotations

import os

from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.files import near_file


def require_file(path: str, field: str) -> None:
    """DataFault unless the path exists; it says where relative paths start, which is what usually went wrong."""
    if not path:
        raise SchemaFault(f"{field} is not given; name the file or folder to read")
    if not os.path.exists(path):
        start = "" if os.path.isabs(path) else f"; looked for from {os.getcwd()}"
        raise DataFault(f"{field}: '{path}' does not exist{near_file(path)}{start}")


def read_file(path: str, place: str) -> bytes:
    """The file's bytes; DataFault where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise DataFault(f"{place}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise DataFault(f"{place}: cannot be read: {error}") from None


def below(root: str, name: str) -> str:
    """A listed name in its root folder, which may be empty or lack its last slash."""
    return root + name if not root or root.endswith(("/", "\\")) else f"{root}/{name}"
