"""A source of samples that a text file lists, in its order or shuffled anew in every epoch."""

from __future__ import annotations

from demitasse.layers.sources.feed import Source
from demitasse.layers.sources.files import below
from demitasse.layers.sources.listing import Entry
from demitasse.layers.sources.transform import Transformer
from demitasse.proto.errors import SchemaFault


class ListedSource(Source):
    """Entries of a listing by their place in the stream, with the fields that ImageData and its like share."""

    def __init__(self, fields, name: str, entries: list[Entry], transform: Transformer):
        """fields: the layer's image_data_param or dense_image_data_param, called `name` in errors."""
        super().__init__()
        if bool(fields.new_height) != bool(fields.new_width):
            raise SchemaFault(
                f"{name}: new_height {fields.new_height} and new_width {fields.new_width}: "
                "give both, or neither to keep each image's size"
            )
        self.size = (fields.new_height, fields.new_width) if fields.new_height else None
        self.fields, self.entries, self.transform = fields, entries, transform
        self.color = fields.is_color if transform.color is None else transform.color
        self.draws = transform.random
        self._shuffled = None, None  # (seed, epoch) and its order

    def find(self, index: int) -> Entry:
        epoch, place = divmod(index, len(self.entries))
        if self.fields.shuffle:
            if self._shuffled[0] != (self.seed, epoch):
                self._shuffled = (self.seed, epoch), self.order(epoch, len(self.entries))
            place = self._shuffled[1][place]
        return self.entries[place]

    def path(self, name: str) -> str:
        """A listed name below root_folder."""
        return below(self.fields.root_folder, name)

    def place(self, kind: str, name: str, entry: Entry) -> str:
        """A file's name and the line that lists it, for errors."""
        return f"{kind} '{self.path(name)}' ({self.fields.source}:{entry.line})"
