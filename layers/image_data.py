"""ImageData: images named in a text file, a line "path label" each."""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, resize
from demitasse.layers.data.listing import ListedSource, read_labelled
from demitasse.layers.data.transform import Transformer


class LabelledImages(ListedSource):
    """Images with a class number each."""

    def load(self, record, rng):
        place = self.place("image", record.name, record)
        image = read_image(self.path(record.name), self.color, place)
        if self.size:
            image = resize(image, *self.size)
        return [self.transform(image.transpose(2, 0, 1), rng, place), np.float32(record.label)], place


class ImageData(FeedLayer):
    """Image files and labels of a list: tops (N, C, H, W) and (N,)."""

    type = "ImageData"
    tops = (2, 2)

    def open(self):
        fields, transform = self.spec.image_data_param, Transformer(self.spec.transform_param, self.train)
        entries = read_labelled(fields.source, "image_data_param: source")
        return LabelledImages(fields, "image_data_param", entries, transform), fields.batch_size, fields.rand_skip
