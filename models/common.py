"""What the commands of `python -m models` share: the device's options, progress bars, names of classes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from layers.backend import make_backend
from models.data.folder_layers import class_names
from models.data.scenes import CLASSES as SCENE_CLASSES
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


def names_of(file: str | None, known: Sequence[str], classes: int) -> list[str]:
    """The names of `classes` classes: those of a file, else those that the data know, else VOC's 21 or the nine of
    the drawn scenes, else numbers."""
    if file:
        known = class_names(file)
    for usual in (VOC_CLASSES, SCENE_CLASSES):
        if not known and len(usual) == classes:
            known = usual
    return [known[c] if c < len(known) else f"class {c}" for c in range(classes)]
