"""Data: images and labels from an LMDB or LevelDB of Datum records, in the order of their keys."""

from __future__ import annotations

import warnings

import numpy as np

from demitasse.layers.data import datum
from demitasse.layers.data.database import open_database
from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import ShapeFault


class DatumRecords(Source):
    """The records of a database, over and over."""

    def __init__(self, path: str, transform: Transformer, tops: int):
        super().__init__()
        self.transform, self.tops = transform, tops
        self.draws, self._hinted = transform.random, False
        self.reader = open_database(path, "data_param: source")
        self.count = self.reader.count

    def find(self, index):
        key, value = self.reader.read(index)
        place = self.reader.place(key)
        message = datum.parse(value, place)
        self.costly = message.encoded or len(value) > 1 << 15
        return message, place

    def load(self, record, rng):
        message, place = record
        pixels = datum.pixels(message, self.transform.color, place)
        hint = datum.order_hint(pixels.shape)
        try:
            image = self.transform(pixels, rng, place)
        except ShapeFault as fault:
            raise ShapeFault(f"{fault.what}; {hint}") if hint else fault from None
        if hint and not self._hinted:
            self._hinted = True
            warnings.warn(f"{place}: {hint}", stacklevel=2)
        return [image, np.float32(message.label)][: self.tops], place

    def uneven(self, shape, first):
        if {shape[0], first[0]} == {1, 3} and shape[1:] == first[1:]:
            return "give transform_param { force_color: true } (or force_gray: true), or convert all to one kind"
        return super().uneven(shape, first)

    def close(self):
        """Release the database."""
        super().close()
        self.reader.close()


class Data(FeedLayer):
    """Images and labels from an LMDB or LevelDB: tops (N, C, H, W), and (N,) where there are two."""

    type = "Data"
    tops = (1, 2)

    def open(self):
        fields = self.spec.data_param
        transform = Transformer(self.spec.transform_param, self.train)
        if fields.force_encoded_color and transform.color is None:
            transform.color = True
        return DatumRecords(fields.source, transform, len(self.spec.top)), fields.batch_size, fields.rand_skip
