"""A source of samples that are the records of a database: in the order of their keys, or shuffled in every epoch."""

from __future__ import annotations

import os

from demitasse.layers.data.database import LmdbReader, open_database
from demitasse.layers.data.feed import Source
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import SchemaFault


class DatabaseSource(Source):
    """The records of the database that a data_param names, over and over."""

    def __init__(self, fields, transform: Transformer):
        super().__init__()
        self.transform = transform
        self.reader = open_database(fields.source, "data_param: source")
        self.count, self.shuffles = self.reader.count, "shuffle: true" * fields.shuffle
        if fields.shuffle and not isinstance(self.reader, LmdbReader):
            self.reader.close()
            raise SchemaFault(
                "data_param: shuffle is for an LMDB; a LevelDB is shuffled when it is made (convert_imageset --shuffle)"
            )

    def data_origin(self):
        path = self.reader.path
        files = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else [path]
        kept = [file for file in files if not os.path.basename(file).lower().startswith(("lock", "log"))]
        return [f"{self.count or 'some'} records in {sum(map(os.path.getsize, kept))} bytes"]

    def read(self, index: int) -> tuple[bytes, str]:
        """The value of sample `index`, and its name for errors."""
        reader = self.reader
        key, value = reader.read_anywhere(self.shuffled(index)) if self.shuffles else reader.read(index)
        return value, reader.where(key)

    def close(self) -> None:
        """Release the database."""
        super().close()
        self.reader.close()
