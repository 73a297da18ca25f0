"""CvpppData, CityscapesData, VocData (joyousrabbit): images of objects some of which have been found already.

Tops: images (N, 4, 300, 300), blue, green, red and a mask, 255 on the objects that are found already; the boxes of the
others, (1, 1, boxes, 8), as AnnotatedData has them.  In every sample which objects are found is drawn anew, at least
one is not.  Samples are mirrored at random, plants (CVPPP) upside down and along the diagonal as well.

`data_param { source }` lists the images, a line each.  Beside an image lie the numbers of its objects for every pixel,
and a table: lines "instance,class,x1,y1,x2,y2", corners in shares of the image's sides; plants have no class.

    CvpppData       p: p_rgb.png, p_label.bmp, p_box.csv
    CityscapesData  p: p_leftImg8bit.left.png, p_gtFine_instanceIds.left.png, p_gtFine_box.left.csv
    VocData         name: JPEGImages/name.jpg, SegmentationObject/name.bmp and .csv of the folder that holds the list's
                    ImageSets/Segmentation

Source: the prototxts and data of joyousrabbit's fork.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from demitasse.layers.data import annotations
from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.files import require_file, text_lines
from demitasse.layers.data.images import read_image, read_labels, resize, resize_nearest
from demitasse.layers.data.listing import read_lines
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, ShapeFault
from demitasse.proto.input_paths import located

SIDE = 300
IGNORED = ("resize_param", "emit_constraint")  # given by its nets and read over by the fork, which resizes to SIDE


class Layout(NamedTuple):
    """Where an image, its instances and their boxes lie, with {} for a line of the list."""

    image: str
    instances: str
    boxes: str
    has_classes: bool = True
    in_root: bool = False  # below the folder two above the list's
    any_side_up: bool = False


class Instances(Source):
    """Images with some of their objects in the mask, and the boxes of the others."""

    draws = shapes_vary = True

    def __init__(self, fields, transform: Transformer, layout: Layout):
        """fields: the layer's data_param."""
        super().__init__()
        self.layout, self.transform = layout, transform
        source = fields.source
        self.names = [name for _, name in read_lines(source, "data_param: source", "an image, without its ending")]
        self.root = os.path.join(os.path.dirname(source), *[os.pardir] * 2) if layout.in_root else ""
        self.count, self.shuffles = len(self.names), "the type, which shuffles,"

    def find(self, index):
        return self.names[self.shuffled(index)]

    def require_files(self):
        for name in self.names:
            for pattern in self.layout[:3]:
                require_file(self.path(pattern, name), f"the list's '{name}'")

    def data_origin(self):
        return self.names

    def path(self, pattern: str, name: str) -> str:
        """Of a file of an image."""
        return located(os.path.join(self.root, pattern.replace("{}", name)), self.folder)

    def load(self, name, rng):
        image_path, instances_path, boxes_path = (self.path(pattern, name) for pattern in self.layout[:3])
        where = f"image '{image_path}'"
        image = read_image(image_path, True, where)
        instances = read_labels(instances_path, f"instances '{instances_path}'")
        if instances.shape != image.shape[:2]:
            raise ShapeFault(f"{where} is {image.shape[:2]}, its instances are {instances.shape}: they must agree")
        rows, found = self._divided(read_boxes(boxes_path, self.layout.has_classes), rng)
        mask = resize_nearest(np.isin(instances, found).astype(np.uint8), SIDE, SIDE) * 255
        pixels = np.concatenate([resize(image, SIDE, SIDE).transpose(2, 0, 1), mask[None]])
        pixels, rows = self._turned(pixels, rows, rng)
        window = self.transform.window(SIDE, SIDE, rng, where)
        rows = annotations.mirrored(rows) if window.mirror else rows
        return [self.transform.apply(pixels, window, where), rows], where

    def _divided(self, rows, rng):
        """The rows of objects to be found, and the numbers of those that are found already."""
        found = rng.random(len(rows)) < 0.5
        if len(rows):
            found[int(rng.integers(len(rows)))] = False
        return rows[~found], rows[found, annotations.INSTANCE]

    def _turned(self, pixels, rows, rng):
        if rng.integers(2):
            pixels, rows = pixels[:, :, ::-1], annotations.mirrored(rows)
        if self.layout.any_side_up and rng.integers(2):
            pixels, rows = pixels[:, ::-1], _transposed(annotations.mirrored(_transposed(rows)))
        if self.layout.any_side_up and rng.integers(2):
            pixels, rows = pixels.transpose(0, 2, 1), _transposed(rows)
        return pixels, rows

    def stack(self, samples):
        images = super().stack([(arrays[:1], name) for arrays, name in samples])
        return [*images, annotations.label_blob([arrays[1] for arrays, _ in samples])]


def _transposed(rows):
    """The rows of the image with its sides exchanged."""
    return rows[:, [0, 1, 2, 4, 3, 6, 5, 7]]


def read_boxes(path: str, has_classes: bool) -> np.ndarray:
    """(G, 8) rows of a table of boxes.  DataFault for another line."""
    rows = []
    for number, line in text_lines(path, f"boxes '{path}'"):
        try:
            values = [float(word) for word in line.split(",")]
            instance, label, x1, y1, x2, y2 = values if has_classes else [values[0], 1, *values[1:]]
        except ValueError:
            form = "instance,class,x1,y1,x2,y2" if has_classes else "instance,x1,y1,x2,y2"
            raise DataFault(f"{path}:{number}: '{line}' is not {form}") from None
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise DataFault(f"{path}:{number}: '{line}': corners are shares of the image's sides, the smaller first")
        rows.append((0, label, instance, x1, y1, x2, y2, 0))
    return np.array(rows, np.float32).reshape(-1, annotations.COLUMNS)


class InstanceData(FeedLayer):
    """The base of the three; a net is sized without the data being there, as if each image had one box."""

    tops = (2, 2)
    layout: Layout

    def told_shapes(self):
        batch = self.spec.data_param.batch_size
        return [(batch, 4, SIDE, SIDE), (1, 1, batch, annotations.COLUMNS)] if batch else None

    def open(self):
        fields, data = self.spec.transform_param, self.spec.data_param
        transform = Transformer(fields, self.train, others=IGNORED)
        return Instances(data, transform, self.layout), data.batch_size, data.rand_skip


class CvpppData(InstanceData):
    """Plants, seen from above."""

    type = "CvpppData"
    fields = ("data_param", "transform_param", "annotated_data_param")
    layout = Layout("{}_rgb.png", "{}_label.bmp", "{}_box.csv", has_classes=False, any_side_up=True)


class CityscapesData(InstanceData):
    """Streets, as the left images of pairs show them."""

    type = "CityscapesData"
    fields = ("data_param", "transform_param", "annotated_data_param")
    layout = Layout("{}_leftImg8bit.left.png", "{}_gtFine_instanceIds.left.png", "{}_gtFine_box.left.csv")


class VocData(InstanceData):
    """PASCAL VOC's images with the numbers of their objects."""

    type = "VocData"
    fields = ("data_param", "transform_param", "annotated_data_param")
    layout = Layout("JPEGImages/{}.jpg", "SegmentationObject/{}.bmp", "SegmentationObject/{}.csv", in_root=True)
