"""What the commands of `python -m models` share: the device's options, progress bars, names of classes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from layers.backend import make_backend
from models.data import read
from models.data.folder_layers import class_names
from models.palette import VOC_CLASSES


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu, gpu or gpu:N (default: cpu)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--exact", action="store_true", help="convolve directly, without transforms that round more")


def backend_of(options):
    return make_backend(options.device, threads=options.threads, exact=options.exact)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


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
