"""ImageLabelmapData (HED): images with a map of edges each, named in a text file, a line for both.

The map is read as grey; its pixels of 128 and more, of 255, are edges.  It goes through the same resize, crop and
mirror as its image.

Source: the prototxts and lists of "Holistically-nested edge detection" (Xie and Tu, 2015).
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, resize
from demitasse.layers.data.listing import ListedSource, read_pairs, told_image_shape
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import ShapeFault


class EdgePairs(ListedSource):
    """Images and their maps of edges."""

    def load(self, record, rng):
        where = self.where("image", record.name, record)
        map_where = self.where("label image", record.label, record)
        image = read_image(self.path(record.name), self.color, where)
        edges = read_image(self.path(record.label), False, map_where)
        if image.shape[:2] != edges.shape[:2]:
            raise ShapeFault(
                f"{map_where} is {edges.shape[0]} x {edges.shape[1]} but its image is {image.shape[0]} x "
                f"{image.shape[1]} (height x width): they must agree"
            )
        if self.size:
            image, edges = resize(image, *self.size), resize(edges, *self.size)
        window = self.transform.window(*edges.shape[:2], rng, where)
        labels = window.cut((edges >= 128).astype(np.float32).transpose(2, 0, 1))
        return [self.transform.apply(image.transpose(2, 0, 1), window, where), labels], where


class ImageLabelmapData(FeedLayer):
    """Tops: images (N, C, H, W) and labels, 0 and 1 (N, 1, H, W)."""

    type = "ImageLabelmapData"
    fields = ("image_data_param", "transform_param", "data_param")
    tops = (2, 2)

    def told_shapes(self):
        shape = told_image_shape(self.spec.image_data_param, self.spec.transform_param, self.train)
        return [shape, (shape[0], 1, *shape[2:])] if shape else None

    def open(self):
        fields, transform = self.spec.image_data_param, Transformer(self.spec.transform_param, self.train, others=())
        entries = read_pairs(fields.source, "image_data_param: source")
        return EdgePairs(fields, "image_data_param", entries, transform), fields.batch_size, fields.rand_skip
