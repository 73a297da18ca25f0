"""PASCAL VOC, and the SBD labels that extend it: (data, label).

VOCSegDataLayer    voc_dir/ImageSets/Segmentation/{split}.txt, JPEGImages/*.jpg, SegmentationClass/*.png
SBDDSegDataLayer   sbdd_dir/{split}.txt, img/*.jpg, cls/*.mat

Images are BGR minus `mean`; labels 0 (background) to classes - 1, 255 for none.  `classes` is 21 unless given: a
label beyond it is refused with the file's name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.models.data import augment, read
from demitasse.models.data.options import REQUIRED, colour, text, whole
from demitasse.models.data.scenes import MEAN
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.models.palette import VOC_CLASSES


class VOCSegDataLayer(SegDataLayer):
    """Any data set in the layout of PASCAL VOC; with the options of models/data/augment.py for training."""

    about = (
        "the folder of PASCAL VOC 2011 (http://host.robots.ox.ac.uk/pascal/VOC/voc2011/), or of data in its layout, "
        "with JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/*.txt"
    )
    options = {
        "voc_dir": text(REQUIRED),
        "split": text(REQUIRED),
        "mean": colour(MEAN),
        "classes": whole(21, 1, 255),
        **augment.OPTIONS,
    }

    def open(self, options):
        self.voc_dir, self.mean, self.classes = options["voc_dir"], options["mean"], options["classes"]
        self.augmentation = augment.Augmentation.of(options)
        return read.split(Path(self.voc_dir) / "ImageSets/Segmentation", self.split)

    def names_of(self, top):
        """Those of voc_dir/classes.txt, if there is one, else VOC's."""
        file = Path(self.voc_dir) / "classes.txt"
        return read.lines(file) if file.is_file() else VOC_CLASSES if self.classes == len(VOC_CLASSES) else ()

    def load(self, name, rng):
        image, labels = self._picture(name), self.load_label(name)[0]
        if self.random and image.shape[:2] == labels.shape:  # where they differ, whoever asked is told
            image, labels = self.augmentation(image, labels, rng)
        return read.bgr(image, self.mean), labels[None]

    def _picture(self, name: str) -> np.ndarray:
        return read.image(f"{self.voc_dir}/JPEGImages/{name}.jpg")

    def load_image(self, name: str) -> np.ndarray:
        """(3, H, W) float32."""
        return read.bgr(self._picture(name), self.mean)

    def load_label(self, name: str) -> np.ndarray:
        """(1, H, W) uint8."""
        return read.label_png(f"{self.voc_dir}/SegmentationClass/{name}.png", self.classes)[None]


class SBDDSegDataLayer(SegDataLayer):
    """The Semantic Boundaries data set: VOC's classes on 8,498 images of the paper's training split."""

    about = (
        "the `dataset` folder of SBD, the Semantic Boundaries Dataset, which labels 11,355 images of PASCAL VOC "
        "(http://home.bharathh.info/pubs/codes/SBD/download.html), with train.txt, img/*.jpg and cls/*.mat"
    )
    options = {
        "sbdd_dir": text(REQUIRED),
        "split": text(REQUIRED),
        "mean": colour(MEAN),
        "classes": whole(21, 1, 255),
    }

    def open(self, options):
        self.sbdd_dir, self.mean, self.classes = options["sbdd_dir"], options["mean"], options["classes"]
        return read.split(self.sbdd_dir, self.split)

    def names_of(self, top):
        return VOC_CLASSES if self.classes == len(VOC_CLASSES) else ()

    def load(self, name, rng):
        return self.load_image(name), self.load_label(name)

    def load_image(self, name: str) -> np.ndarray:
        """(3, H, W) float32."""
        return read.bgr(read.image(f"{self.sbdd_dir}/img/{name}.jpg"), self.mean)

    def load_label(self, name: str) -> np.ndarray:
        """(1, H, W) uint8."""
        path = f"{self.sbdd_dir}/cls/{name}.mat"
        labels = read.mat(path, "GTcls", 0, "Segmentation").astype(np.uint8)
        return read.checked(labels, self.classes, path)[None]
