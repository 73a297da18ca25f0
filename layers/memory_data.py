"""MemoryData: images and labels from arrays that the program hands in, batch after batch, over and over.

Tops: images (N, C, H, W), and labels (N,) where there are two.  MyCaffe's labels may have more numbers each (label_type
MULTIPLE: a label has label_channels x label_height x label_width), or be left out (NONE, which wants one top).
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.data.feed import stack
from demitasse.layers.data.transform import Transformer
from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, GraphFault, SchemaFault, ShapeFault


class MemoryData(Layer):
    type = "MemoryData"
    fields = ("transform_param",)
    bottoms, tops = (0, 0), (1, 2)

    def setup(self, shapes):
        fields = self.spec.memory_data_param
        self.shape = (fields.batch_size, fields.channels, fields.height, fields.width)
        if not all(self.shape):
            raise SchemaFault(
                f"memory_data_param: batch_size, channels, height and width are {self.shape}; "
                "give all four, each at least 1"
            )
        none, several = fields.NONE, fields.MULTIPLE
        if (fields.label_type == none) != (len(self.spec.top) == 1):
            raise GraphFault(
                f"{len(self.spec.top)} top(s): MemoryData makes images and labels, and images only with "
                "memory_data_param { label_type: NONE }"
            )
        sizes = (fields.label_channels, fields.label_height, fields.label_width)
        self.label = (self.shape[0], *sizes) if fields.label_type == several else self.shape[:1]
        self.transform = Transformer(self.spec.transform_param, self.train)
        self.seed = int(self.be.rng.integers(2**31)) if self.be is not None else 0
        self.data = self.labels = None
        self.added = self.item = 0  # images transformed so far; the next batch's first row
        return []

    def infer(self, shapes):
        return [self.shape, self.label][: len(self.spec.top)]

    def set_input_arrays(self, data, labels=()) -> None:
        """Take the batches from data (N, C, H, W) as they are, and labels (N of them); N a multiple of the batch.

        The arrays are not copied where they are C-contiguous float32: what the program writes into them is seen.
        ShapeFault where they do not fit the layer.
        """
        data = np.ascontiguousarray(data, np.float32)
        labels = np.ascontiguousarray(labels, np.float32)
        if data.ndim != 4 or data.shape[1:] != self.shape[1:]:
            raise ShapeFault(
                f"MemoryData: data has shape {data.shape}, but memory_data_param says "
                f"(N, {', '.join(str(n) for n in self.shape[1:])})"
            )
        numbers = math.prod(self.label[1:])
        if len(self.spec.top) > 1 and labels.size != len(data) * numbers:
            each = "one each" if numbers == 1 else f"{numbers} numbers each"
            raise ShapeFault(f"MemoryData: {labels.size} labels for {len(data)} images; give {each}")
        if not len(data) or len(data) % self.shape[0]:
            raise ShapeFault(f"MemoryData: {len(data)} images are no multiple of batch_size {self.shape[0]}")
        labels = labels.reshape(-1, *self.label[1:]) if labels.size else labels
        self.data, self.labels, self.item = data, labels, 0

    def add_images(self, images, labels=()) -> None:
        """Take the batches from images, each (H, W, C) BGR of any number type, put through transform_param."""

        def transformed(image):
            self.added += 1
            rng = np.random.default_rng((self.seed, self.added)) if self.transform.random else None
            return self.transform(np.asarray(image).transpose(2, 0, 1), rng, "an image given to MemoryData")

        samples = [([transformed(image)], f"image {i}") for i, image in enumerate(images)]
        self.set_input_arrays(stack(samples)[0] if samples else np.empty((0, *self.shape[1:])), labels)

    def forward(self, xs):
        if self.data is None:
            raise DataFault("MemoryData has no data yet; call set_input_arrays(data, labels) first")
        rows = slice(self.item, self.item + self.shape[0])
        self.item = rows.stop % len(self.data)
        return [self.be.asarray(array[rows]) for array in (self.data, self.labels)[: len(self.spec.top)]]

    def state(self):
        return {"seed": self.seed, "item": self.item, "added": self.added}

    def load_state(self, state):
        self.seed, self.item, self.added = int(state["seed"]), int(state["item"]), int(state["added"])
