"""The options of `python -m models`, spelt as those of `python -m solver`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from demitasse.proto.errors import DataFault
from demitasse.proto.option_values import from_zero, refused
from demitasse.proto.value_hints import number

DATABASES = ("lmdb", "leveldb")


def add_command(commands, name: str, about: str, **more) -> argparse.ArgumentParser:
    """A command with its line in the list of them, which heads its own --help too."""
    return commands.add_parser(name, help=about, **{"description": about, **more})


def share(text: str) -> float:
    """A factor on channel counts, above 0 and at most 16."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 16:
        raise refused(text, "a number above 0 (and up to 16)", number(text, whole=False))
    return value


def add_width(parser: argparse.ArgumentParser) -> None:
    """The option --width W."""
    parser.add_argument(
        "--width", type=share, default=1.0, metavar="W", help="multiply the trunk's channel counts (default: 1)"
    )


def add_auto_crop(parser: argparse.ArgumentParser) -> None:
    """The option --auto-crop."""
    parser.add_argument(
        "--auto-crop", action="store_true", help="compute the offset of every Crop that has no crop_param"
    )


def warn_of_missing(net) -> None:
    """A line on stderr where weights were loaded that lack layers of the net."""
    if net.load_report.missing:
        print(f"warning: {net.load_report}", file=sys.stderr)


def add_flag(parser, name: str, **options) -> None:
    """A flag as Caffe writes it, with one dash, or with two."""
    parser.add_argument(f"--{name}", f"-{name}", **options)


def add_database_flags(parser) -> None:
    """Those of what makes a database of images."""
    add_flag(parser, "backend", choices=DATABASES, default="lmdb", help="of the database (default: lmdb)")
    add_flag(parser, "resize_height", type=from_zero, default=0, metavar="H", help="resize every image to H rows")
    add_flag(parser, "resize_width", type=from_zero, default=0, metavar="W", help="resize every image to W columns")


def require_another_folder(out: Path, images: Iterable[Path], done: str) -> None:
    """DataFault where images that are to be, say, "segmented" lie in the folder of the results."""
    if any(path.parent.resolve() == out.resolve() for path in images):
        raise DataFault(f"--out {out} holds images to be {done}, which results could overwrite: choose another folder")


def passed_over(path: Path, error: Exception) -> None:
    """Say on stderr that an image was not looked at, and why, with its name once."""
    why = str(error) or "not enough memory"
    print(f"passed over: {why if str(path) in why else f'{path}: {why}'}", file=sys.stderr)
