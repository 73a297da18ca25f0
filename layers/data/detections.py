"""Files about detections: the names of classes, the names and sizes of images, and results in the data sets' formats.

PASCAL VOC: a text file per class, a line "image score x1 y1 x2 y2" for each box, in pixels.
COCO: one JSON file, a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from demitasse.layers.data.files import read_file, require_file
from demitasse.layers.data.listing import read_lines
from demitasse.proto import messages, text
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.files import write_text
from demitasse.proto.warning import warn

FORMATS = ("VOC", "COCO")


class ImageSize(NamedTuple):
    name: str
    height: int
    width: int


def read_label_map(path: str, field: str = "label_map_file", display: bool = False) -> dict[int, str]:
    """{label: name} of a LabelMap in prototxt form; display: the display_name, where there is one."""
    return {item.label: (display and item.display_name) or item.name for item in parse_label_map(path, field).item}


def parse_label_map(path: str, field: str = "label_map_file"):
    """The LabelMap message of a file in prototxt form."""
    require_file(path, field)
    content, _ = text.parse(read_file(path, f"{field}: '{path}'").decode("utf-8", "replace"), messages.LabelMap, path)
    return content


def read_sizes(path: str, field: str = "name_size_file") -> list[ImageSize]:
    """The images of a file with a line "name height width" for each.  DataFault for another line."""
    sizes = []
    for number, line in read_lines(path, field, "an image: its name, height and width"):
        try:
            name, height, width = line.rsplit(None, 2)
            sizes.append(ImageSize(name, int(height), int(width)))
        except ValueError:
            raise DataFault(f"{field}: {path}:{number}: '{line}' is not a name, a height and a width") from None
    return sizes


def make_writer(param):
    """The DetectionWriter that a SaveOutputParameter asks for; None where it asks for none, or, with a warning, where
    a file that it needs is not there: a published net names those of its author's machine.
    SchemaFault for a format that there is not."""
    if not param.output_directory:
        return None
    if param.output_format not in FORMATS:
        raise SchemaFault(f"output_format '{param.output_format}' is not known: {' or '.join(FORMATS)}")
    for field in ("label_map_file", "name_size_file"):
        path = getattr(param, field)
        if not os.path.exists(path):
            lack = f"to '{param.output_directory}': {field} " + (f"'{path}' does not exist" if path else "is not given")
            warn(f"save_output_param: no results are written {lack}")
            return None
    return DetectionWriter(param)


class DetectionWriter:
    """Gathers the boxes of images that come in the order of name_size_file, and writes them when all have come."""

    def __init__(self, param):
        self.param = param
        self.names = read_label_map(param.label_map_file)
        self.sizes = read_sizes(param.name_size_file)
        self.awaited = param.num_test_image if param.HasField("num_test_image") else len(self.sizes)
        if not 0 < self.awaited <= len(self.sizes):
            raise SchemaFault(f"num_test_image is {self.awaited}, but name_size_file has {len(self.sizes)} lines")
        self.lines: list[tuple] = []  # (label, image, score, x1, y1, x2, y2)
        self.seen = 0

    def add(self, rows, images: int) -> None:
        """Take the rows (K, 7) of DetectionOutput's top for so many images more."""
        begin = self.seen
        for i in range(images):
            if self.seen == self.awaited:
                break  # the last batch may reach beyond the last image
            size = self.sizes[self.seen]
            for _, label, score, *corners in rows[rows[:, 0] == i].tolist():
                x1, y1, x2, y2 = (min(max(corner, 0), 1) for corner in corners)
                box = (x1 * size.width, y1 * size.height, x2 * size.width, y2 * size.height)
                self.lines.append((int(label), size.name, score, *box))
            self.seen += 1
        if begin < self.seen == self.awaited:
            self._write()
            self.lines, self.seen = [], 0

    def _write(self) -> None:
        folder, prefix = Path(self.param.output_directory), self.param.output_name_prefix
        if self.param.output_format == "COCO":
            write_text(folder / f"{prefix}.json", json.dumps([self._coco(*line) for line in self.lines], indent=1))
            return
        for label, name in self.names.items():
            if name == "none_of_the_above":
                continue  # what SSD's label maps call the background
            chosen = [line for line in self.lines if line[0] == label]
            write_text(folder / f"{prefix}{name}.txt", "".join(map(self._voc, chosen)))

    @staticmethod
    def _voc(line) -> str:
        _, image, score, *box = line
        return f"{image} {score:.6f} {' '.join(f'{number:.3f}' for number in box)}\n"

    def _coco(self, label, image, score, x1, y1, x2, y2) -> dict:
        """label: COCO's label maps name each class by the number of its category."""
        category, number = self.names.get(label, str(label)), image.rpartition("_")[2]
        return {
            "image_id": int(number) if number.isdecimal() else image,
            "category_id": int(category) if category.isdecimal() else label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
