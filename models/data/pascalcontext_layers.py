"""PASCAL-Context: VOC 2010 images with every pixel labelled; the 59 most frequent of its classes and background.

    voc_dir/VOC2010/ImageSets/Main/{split}.txt, JPEGImages/*.jpg
    context_dir/labels.txt, 59_labels.txt ("index: name" a line), trainval/{id}.mat

Images are BGR minus their mean.  Labels are 1 to 59, and 0 for all other classes; there is no 255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.models.data import read
from demitasse.models.data.options import REQUIRED, text
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.proto.errors import DataFault

# The two lists of names spell three classes differently.
OTHER_SPELLING = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


class PASCALContextSegDataLayer(SegDataLayer):
    about = (
        "PASCAL-Context needs voc_dir, the folder of PASCAL VOC 2010, with JPEGImages and ImageSets/Main, and "
        "context_dir (https://cs.stanford.edu/~roozbeh/pascal-context/), with trainval/*.mat, labels.txt, 59_labels.txt"
    )
    options = {"voc_dir": text(REQUIRED), "context_dir": text(REQUIRED), "split": text(REQUIRED)}
    mean = (104.007, 116.669, 122.679)

    def open(self, options):
        self.voc_dir = Path(options["voc_dir"]) / "VOC2010"
        self.context_dir = Path(options["context_dir"])
        everything = {name: index for index, name in class_list(self.context_dir / "labels.txt")}
        self.renumber = np.zeros(max(everything.values()) + 1, np.uint8)
        for index, name in class_list(self.context_dir / "59_labels.txt"):
            if index:
                known = name if name in everything else OTHER_SPELLING.get(name)
                if known not in everything:
                    raise DataFault(f"{self.context_dir / '59_labels.txt'}: class '{name}' is not in labels.txt")
                self.renumber[everything[known]] = index
        return read.split(self.voc_dir / "ImageSets/Main", self.split)

    def names_of(self, top):
        return ["background", *(name for index, name in class_list(self.context_dir / "59_labels.txt") if index)]

    def load(self, name, rng):
        return self.load_image(name), self.load_label(name)

    def load_image(self, name: str) -> np.ndarray:
        """(3, H, W) float32."""
        return read.bgr(read.image(self.voc_dir / f"JPEGImages/{name}.jpg"), self.mean)

    def load_label(self, name: str) -> np.ndarray:
        """(1, H, W) uint8.  DataFault for a class that the list has not."""
        path = self.context_dir / f"trainval/{name}.mat"
        labels = read.mat(path, "LabelMap").astype(np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.renumber):
            raise DataFault(
                f"{path}: classes from {labels.min()} to {labels.max()}, but labels.txt names 0 to "
                f"{len(self.renumber) - 1}"
            )
        return self.renumber[labels][None]


def class_list(path: Path) -> list[tuple[int, str]]:
    """(index, name without spaces) of each line "index: name".  DataFault for another line."""
    pairs = []
    for line in read.lines(path):
        index, colon, name = line.partition(":")
        if not colon or not index.strip().isdigit():
            raise DataFault(f"{path}: '{line}' is not 'index: name'")
        pairs.append((int(index), name.replace(" ", "")))
    return pairs
