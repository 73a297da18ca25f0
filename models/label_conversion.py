"""Label pictures as annotation tools write them (colours, black and white, JPEG) to palette PNGs of class indices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.models.data import read
from demitasse.models.data.folder_layers import list_images
from demitasse.models.palette import PALETTE, save_labels
from demitasse.proto.errors import DataFault, LabelFault, SchemaFault
from demitasse.proto.option_values import digits

INDICES = ("L", "LA", "1")  # modes that show no colour: their values are meant


@dataclass
class Conversion:
    """How a label picture becomes indices: by the colours that it shows, or by the values that it stores.

    colours: (classes, 3) uint8, None: VOC's.  others: colours that are no class become 255, else they are a LabelFault.
    values: take what is stored; so do mapped ({value: class}) and threshold (from there on 1, below 0), and gray
    pictures where no colours are given.
    """

    colours: np.ndarray | None = None
    others: bool = False
    values: bool = False
    mapped: dict[int, int] | None = None
    threshold: int | None = None

    def __post_init__(self):
        by_value = self.values or self.mapped or self.threshold is not None
        if by_value and self.colours is not None:
            raise SchemaFault("--colours goes by colours, --values, --map and --threshold by what is stored: give one")
        self._by_value = bool(by_value)
        table = PALETTE if self.colours is None else self.colours
        codes = table.astype(np.int64) @ [65536, 256, 1]
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]

    def __call__(self, path: Path) -> np.ndarray:
        """(H, W) uint8 classes, 255 for none."""
        mode = _mode(path)
        if self._by_value or (self.colours is None and (mode in INDICES or mode.startswith("I"))):
            return self._of_values(path, mode)
        return self._of_colours(path)

    def _of_values(self, path: Path, mode: str) -> np.ndarray:
        if mode in ("P", "1") or mode.startswith("I"):
            stored = read.label_png(path)
        else:
            shown = read.image(path)
            if (shown != shown[:, :, :1]).any():
                raise DataFault(f"{path}: is a picture of colours (mode {mode}), so it has no values: give --colours")
            stored = shown[:, :, 0]
        if self.threshold is not None:
            return (stored >= self.threshold).astype(np.uint8)
        table = np.arange(256, dtype=np.uint8)
        for value, to in (self.mapped or {}).items():
            table[value] = to
        return table[stored]

    def _of_colours(self, path: Path) -> np.ndarray:
        shown = read.image(path)
        codes = shown.astype(np.int64) @ [65536, 256, 1]
        index = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        wrong = self._codes[index] != codes
        if wrong.any() and not self.others:
            y, x = np.argwhere(wrong)[0]
            red, green, blue = shown[y, x]
            raise LabelFault(
                f"{path}: colour {red} {green} {blue} at row {y}, column {x} is no class's (of "
                f"{len(self._codes)}); --colours FILE names others, --others makes them 255, --values takes the "
                "stored values instead of their colours"
            )
        return np.where(wrong, read.IGNORE, self._order[index]).astype(np.uint8)


def _mode(path: Path) -> str:
    """Of the stored picture; whoever reads a file that is none says so."""
    try:
        with Image.open(path) as picture:
            return picture.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "RGB"


def convert_folder(
    source: Path,
    out: Path,
    conversion: Conversion,
    *,
    strip: str = "",
    overwrite: bool = False,
    progress=lambda items: items,
) -> int:
    """Write out/STEM.png for every picture of a folder; how many.

    strip: an ending taken off the stems.  Raises DataFault where files would be overwritten that are there already, or
    two pictures would become one.
    """
    pictures = list_images(source)
    if not pictures:
        raise DataFault(f"{source}: holds no pictures")
    if out.resolve() == source.resolve():
        raise DataFault(f"{out}: is where the label pictures are: choose another folder")
    targets: dict[Path, Path] = {}
    for path in pictures.values():
        target = out / f"{path.stem.removesuffix(strip)}.png"
        if target in targets:
            raise DataFault(f"{path} and {targets[target].name} would both become {target}")
        targets[target] = path
    there = [] if overwrite else [target for target in targets if target.exists()]
    if there:
        raise DataFault(f"{there[0]}: is there already: choose an empty folder, or --overwrite")
    seen: set[int] = set()
    for target, path in progress(targets.items()):
        labels = conversion(path)
        seen |= set(np.unique(labels).tolist())
        save_labels(target, labels)
    classes = sorted(seen - {read.IGNORE})
    print(f"wrote {len(targets)} label PNGs into {out}: classes {', '.join(map(str, classes)) or '(none)'}")
    if seen == {0, read.IGNORE}:
        print("black and white are 0 and 255, and 255 means no class: --map 255=1 makes white class 1")
    return len(targets)


def read_colours(file: str) -> np.ndarray:
    """(classes, 3) uint8.  SchemaFault for more than 255, or none."""
    rows = []
    for line in read.lines(file):
        colour = [digits(word) for word in line.replace(",", " ").split()[:3]]
        if len(colour) < 3 or any(value is None or value > 255 for value in colour):
            raise SchemaFault(f"{file}: '{line}' is not `R G B name` with numbers from 0 to 255")
        rows.append(colour)
    if not 1 <= len(rows) <= read.IGNORE:
        raise SchemaFault(f"{file}: {len(rows)} colours: there must be 1 to 255")
    if len({tuple(row) for row in rows}) < len(rows):
        raise SchemaFault(f"{file}: names a colour twice")
    return np.array(rows, np.uint8)


def read_map(text: str) -> dict[int, int]:
    """{value: class} of 255=1,128=2.  SchemaFault for anything else."""
    pairs = [[digits(part.strip()) for part in word.partition("=")[::2]] for word in text.split(",") if word]
    if any(value is None or value > 255 for pair in pairs for value in pair):
        raise SchemaFault(f"--map {text}: give value=class pairs of 0 to 255, such as 255=1,128=2")
    return dict(pairs)
