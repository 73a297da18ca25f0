"""ImageData: images named in a text file, a line "path label" each.

With label_dim (HashNet) a line has so many labels, which may be real numbers.  With a single top (FlowNet) a line may
be the path alone.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, resize
from demitasse.layers.data.listing import ListedSource, read_labelled, read_names, told_image_shape
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import SchemaFault


class LabelledImages(ListedSource):
    """Images with a class number each; with pair_size, so many lines that follow each other stay together."""

    def __init__(self, fields, name, entries, transform):
        super().__init__(fields, name, entries, transform)
        self.count -= self.count % max(fields.pair_size, 1)

    def order(self, epoch, count):
        size = max(self.fields.pair_size, 1)
        return (super().order(epoch, count // size)[:, None] * size + np.arange(size)).reshape(-1)

    def load(self, record, rng):
        where = self.where("image", record.name, record)
        image = read_image(self.path(record.name), self.color, where)
        if self.size:
            image = resize(image, *self.size)
        return [self.transform(image.transpose(2, 0, 1), rng, where), np.float32(record.label)], where


class ImageData(FeedLayer):
    """Image files and, if wanted, labels of a list: tops (N, C, H, W) and (N,), or (N, label_dim) where that is above
    1."""

    type = "ImageData"
    tops = (1, 2)

    def told_shapes(self):
        fields = self.spec.image_data_param
        shape = told_image_shape(fields, self.spec.transform_param, self.train)
        return [shape, shape[:1] + (fields.label_dim,) * (fields.label_dim > 1)] if shape else None

    def open(self):
        fields, transform = self.spec.image_data_param, Transformer(self.spec.transform_param, self.train)
        if not fields.label_dim:
            raise SchemaFault("image_data_param: label_dim 0: a line has a label at least, whoever reads it")
        if len(self.spec.top) == 1:
            entries = read_names(fields.source, "image_data_param: source", "an image: its path")
        else:
            entries = read_labelled(fields.source, "image_data_param: source", fields.label_dim)
        if fields.pair_size > len(entries):
            raise SchemaFault(f"image_data_param: pair_size {fields.pair_size} is more than the {len(entries)} lines")
        return LabelledImages(fields, "image_data_param", entries, transform), fields.batch_size, fields.rand_skip

    def infer(self, shapes):
        return super().infer(shapes)[: len(self.spec.top)]

    def forward(self, xs):
        return super().forward(xs)[: len(self.spec.top)]
