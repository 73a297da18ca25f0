"""ADE20K's scene parsing benchmark: indoor and outdoor scenes of any size, with 150 classes: (data, label).

    ade_dir/images/{training,validation}/*.jpg, annotations/{training,validation}/*.png, objectInfo150.txt

Images are BGR minus `mean`.  Stored labels 1 to 150 become 0 to 149, and 0, all that is no class, 255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.models.data import read
from demitasse.models.data.folder_layers import FolderSegDataLayer
from demitasse.models.data.options import REQUIRED, text

CLASSES = 150
NAMES = "objectInfo150.txt"  # a table with a head line, whose last column is the names of a class, separated by commas


class ADE20KSegDataLayer(FolderSegDataLayer):
    """Options, beside ade_dir and split: those of FolderSegDataLayer but for its folders (crop, mirror, ...)."""

    about = "the folder ADEChallengeData2016 (http://sceneparsing.csail.mit.edu), with images and annotations"
    paths = ("ade_dir",)
    options = {
        "ade_dir": text(REQUIRED),
        "split": text(REQUIRED),
        **{
            name: option
            for name, option in FolderSegDataLayer.options.items()
            if name not in ("images", "labels", "classes", "split", "ignore_label")
        },
    }

    def open(self, options):
        folder, split = Path(options["ade_dir"]), self.split
        self.split = ""  # a whole folder is taken, no list of names
        chosen = super().open(
            {
                **options,
                "images": str(folder / "images" / split),
                "labels": str(folder / "annotations" / split),
                "classes": _names(folder / NAMES) or CLASSES,
                "ignore_label": read.IGNORE,
            }
        )
        self.split = split
        return chosen

    def load_label(self, name: str) -> np.ndarray:
        """(H, W) uint8, 255 where there is no class."""
        stored = read.label_png(self._label_path(name), CLASSES + 1)
        return np.where(stored == read.IGNORE, stored, stored - np.uint8(1))  # 0 becomes 255


def _names(path: Path) -> list[str]:
    """The first name of each class, where the table is there."""
    rows = [line.split("\t") for line in read.lines(path)[1:]] if path.is_file() else []
    return [row[-1].split(",")[0].strip() for row in rows]
