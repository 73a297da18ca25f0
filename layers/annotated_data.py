"""AnnotatedData (SSD): images with the boxes of what is in them, from a database of AnnotatedDatum records.

On the way an image changes its colours (distort_param), comes onto a larger canvas (expand_param), a part is cut out
of it (annotated_data_param: batch_sampler), then it is resized (resize_param), cropped, mirrored and has its mean
subtracted; its boxes go with it, those outside are left out (emit_constraint).
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data import annotations, augmentation, datum
from demitasse.layers.data.database import open_database
from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.transform import OF_SOME_LAYERS, Transformer
from demitasse.proto.errors import DataFault, ShapeFault


class AnnotatedRecords(Source):
    """The records of a database, over and over."""

    draws = shapes_vary = True

    def __init__(self, path: str, transform: Transformer, fields, samplers, tops: int):
        """fields: the transform_param; samplers: the batch_samplers."""
        super().__init__()
        self.transform, self.fields, self.samplers, self.tops = transform, fields, samplers, tops
        augmentation.check_samplers(samplers)
        self.reader = open_database(path, "data_param: source")

    def find(self, index):
        key, value = self.reader.read(index)
        return value, self.reader.place(key)

    def load(self, record, rng):
        value, place = record
        message, rows = annotations.parse(value, place)
        image = datum.pixels(message, self.transform.color, place)
        self.transform.check_channels(len(image), place)
        image, rows = self._augment(image, rows, rng, place)
        image, filled = self.transform.resize(image, rng, place)
        rows = annotations.place_in(rows, filled)
        height, width = image.shape[1:]
        cut = self.transform.window(height, width, rng, place)
        rows = annotations.project(
            rows,
            (cut.left / width, cut.top / height, (cut.left + cut.width) / width, (cut.top + cut.height) / height),
            self._emit,
        )
        rows = annotations.mirrored(rows) if cut.mirror else rows
        return [self.transform.apply(image, cut, place), rows][: self.tops], place

    @property
    def _emit(self):
        return self.fields.emit_constraint if self.fields.HasField("emit_constraint") else None

    def _augment(self, image, rows, rng, place):
        """The (C, H, W) image in other colours, on a larger canvas, and a part of that; with its rows."""
        colours, canvas = self.fields.HasField("distort_param"), self.fields.HasField("expand_param")
        if image.dtype != np.uint8 and (colours or canvas):
            raise DataFault(f"{place}: distort_param and expand_param are for images of 8 bits")
        image = image.transpose(1, 2, 0)
        if colours and image.shape[2] == 3:
            image = augmentation.distort(image, self.fields.distort_param, rng)
        if canvas:
            mean = self.transform.mean_values if self.transform.mean is None else self.transform.mean
            if len(mean) not in (0, 1, image.shape[2]):
                raise ShapeFault(f"{place}: the image has {image.shape[2]} channel(s), its mean {len(mean)}")
            image, filled = augmentation.expand(image, self.fields.expand_param, mean, rng)
            rows = annotations.place_in(rows, filled)
        window = augmentation.sample_window(self.samplers, rows[:, annotations.CORNERS], rng)
        if window is not None:
            height, width = image.shape[:2]
            left, top, right, bottom = (np.array(window) * ((width, height) * 2)).astype(int).tolist()
            right, bottom = max(right, left + 1), max(bottom, top + 1)
            image = image[top:bottom, left:right]
            # As seen from the whole pixels that were cut out; SSD sees them from the window, up to a pixel off.
            rows = annotations.project(rows, (left / width, top / height, right / width, bottom / height), self._emit)
        return image.transpose(2, 0, 1), rows

    def stack(self, samples):
        tops = super().stack([(arrays[:1], name) for arrays, name in samples])
        if self.tops > 1:
            tops.append(annotations.label_blob([arrays[1] for arrays, _ in samples]))
        return tops

    def uneven(self, shape, first):
        return "give transform_param { resize_param { } }, or use batch_size 1"

    def close(self):
        super().close()
        self.reader.close()


class AnnotatedData(FeedLayer):
    """Tops: images (N, C, H, W), and the boxes of the whole batch, (1, 1, boxes, 8): a row is (the image's place in
    the batch, label, instance, xmin, ymin, xmax, ymax, difficult), corners in shares of the image's sides; where there
    is no box, one row of -1."""

    type = "AnnotatedData"
    tops = (1, 2)

    def open(self):
        fields, transform_fields = self.spec.data_param, self.spec.transform_param
        transform = Transformer(transform_fields, self.train, others=OF_SOME_LAYERS)
        samplers = list(self.spec.annotated_data_param.batch_sampler)
        source = AnnotatedRecords(fields.source, transform, transform_fields, samplers, len(self.spec.top))
        return source, fields.batch_size, fields.rand_skip
