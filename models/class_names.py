"""The names of a net's classes: from a file, from the data, or from beside the net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from demitasse.models.data import read
from demitasse.models.data.folder_layers import class_names
from demitasse.models.palette import VOC_CLASSES


def names_of(file: str | None, known: Sequence[str], classes: int, net: str | Path) -> list[str]:
    """The names of `classes` classes: those of a file, else those that the data know, else of as many in the
    classes.txt beside the net (`write` puts one there), else VOC's if they are 21, else numbers."""
    beside = Path(net).with_name("classes.txt")
    if file:
        known = class_names(file)
    elif not known and beside.is_file() and len(found := read.lines(beside)) == classes:
        known = found
    elif not known and len(VOC_CLASSES) == classes:
        known = VOC_CLASSES
    return [known[c] if c < len(known) else f"class {c}" for c in range(classes)]
