"""What the commands of `python -m models` share: progress bars, names of classes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from demitasse.models.data import read
from demitasse.models.data.folder_layers import class_names
from demitasse.models.palette import VOC_CLASSES


def progress(items: Iterable, total: int | None = None, unit: str = "image") -> Iterable:
    """The items, with a bar on stderr where that is a terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True)


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
