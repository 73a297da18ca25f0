"""Images with the boxes of their objects, for detectors: (data, label).

VOCBoxDataLayer      voc_dir/ImageSets/Main/{split}.txt, JPEGImages/*.jpg, Annotations/*.xml, classes.txt
SceneBoxDataLayer    the same of the drawn scenes, which are drawn where they are not there yet

data is BGR minus `mean`.  label is SSD's (1, 1, N M, 8): a row (image, class, instance, x1, y1, x2, y2, difficult) for
each object, corners as shares of the image; rows of -1 fill up each image's M = `most`.  `mirror` turns half of the
images of a training split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.models.data import read, scenes
from demitasse.models.data.annotations import read_annotations
from demitasse.models.data.options import REQUIRED, colour, flag, size, text, whole
from demitasse.models.data.scene_layers import FOLDER, SIZE, TRAIN, VAL
from demitasse.models.data.scenes import MEAN
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.models.palette import VOC_CLASSES
from demitasse.proto.errors import DataFault


class VOCBoxDataLayer(SegDataLayer):
    """Any data set in the layout of PASCAL VOC, of images of one size."""

    about = "the folder of PASCAL VOC, or of data in its layout, with JPEGImages/*.jpg and Annotations/*.xml"
    options = {
        "voc_dir": text(REQUIRED),
        "split": text(REQUIRED),
        "mean": colour(MEAN),
        "most": whole(16, 1, 1000),
        "mirror": flag(True),
    }

    def open(self, options):
        self.voc_dir, self.mean, self.most = options["voc_dir"], options["mean"], options["most"]
        self.mirror = options["mirror"]
        file = Path(self.voc_dir) / "classes.txt"
        names = read.lines(file) if file.is_file() else VOC_CLASSES
        self.classes = {name: label for label, name in enumerate(names)}
        return read.split(Path(self.voc_dir) / "ImageSets/Main", self.split)

    def looks(self):
        return ("mirror: True",) * self.mirror

    def load_sample(self, name, rng):
        """(3, H, W) and (most, 8), whose sizes have nothing in common."""
        pixels = read.bgr(read.image(f"{self.voc_dir}/JPEGImages/{name}.jpg"), self.mean)
        rows = self._rows(name)
        if self.random and self.mirror and rng.integers(2):
            pixels, taken = pixels[:, :, ::-1], rows[:, 1] >= 0
            rows[taken, 3], rows[taken, 5] = 1 - rows[taken, 5], 1 - rows[taken, 3]
        return np.ascontiguousarray(pixels), rows

    def _rows(self, name):
        path = f"{self.voc_dir}/Annotations/{name}.xml"
        (height, width), objects = read_annotations(path)
        if len(objects) > self.most:
            raise DataFault(f"{path} has {len(objects)} objects: give the option most, {len(objects)} or more")
        rows = np.full((self.most, 8), -1, np.float32)
        for i, (row, each) in enumerate(zip(rows, objects, strict=False)):
            if each.name not in self.classes:
                raise DataFault(f"{path}: '{each.name}' is none of the classes: {', '.join(self.classes)}")
            x1, y1, x2, y2 = each.corners
            row[:] = 0, self.classes[each.name], i, x1 / width, y1 / height, (x2 + 1) / width, (y2 + 1) / height, 0
            row[7] = each.difficult
        return rows

    def reshape(self, bottom, top):
        pixels, rows = self.feed.current().arrays
        top[0].reshape(*pixels.shape)
        top[1].reshape(1, 1, rows.shape[0] * rows.shape[1], 8)

    def forward(self, bottom, top):
        (pixels, rows), self.delivered = self.feed.next()
        items = np.arange(len(rows), dtype=np.float32)[:, None]
        top[0].data[...] = pixels
        labels = np.array(rows)
        labels[:, :, 0] = np.where(rows[:, :, 1] >= 0, items, -1)
        top[1].data[...] = labels.reshape(1, 1, -1, 8)


class SceneBoxDataLayer(VOCBoxDataLayer):
    """The drawn scenes; options as VOCBoxDataLayer's, but every one has a default."""

    options = {
        **VOCBoxDataLayer.options,
        "voc_dir": text(""),
        "split": text("train"),
        "train": whole(TRAIN, 1, 10**6),
        "val": whole(VAL, 1, 10**6),
        "size": size(SIZE),
    }

    def open(self, options):
        folder = scenes.write(options["voc_dir"] or FOLDER, options["train"], options["val"], tuple(options["size"]))
        return super().open({**options, "voc_dir": str(folder)})
