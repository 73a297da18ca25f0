"""Cityscapes: streets of 50 cities, 1024 x 2048, with 19 classes that count: (data, label).

    cityscapes_dir/leftImg8bit/{split}/CITY/*_leftImg8bit.png, gtFine/{split}/CITY/*_gtFine_labelIds.png

Images are BGR minus `mean`.  Of the 34 stored ids the 19 that the benchmark scores become 0 to 18, all others 255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.models.data import read
from demitasse.models.data.options import REQUIRED, colour, text
from demitasse.models.data.scenes import MEAN
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.proto.errors import DataFault

IDS = {  # stored id: name, in the order of the classes
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
IMAGE, LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png"


class CityscapesSegDataLayer(SegDataLayer):
    """Samples are named CITY/CITY_SEQUENCE_FRAME, and come city by city where they are not drawn."""

    about = "the folder of Cityscapes (https://www.cityscapes-dataset.com), with leftImg8bit and gtFine"
    options = {"cityscapes_dir": text(REQUIRED), "split": text(REQUIRED), "mean": colour(MEAN)}
    paths = ("cityscapes_dir",)

    def open(self, options):
        self.folder, self.mean = Path(options["cityscapes_dir"]), options["mean"]
        self.renumber = np.full(256, read.IGNORE, np.uint8)
        self.renumber[list(IDS)] = range(len(IDS))
        images = sorted((self.folder / "leftImg8bit" / self.split).glob(f"*/*{IMAGE}"))
        if not images:
            raise DataFault(f"{self.folder}/leftImg8bit/{self.split}: there are no */*{IMAGE}")
        return [f"{path.parent.name}/{path.name.removesuffix(IMAGE)}" for path in images]

    def names_of(self, top):
        return list(IDS.values())

    def load(self, name, rng):
        image = read.image(self.folder / "leftImg8bit" / self.split / f"{name}{IMAGE}")
        labels = read.label_png(self.folder / "gtFine" / self.split / f"{name}{LABEL}")
        return read.bgr(image, self.mean), self.renumber[labels][None]
