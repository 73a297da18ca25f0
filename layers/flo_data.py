"""FloData (FlowNet): optical flow of .flo files that a text file names, a path a line.

A .flo file holds the number 202021.25, its width and height, and for each pixel of each row how far it goes, to the
right and down.  Crops and other transformations do not apply.

Source: the prototxts of FlowNet; "A Database and Evaluation Methodology for Optical Flow" (Baker et al., 2011).
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.listing import ListedSource, read_names
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.messages import TransformationParameter

FIELD = "image_data_param: source"
MAGIC = np.float32(202021.25)


class Flows(ListedSource):
    """The flows of a list."""

    kind = "flow"

    def load(self, record, rng):
        where = self.where("flow", record.name, record)
        return [read_flow(self.path(record.name), where)], where


class FloData(FeedLayer):
    """Top: flows (N, 2, H, W), of columns and of rows."""

    type = "FloData"
    fields = ("image_data_param", "data_param")
    tops = (1, 1)

    def open(self):
        fields = self.spec.image_data_param
        if fields.new_height or fields.new_width:
            raise SchemaFault("image_data_param: flows keep their size: leave out new_height and new_width")
        entries = read_names(fields.source, FIELD, "a flow: its .flo file")
        transform = Transformer(TransformationParameter(), self.train)
        return Flows(fields, "image_data_param", entries, transform), fields.batch_size, fields.rand_skip


def read_flow(path: str, where: str) -> np.ndarray:
    """(2, H, W) of a .flo file.  DataFault for another file."""
    try:
        with open(path, "rb") as file:
            magic = np.frombuffer(file.read(4), "<f4")
            width, height = np.frombuffer(file.read(8), "<i4").tolist()
            pixels = np.frombuffer(file.read(), "<f4")
        if magic[0] != MAGIC or min(width, height) < 1 or len(pixels) != 2 * width * height:
            raise ValueError
    except OSError as error:
        raise DataFault(f"{where} cannot be read: {error.strerror}") from None
    except (ValueError, IndexError):
        raise DataFault(f"{where} is no .flo file, or was cut short") from None
    return pixels.reshape(height, width, 2).transpose(2, 0, 1)
