"""Data: images and labels from an LMDB or LevelDB of Datum records, in the order of their keys."""

from __future__ import annotations

import numpy as np

from demitasse.layers.sources import datum
from demitasse.layers.sources.database import open_database
from demitasse.layers.sources.feed import FeedLayer, Source
from demitasse.layers.sources.transform import Transformer


class DatumRecords(Source):
    """The records of a database, over and over."""

    def __init__(self, path: str, transform: Transformer, tops: int):
        super().__init__()
        self.transform, self.tops = transform, tops
        self.draws = transform.random
        self.reader = open_database(path, "data_param: source")

    def find(self, index):
        key, value = self.reader.read(index)
        place = self.reader.place(key)
        message = datum.parse(value, place)
        self.costly = message.encoded or len(value) > 1 << 15
        return message, place

    def load(self, record, rng):
        message, place = record
        image = self.transform(datum.pixels(message, self.transform.color, place), rng, place)
        return [image, np.float32(message.label)][: self.tops], place

    def close(self):
        super().close()
        self.reader.close()


class Data(FeedLayer):
    type = "Data"
    tops = (1, 2)

    def open(self):
        fields = self.spec.data_param
        transform = Transformer(self.spec.transform_param, self.train)
        if fields.force_encoded_color and transform.color is None:
            transform.color = True
        return DatumRecords(fields.source, transform, len(self.spec.top)), fields.batch_size, fields.rand_skip
