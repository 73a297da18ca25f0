"""roi_data_layer.layer: an image and the boxes of its objects, for training Faster R-CNN and R-FCN.

Tops: data (1, 3, H, W), BGR minus the mean; im_info (1, 3: height, width, scale); gt_boxes (G, 5: x1, y1, x2, y2,
class) in pixels of data.  The data set is one in PASCAL VOC's layout: JPEGImages, Annotations and ImageSets/Main.  The
published nets name none, since their authors' program handed it over: add voc_dir to param_str.
Source: "Fast R-CNN" (Girshick, 2015), 2.3 and 4.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.models.data import options, read
from demitasse.models.data.annotations import read_annotations
from demitasse.models.data.rcnn_layer import RCNNLayer, fill
from demitasse.models.palette import VOC_CLASSES
from demitasse.proto.errors import DataFault, GraphFault, did_you_mean
from demitasse.proto.input_paths import located

MEAN = (102.9801, 115.9465, 122.7717)  # BGR, as the published nets subtract it


class RoIDataLayer(RCNNLayer):
    """Options: num_classes (with the background); voc_dir, split; mirror (each image at random as it is or mirrored);
    scale and max_size (the shorter side's pixels, the longer one's most); mean (blue, green, red).

    Names of classes are the lines of voc_dir/classes.txt, the first one the background's; without it VOC's.  Objects
    that are marked difficult are left out, and images without any.  Every image comes once before one comes again.
    """

    options = {
        "num_classes": options.whole(21, 2, 1 << 16),
        "voc_dir": options.text(""),
        "split": options.text("trainval"),
        "mirror": options.flag(True),
        "scale": options.whole(600, 1, options.LARGEST),
        "max_size": options.whole(1000, 1, options.LARGEST),
        "mean": options.colour(MEAN),
    }

    def setup(self, bottom, top):
        super().setup(bottom, top)
        if len(bottom) or len(top) != 3:
            raise GraphFault(f"{len(bottom)} bottoms and {len(top)} tops: it gives data, im_info and gt_boxes")
        self.names, self.position, self.sample = [], 0, None
        self.seed = int(self.rng.integers(1 << 62))
        self.folder = self.data_folder()
        if self.folder:
            self.open()
        self.reshape(bottom, top)

    def data_folder(self) -> Path | None:
        """Where the data set is; None where the net names none."""
        return Path(located(self.given["voc_dir"], self.net_folder)) if self.given["voc_dir"] else None

    def open(self) -> None:
        """Read the names of the images and the boxes in them.  DataFault where num_classes does not fit the names, or
        nothing is there."""
        names = self.folder / "classes.txt"
        self.classes = read.lines(names) if names.is_file() else VOC_CLASSES
        if len(self.classes) != self.given["num_classes"]:
            raise DataFault(
                f"num_classes is {self.given['num_classes']}, but there are {len(self.classes)} names of classes, the "
                f"background's among them, {f'in {names}' if names.is_file() else f'in VOC; {names} would name others'}"
            )
        boxes = {name: self.boxes_of(name) for name in read.split(self.folder / "ImageSets/Main", self.given["split"])}
        self.boxes = {name: found for name, found in boxes.items() if len(found)}
        self.names = list(self.boxes)
        if not self.names:
            raise DataFault(f"no image of {self.folder}, split '{self.given['split']}', has an object")

    def boxes_of(self, name: str) -> np.ndarray:
        """(G, 5) of an image as it is stored.  DataFault for a class without a name here."""
        file = self.folder / "Annotations" / f"{name}.xml"
        found = []
        for each in read_annotations(file)[1]:
            if each.name not in self.classes:
                raise DataFault(f"{file}: no class is named '{each.name}'{did_you_mean(each.name, self.classes)}")
            if not each.difficult:
                found.append([*each.corners, list(self.classes).index(each.name)])
        return np.array(found, np.float64).reshape(-1, 5)

    def load(self, position: int) -> tuple[np.ndarray, ...]:
        """The arrays of all tops, in the shapes that the head of this file tells, of the sample at this position in the
        endless order."""
        epoch, place = divmod(position, len(self.names))
        draws = np.random.default_rng([self.seed, epoch])
        name = self.names[draws.permutation(len(self.names))[place]]
        pixels, boxes = read.image(self.folder / "JPEGImages" / f"{name}.jpg"), self.boxes[name].copy()
        if self.given["mirror"] and draws.integers(2, size=len(self.names))[place]:
            pixels, boxes[:, [0, 2]] = pixels[:, ::-1], pixels.shape[1] - 1 - boxes[:, [2, 0]]
        height, width = pixels.shape[:2]
        scale = min(self.given["scale"] / min(height, width), self.given["max_size"] / max(height, width))
        if scale != 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))
        boxes[:, :4] *= scale
        data = read.bgr(pixels, self.given["mean"])[None]
        return data, np.array([[*data.shape[2:], scale]]), boxes

    def reshape(self, bottom, top):
        if self.names and self.sample is None:
            self.sample = self.load(self.position)
        empty = (1, 3, self.given["scale"], self.given["max_size"]), (1, 3), (1, 5)
        for i, blob in enumerate(top):
            blob.reshape(*(self.sample[i].shape if self.sample else empty[i]))

    def forward(self, bottom, top):
        """The next image and its boxes; DataFault where no data set is named."""
        if not self.names:
            raise DataFault(
                "no data set is named: add 'voc_dir' (a folder in PASCAL VOC's layout) and 'split' to param_str, "
                "as in \"{'num_classes': 21, 'voc_dir': 'data/VOC2007', 'split': 'trainval'}\""
            )
        self.reshape(bottom, top)
        for blob, values in zip(top, self.sample, strict=True):
            fill(blob, values)
        self.position, self.sample = self.position + 1, None

    def state(self) -> dict:
        """The place in the endless order."""
        return {"seed": self.seed, "position": self.position}

    def load_state(self, state: dict) -> None:
        """Go on from there."""
        self.seed, self.position, self.sample = state["seed"], state["position"], None
