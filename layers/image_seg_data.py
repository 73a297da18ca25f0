"""ImageSegData (DeepLab): images with labels for their pixels, named in a text file, all cut to one size.

label_type says what a line holds beside the image: PIXEL a label image, IMAGE one number for all pixels, NONE nothing.
An image smaller than the crop is filled up at its right and lower ends, with the mean's colour and `ignore_label`.  A
palette PNG gives its indices.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, read_labels, resize, resize_nearest
from demitasse.layers.data.listing import Entry, ListedSource, read_labelled, read_lines, read_pairs
from demitasse.layers.data.transform import OF_SEGMENTATION, Transformer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import ImageDataParameter

FIELD = "image_data_param: source"


class SegmentedImages(ListedSource):
    """Images, their labels, and the part of each crop that is image."""

    def __init__(self, fields, entries: list[Entry], transform: Transformer, scales: list[float]):
        """scales: of which one is drawn for each image; none: as it is."""
        super().__init__(fields, "image_data_param", entries, transform)
        self.scales = scales
        self.draws = self.draws or len(scales) > 0

    def load(self, record, rng):
        where = self.where("image", record.name, record)
        image = read_image(self.path(record.name), self.color, where)
        labels = self._labels(record, image.shape[:2])
        size = self.size or image.shape[:2]
        if self.scales:
            scale = self.scales[int(rng.integers(len(self.scales)))]
            size = tuple(max(1, round(side * scale)) for side in size)
        image, labels = resize(image, *size), resize_nearest(labels, *size)
        pixels, labels = self._filled(image.transpose(2, 0, 1), labels, where)
        window = self.transform.window(*labels.shape, rng, where)
        seen = np.minimum(size, (window.height, window.width)).astype(np.float32)
        return [self.transform.apply(pixels, window, where), window.cut(labels[None]), seen[None, None]], where

    def _labels(self, record: Entry, size) -> np.ndarray:
        """(H, W) of an image of that size."""
        if self.fields.label_type != ImageDataParameter.PIXEL:
            number = self.fields.ignore_label if self.fields.label_type == ImageDataParameter.NONE else record.label
            return np.full(size, number, np.float32)
        where = self.where("label image", record.label, record)
        labels = read_labels(self.path(record.label), where)
        if labels.shape != size:
            raise ShapeFault(
                f"{where} is {labels.shape[0]} x {labels.shape[1]} but its image is {size[0]} x {size[1]} "
                "(height x width); they must agree"
            )
        return labels

    def _filled(self, image, labels, where: str):
        """A (C, H, W) image and its labels, both at least as large as the crop."""
        rows, cols = (max(pair) for pair in zip(labels.shape, self.transform.crop_shape, strict=True))
        if (rows, cols) == labels.shape:
            return image, labels
        self.transform.check_channels(len(image), where)
        canvas = np.zeros((len(image), rows, cols), np.float32)
        if self.transform.mean is not None:
            canvas += self.transform.mean.mean(axis=(1, 2), keepdims=True)
        elif len(self.transform.mean_values):
            canvas += self.transform.mean_values[:, None, None]
        canvas[:, : labels.shape[0], : labels.shape[1]] = image
        filled = np.full((rows, cols), self.fields.ignore_label, np.float32)
        filled[: labels.shape[0], : labels.shape[1]] = labels
        return canvas, filled


class ImageSegData(FeedLayer):
    """Tops: images (N, C, H, W); labels (N, 1, H, W); the height and width of the part that is image, (N, 1, 1, 2).
    The later ones may be missing.

    A net is sized from crop_size, or new_height and new_width, without the data being there.
    """

    type = "ImageSegData"
    fields = ("image_data_param", "transform_param", "data_param")
    tops = (1, 3)

    def setup(self, shapes):
        scales = list(self.spec.transform_param.scale_factors)
        if any(scale <= 0 for scale in scales):
            raise SchemaFault(f"scale_factors must be above 0, not {min(scales):g}")
        self.scales = scales if self.train else []
        return super().setup(shapes)

    def told_shapes(self):
        fields = self.spec.image_data_param
        transform = Transformer.from_fields(self.spec.transform_param, self.train, others=OF_SEGMENTATION)
        sizes = transform.sizes or (fields.new_height, fields.new_width)
        if not all(sizes) or (self.scales and not transform.sizes):
            return None
        channels = 3 if (fields.is_color if transform.color is None else transform.color) else 1
        batch = fields.batch_size
        return [(batch, channels, *sizes), (batch, 1, *sizes), (batch, 1, 1, 2)]

    def open(self):
        fields = self.spec.image_data_param
        transform = Transformer(self.spec.transform_param, self.train, others=OF_SEGMENTATION)
        source = SegmentedImages(fields, read_entries(fields), transform, self.scales)
        return source, fields.batch_size, fields.rand_skip

    def infer(self, shapes):
        return super().infer(shapes)[: len(self.spec.top)]

    def forward(self, xs):
        return super().forward(xs)[: len(self.spec.top)]


def read_entries(fields) -> list[Entry]:
    """The images of an image_data_param, each with its label image's name (PIXEL), its label (IMAGE) or 0."""
    if fields.label_type == ImageDataParameter.PIXEL:
        return read_pairs(fields.source, FIELD)
    if fields.label_type == ImageDataParameter.IMAGE:
        return read_labelled(fields.source, FIELD)
    return [Entry(name, 0, line) for line, name in read_lines(fields.source, FIELD, "an image's path")]
