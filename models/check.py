"""`python -m models check IMAGES LABELS --classes N`: everything that would stop or spoil a training on own data.

Files that cannot be read, images without a label and the other way round, sizes that differ, coloured labels, labels
out of range; and how often each class occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demitasse.models import arguments, common
from demitasse.models.data import read
from demitasse.models.data.folder_layers import class_names, list_images
from demitasse.proto.errors import DataFault, LabelFault


@dataclass
class Findings:
    """What a check has found; counts: pixels of each class and, last, of none."""

    counts: np.ndarray
    images: int = 0
    smallest: tuple[int, int] = (1 << 30, 1 << 30)  # height, width, each on its own
    largest: tuple[int, int] = (0, 0)
    faults: list[str] = field(default_factory=list)


def check(
    images: str | Path, labels: str | Path, classes: int, ignore: int = read.IGNORE, progress=lambda items: items
) -> Findings:
    """Look at every image and label of two folders."""
    pictures, found = list_images(images), Findings(np.zeros(classes + 1, np.int64))
    label_files = {path.stem: path for path in list_images(labels).values()}
    stems: dict[str, str] = {}
    for name, path in progress(pictures.items()):
        stem = Path(name).stem
        if stem in stems:
            found.faults.append(f"{path}: has the label of {stems[stem]}, too: names must differ before the suffix")
        stems[stem] = name
        label = label_files.get(stem)
        if label is None:
            found.faults.append(f"{path}: has no label {Path(labels) / stem}.png")
        elif label.suffix.lower() != ".png":
            found.faults.append(f"{label}: is no PNG: other formats do not keep class indices")
        else:
            try:
                _check_pair(found, path, label, classes, ignore)
            except (DataFault, LabelFault) as fault:
                found.faults.append(str(fault))
    found.faults += [f"{path}: is a label without an image" for stem, path in label_files.items() if stem not in stems]
    return found


def _check_pair(found: Findings, image: Path, label: Path, classes: int, ignore: int) -> None:
    indices = read.label_png(label)
    size = read.labelled(image, indices.shape).shape[:2]
    if ignore != read.IGNORE:
        indices = np.where(indices == ignore, np.uint8(read.IGNORE), indices)
    if indices.shape != size:
        raise DataFault(
            f"{label}: is {indices.shape[0]}x{indices.shape[1]}, its image {image.name} "
            f"{size[0]}x{size[1]} (height x width)"
        )
    read.checked(indices, classes, label)
    counts = np.bincount(indices.ravel(), minlength=256)
    found.counts[:classes] += counts[:classes]
    found.counts[classes] += counts[read.IGNORE]
    found.images += 1
    found.smallest = tuple(map(min, found.smallest, size))
    found.largest = tuple(map(max, found.largest, size))


def summary(found: Findings, names: Sequence[str]) -> str:
    """What is there, and what would go wrong, in lines."""
    lines = [f"{found.images} images with good labels"]
    if found.images:
        lines[0] += (
            f", heights {found.smallest[0]} to {found.largest[0]}, widths {found.smallest[1]} to {found.largest[1]}"
        )
        total, width = max(1, found.counts.sum()), max(map(len, names), default=4)
        lines += [
            f"  {name:{width}}  {count / total:7.2%}" + ("   never occurs" if not count else "")
            for name, count in zip([*names, "(none)"], found.counts, strict=True)
            if count or name != "(none)"
        ]
    shown = found.faults[:20]
    lines += shown + ([f"and {len(found.faults) - len(shown)} more"] if len(found.faults) > len(shown) else [])
    lines.append(f"{len(found.faults)} faults" if found.faults else "no faults")
    return "\n".join(lines)


def add_to(commands) -> None:
    parser = arguments.add_command(commands, "check", "look for what would stop a training on own images and labels")
    parser.add_argument("images", metavar="IMAGES", help="a folder")
    parser.add_argument("labels", metavar="LABELS", help="a folder of PNGs of the same names")
    parser.add_argument("--classes", required=True, metavar="N|FILE", help="how many, or a file of names, one a line")
    parser.add_argument(
        "--ignore", type=int, default=read.IGNORE, metavar="L", help="the label of no class (default: 255)"
    )
    parser.set_defaults(run=run)


def run(options) -> int:
    names = class_names(int(options.classes) if options.classes.isdigit() else options.classes)
    found = check(
        options.images,
        options.labels,
        len(names),
        options.ignore,
        progress=lambda items: common.progress(items, len(items)),
    )
    print(summary(found, names))
    return 1 if found.faults or not found.images else 0
