"""ImageLabelData (TI's caffe-jacinto): images from one database or list, and from another their pixels' labels.

A path that is a folder is an LMDB of Datum records, else a text file with an image's path a line.  Labels are class
indices; of a listed palette PNG its indices.  With scale_prob an image in TRAIN is resized, before it is cropped, by a
factor between scale_min and scale_max, or by so much more as the crop needs.  ImageLabelListData is upgraded to it.

Source: the prototxts of caffe-jacinto-models.
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.data import datum
from demitasse.layers.data.database import LmdbReader, open_database
from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.files import no_such_file
from demitasse.layers.data.images import read_image, read_labels, resize, resize_nearest
from demitasse.layers.data.listing import read_lines
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.input_paths import located

FIELDS = ("image_label_data_param: image_list_path", "image_label_data_param: label_list_path")


class _Listed:
    """Images of a text file."""

    def __init__(self, path: str, field: str):
        self.path, self.lines = path, [name for _, name in read_lines(path, field, "an image's path")]
        self.count = len(self.lines)

    def read(self, index: int, folder: str) -> tuple[str, str]:
        path = located(self.lines[index], folder)
        return path, f"image '{path}' ({self.path}:{index + 1})"

    def pixels(self, path: str, color: bool, where: str) -> np.ndarray:
        """(C, H, W)."""
        return read_image(path, True, where).transpose(2, 0, 1) if color else read_labels(path, where)[None]

    def require(self, folder: str) -> None:
        for index in range(self.count):
            path, where = self.read(index, folder)
            if not os.path.exists(path):
                raise no_such_file(path, where)

    def close(self) -> None:
        """Nothing is open."""


class _Stored:
    """Datum records of an LMDB."""

    def __init__(self, path: str, field: str):
        self.path, self.reader = path, open_database(path, field)
        if not isinstance(self.reader, LmdbReader):
            self.reader.close()
            raise SchemaFault(f"{field}: '{path}' is a LevelDB: an LMDB, or a list of images, is read here")
        self.count = self.reader.count

    def read(self, index: int, folder: str) -> tuple[bytes, str]:
        key, value = self.reader.read_anywhere(index)
        return value, self.reader.where(key)

    def pixels(self, value: bytes, color: bool, where: str) -> np.ndarray:
        """(C, H, W)."""
        return datum.pixels(datum.parse(value, where), color or None, where)

    def require(self, folder: str) -> None:
        """All is in the database."""

    def close(self) -> None:
        self.reader.close()


class LabelledImages(Source):
    """Images of one source and labels of another."""

    def __init__(self, fields, transform: Transformer, train: bool):
        super().__init__()
        self.fields, self.transform = fields, transform
        paths = fields.image_list_path, fields.label_list_path
        self.halves = [
            (_Stored if os.path.isdir(path) else _Listed)(path, field)
            for path, field in zip(paths, FIELDS, strict=True)
        ]
        images, labels = self.halves
        if images.count != labels.count:
            self.close()
            raise DataFault(f"'{paths[0]}' has {images.count} images, '{paths[1]}' {labels.count} of their labels")
        self.count, self.shuffles = images.count, "shuffle: true" * fields.shuffle
        self.scale_prob = fields.scale_prob if train else 0.0
        self.draws = transform.random or self.scale_prob > 0

    def require_files(self) -> None:
        for half in self.halves:
            half.require(self.folder)

    def data_origin(self):
        return (f"{half.count} in {os.path.basename(half.path)}" for half in self.halves)

    def find(self, index):
        index = self.shuffled(index) if self.shuffles else index % self.count
        return [half.read(index, self.folder) for half in self.halves]

    def load(self, record, rng):
        (image, where), (labels, label_where) = (
            (half.pixels(value, color, where), where)
            for half, (value, where), color in zip(self.halves, record, (True, False), strict=True)
        )
        if len(labels) != 1 or image.shape[1:] != labels.shape[1:]:
            raise ShapeFault(f"{label_where} is {labels.shape}, but {where} is {image.shape}: give one label a pixel")
        if self.scale_prob and rng.random() < self.scale_prob:
            factor = rng.uniform(self.fields.scale_min, self.fields.scale_max)
            least = max(side / old for side, old in zip(self.transform.crop_shape, labels.shape[1:], strict=True))
            size = [round(side * max(factor, least)) for side in labels.shape[1:]]
            image = resize(image.transpose(1, 2, 0), *size).transpose(2, 0, 1)
            labels = resize_nearest(labels[0], *size)[None]
        window = self.transform.window(*labels.shape[1:], rng, where)
        return [self.transform.apply(image, window, where), window.cut(labels).astype(np.float32)], where

    def close(self) -> None:
        """Release what is open."""
        super().close()
        for half in self.halves:
            half.close()


class ImageLabelData(FeedLayer):
    """Tops: images (N, C, H, W) and labels (N, 1, H, W)."""

    type = "ImageLabelData"
    tops = (2, 2)

    def told_shapes(self):
        fields = self.spec.image_label_data_param
        sizes = Transformer.from_fields(self.spec.transform_param, self.train, others=()).sizes
        if os.path.exists(fields.image_list_path) or not sizes:
            return None
        return [(fields.batch_size, 3, *sizes), (fields.batch_size, 1, *sizes)]

    def open(self):
        fields, transform = (
            self.spec.image_label_data_param,
            Transformer(self.spec.transform_param, self.train, others=()),
        )
        if not 0 < fields.scale_min <= fields.scale_max:
            raise SchemaFault(
                f"image_label_data_param: scale_min {fields.scale_min:g} must be above 0 and scale_max "
                f"{fields.scale_max:g} no less"
            )
        return LabelledImages(fields, transform, self.train), fields.batch_size, 0
