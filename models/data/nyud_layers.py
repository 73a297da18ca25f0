"""NYUDv2: colour, depth and HHA images of rooms, 40 classes.

    nyud_dir/{split}.txt, data/{images,depth,hha}/img_{id}.png, segmentation/img_{id}.mat

color is BGR minus its mean; depth the natural logarithm minus its mean, one channel; hha minus its mean, its channels
(height, horizontal disparity, angle) as stored.  Stored labels 1 to 40 become 0 to 39, the void 0 becomes 255.
"""

from __future__ import annotations

import numpy as np

from demitasse.models.data import read
from demitasse.models.data.options import REQUIRED, text, texts
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.proto.errors import SchemaFault, did_you_mean

CLASSES = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor mat",
    "clothes",
    "ceiling",
    "books",
    "refrigerator",
    "television",
    "paper",
    "towel",
    "shower curtain",
    "box",
    "whiteboard",
    "person",
    "night stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
    "other structure",
    "other furniture",
    "other prop",
)


class NYUDSegDataLayer(SegDataLayer):
    """`tops` lists what the layer gives, in its tops' order: of color, depth, hha, label."""

    about = (
        "the folder of NYUDv2 as the FCN release lays it out, with train.txt, val.txt, test.txt, "
        "data/{images,depth,hha}/img_*.png and segmentation/img_*.mat"
    )
    options = {"nyud_dir": text(REQUIRED), "split": text(REQUIRED), "tops": texts(REQUIRED)}
    mean_bgr = (116.190, 97.203, 92.318)
    mean_hha = (132.431, 94.076, 118.477)
    mean_logd = 7.844

    def open(self, options):
        self.nyud_dir, self.top_names = options["nyud_dir"], tuple(options["tops"])
        self.loads = {
            "color": self.load_image,
            "depth": self.load_depth,
            "hha": self.load_hha,
            "label": self.load_label,
        }
        for name in self.top_names:
            if name not in self.loads:
                raise SchemaFault(
                    f"no top {name!r} in NYUDv2{did_you_mean(name, self.loads)}: there are color, depth, hha, label"
                )
        return read.split(self.nyud_dir, self.split)

    def mean_of(self, top):
        """Of the first image top: a net that reads one image calls its top data, whatever it is."""
        first = self.top_names[0]
        return {"color": self.mean_bgr, "hha": self.mean_hha}.get(top if top in self.loads else first, ())

    def names_of(self, top):
        return CLASSES

    def load(self, name, rng):
        return tuple(self.loads[top](name) for top in self.top_names)

    def load_image(self, name: str) -> np.ndarray:
        """(3, H, W) float32 BGR."""
        return read.bgr(read.image(f"{self.nyud_dir}/data/images/img_{name}.png"), self.mean_bgr)

    def load_depth(self, name: str) -> np.ndarray:
        """(1, H, W) float32 log depth; pixels without a measurement (0) count as the nearest depth."""
        depth = read.plane(f"{self.nyud_dir}/data/depth/img_{name}.png")
        return (np.log(np.maximum(depth, 1)) - np.float32(self.mean_logd))[None]

    def load_hha(self, name: str) -> np.ndarray:
        """(3, H, W) float32."""
        hha = read.image(f"{self.nyud_dir}/data/hha/img_{name}.png")
        return read.bgr(hha[:, :, ::-1], self.mean_hha)

    def load_label(self, name: str) -> np.ndarray:
        """(1, H, W) uint8."""
        path = f"{self.nyud_dir}/segmentation/img_{name}.mat"
        return read.from_one(read.mat(path, "segmentation"), 40, path)[None]
