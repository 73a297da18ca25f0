"""Prototxts and lists that a user may edit afterwards: written anew, they replace nothing of hers unasked."""

from __future__ import annotations

from pathlib import Path

from demitasse.proto.errors import DataFault
from demitasse.proto.files import write_text


def write_files(folder: Path, files: dict[str, str], overwrite: bool = False) -> list[Path]:
    """Write folder/name for each text; their paths.

    Raises DataFault, before anything is written, where a file holds something else already (but with `overwrite`).
    """
    changed = [] if overwrite else [name for name, words in files.items() if _differs(folder / name, words)]
    if changed:
        others = f" (and {', '.join(changed[1:])})" if len(changed) > 1 else ""
        raise DataFault(
            f"{folder / changed[0]}{others} is there already and is not what would be written: give --overwrite to "
            "replace it, or another folder"
        )
    for name, words in files.items():
        if overwrite or not (folder / name).exists():
            write_text(folder / name, words)
    return [folder / name for name in files]


def _differs(path: Path, words: str) -> bool:
    return path.exists() and (not path.is_file() or path.read_bytes() != words.encode())
