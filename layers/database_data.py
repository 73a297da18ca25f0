"""Data: images and labels from an LMDB or LevelDB of Datum records, in the order of their keys."""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.data import datum
from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.records import DatabaseSource
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import ShapeFault
from demitasse.proto.warning import warn


class DatumRecords(DatabaseSource):
    """Datum records of a database."""

    def __init__(self, fields, transform: Transformer, tops: int):
        """fields: the data_param."""
        super().__init__(fields, transform)
        self.tops, self.draws, self._hinted = tops, transform.random, False

    def find(self, index):
        value, where = self.read(index)
        message = datum.parse(value, where)
        self.costly = message.encoded or len(value) > 1 << 15
        return message, where

    def load(self, record, rng):
        message, where = record
        pixels = datum.pixels(message, self.transform.color, where)
        hint = datum.order_hint(pixels.shape)
        try:
            image = self.transform(pixels, rng, where)
        except ShapeFault as fault:
            raise ShapeFault(f"{fault.what}; {hint}") if hint else fault from None
        if hint and not self._hinted:
            self._hinted = True
            warn(f"{where}: {hint}")
        return [image, np.float32(message.label)][: self.tops], where

    def uneven(self, shape, first):
        if {shape[0], first[0]} == {1, 3} and shape[1:] == first[1:]:
            return "give transform_param { force_color: true } (or force_gray: true), or convert all to one kind"
        return super().uneven(shape, first)


class Data(FeedLayer):
    """Images and labels from an LMDB or LevelDB: tops (N, C, H, W), and (N,) where there are two."""

    type = "Data"
    tops = (1, 2)

    def told_shapes(self):
        fields, transform = self.spec.data_param, Transformer.from_fields(self.spec.transform_param, self.train)
        if os.path.exists(fields.source) or not transform.sizes or not fields.batch_size:
            return None
        means, color = len(transform.mean_values), transform.color
        if color is None and means not in (1, 3):
            warn(f"data_param: source: '{fields.source}' is not there; its images are taken as colour")
        grey = color is False or (color is None and means == 1)
        shape = (fields.batch_size, 1 if grey else 3, *transform.sizes)
        return [shape, shape[:1]]

    def open(self):
        fields = self.spec.data_param
        transform = Transformer(self.spec.transform_param, self.train)
        if fields.force_encoded_color and transform.color is None:
            transform.color = True
        return DatumRecords(fields, transform, len(self.spec.top)), fields.batch_size, fields.rand_skip
