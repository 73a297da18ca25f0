"""The text files that name a data set's images, a line each, and the source of samples that one lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from demitasse.layers.data.feed import Source
from demitasse.layers.data.files import below, no_such_file, require_file, text_lines
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.input_paths import located


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: the image's name, its label (a class number, several numbers, or a label image's name), and where it
    stands."""

    name: str
    label: int | tuple[float, ...] | str
    line: int


CHECKED = 20000  # lines whose files are looked for when a net is built
IMAGE_LINE = "an image: its path, a space, its label"


def read_lines(path: str, field: str, what: str = IMAGE_LINE) -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not blank; DataFault where there is none.

    what: is written on a line, for the advice.  Bytes that are not UTF-8 stay usable in paths.
    """
    require_file(path, field)
    found = False
    for found in text_lines(path, f"{field}: '{path}'", what, errors="surrogateescape"):
        yield found
    if not found:
        raise DataFault(f"{field}: '{path}' has no lines; write, a line each, {what}")


def read_names(path: str, field: str, what: str) -> list[Entry]:
    """Lines "path", or "path label", whose whole number is passed over."""
    entries = []
    for number, line in read_lines(path, field, what):
        name, *last = line.rsplit(None, 1)
        entries.append(Entry(name if last and last[0].isdigit() else line, 0, number))
    return entries


def read_labelled(path: str, field: str, labels: int = 1) -> list[Entry]:
    """Lines "path label": the label is the last word, so that paths may hold spaces; or the last `labels` words, which
    may be real numbers.

    DataFault for another line, with its number.
    """
    entries = []
    for number, line in read_lines(path, field):
        name, *last = line.rsplit(None, labels)
        try:
            if len(last) != labels:
                raise ValueError
            label = int(last[0]) if labels == 1 else tuple(map(float, last))
        except ValueError:
            raise DataFault(
                f"{path}:{number}: '{line}' does not end with "
                + (
                    "a space and a whole number, the label; other labels (real numbers, several per image) go into "
                    "HDF5Data, and several into label_dim"
                    if labels == 1
                    else f"{labels} numbers, as label_dim says"
                )
            ) from None
        entries.append(Entry(name, label, number))
    return entries


def read_pairs(path: str, field: str) -> list[Entry]:
    """Lines "image label_image": two words, or two names divided by a tab where they hold spaces.

    DataFault for another line, with its number.
    """
    entries = []
    for number, line in read_lines(path, field):
        names = [name.strip() for name in line.split("\t")] if "\t" in line else line.split()
        if len(names) != 2 or not all(names):
            raise DataFault(
                f"{path}:{number}: '{line}' is not two names, the image and its label image; "
                "divide names that hold spaces by a tab"
            )
        entries.append(Entry(*names, number))
    return entries


def told_image_shape(fields, transform_param, train: bool) -> tuple[int, ...] | None:
    """(N, C, H, W) of the images of a list that is not there, as an image_data_param and a transform_param tell it.

    None where the list is there, or the size is not told.
    """
    transform = Transformer.from_fields(transform_param, train)
    sizes = transform.sizes or (fields.new_height, fields.new_width)
    if os.path.exists(fields.source) or not all(sizes) or not fields.batch_size:
        return None
    color = fields.is_color if transform.color is None else transform.color
    return fields.batch_size, 3 if color else 1, *sizes


class ListedSource(Source):
    """Entries of a listing in its order, or shuffled anew in every epoch; with the fields that ImageData and its like
    share."""

    kind = "image"  # what a line names first

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
        self.draws, self.count = transform.random, len(entries)
        self.shuffles = "shuffle: true" * fields.shuffle

    def find(self, index: int) -> Entry:
        return self.entries[self.shuffled(index) if self.fields.shuffle else index % len(self.entries)]

    def require_files(self) -> None:
        """MissingFile unless all that is listed (the first 20,000 lines) is there: better told now than on the way."""
        missing = [
            (kind, name, entry)
            for entry in self.entries[:CHECKED]
            for kind, name in ((self.kind, entry.name), ("label image", entry.label))
            if isinstance(name, str) and not os.path.exists(self.path(name))
        ]
        if missing:
            kind, name, entry = missing[0]
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise no_such_file(self.path(name), f"{self.where(kind, name, entry)}{more}")

    def data_origin(self):
        return (f"{entry.name} {entry.label}" for entry in self.entries)

    def path(self, name: str) -> str:
        """Of a listed name below root_folder."""
        return located(below(self.fields.root_folder, name), self.folder)

    def where(self, kind: str, name: str, entry: Entry) -> str:
        """A file's name and the line that lists it, for errors."""
        return f"{kind} '{self.path(name)}' ({self.fields.source}:{entry.line})"
