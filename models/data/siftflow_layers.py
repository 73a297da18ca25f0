"""SIFT Flow: 256x256 landscapes with 33 semantic and 3 geometric classes: (data, sem, geo).

    siftflow_dir/{split}.txt, and under Images/, SemanticLabels/ and GeoLabels/ the folder of the eight scenes

Images are BGR minus their mean.  Semantic labels 1 to 33 become 0 to 32, geometric ones (sky, horizontal, vertical)
0 to 2; void (0 and -1) becomes 255.
"""

from __future__ import annotations

import numpy as np

from demitasse.models.data import read
from demitasse.models.data.options import REQUIRED, text
from demitasse.models.data.seg_layer import SegDataLayer

SCENES = "spatial_envelope_256x256_static_8outdoorcategories"


CLASSES = {
    "sem": (
        "awning",
        "balcony",
        "bird",
        "boat",
        "bridge",
        "building",
        "bus",
        "car",
        "cow",
        "crosswalk",
        "desert",
        "door",
        "fence",
        "field",
        "grass",
        "moon",
        "mountain",
        "person",
        "plant",
        "pole",
        "river",
        "road",
        "rock",
        "sand",
        "sea",
        "sidewalk",
        "sign",
        "sky",
        "staircase",
        "streetlight",
        "sun",
        "tree",
        "window",
    ),
    "geo": ("sky", "horizontal", "vertical"),
}


class SIFTFlowSegDataLayer(SegDataLayer):
    about = (
        "the folder of SIFT Flow, with trainval.txt, test.txt, Images/, SemanticLabels/ and GeoLabels/ (each with the "
        "scenes' folder)"
    )
    options = {"siftflow_dir": text(REQUIRED), "split": text(REQUIRED)}
    top_names = ("data", "sem", "geo")
    mean = (114.578, 115.294, 108.353)

    def open(self, options):
        self.siftflow_dir = options["siftflow_dir"]
        return read.split(self.siftflow_dir, self.split)

    def names_of(self, top):
        return CLASSES.get(top, ())

    def load(self, name, rng):
        return self.load_image(name), self.load_label(name, "semantic"), self.load_label(name, "geometric")

    def load_image(self, name: str) -> np.ndarray:
        """(3, H, W) float32."""
        return read.bgr(read.image(f"{self.siftflow_dir}/Images/{SCENES}/{name}.jpg"), self.mean)

    def load_label(self, name: str, label_type: str) -> np.ndarray:
        """(1, H, W) uint8; label_type is "semantic" or "geometric"."""
        folder, classes = {"semantic": ("SemanticLabels", 33), "geometric": ("GeoLabels", 3)}[label_type]
        path = f"{self.siftflow_dir}/{folder}/{SCENES}/{name}.mat"
        return read.from_one(read.mat(path, "S"), classes, path)[None]
