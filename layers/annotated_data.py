"""AnnotatedData (SSD): images with the boxes of what is in them, from a database of AnnotatedDatum records.

On the way an image changes its colours (distort_param), comes onto a larger canvas (expand_param), a part is cut out
of it (annotated_data_param: batch_sampler), then it is resized (resize_param), cropped, mirrored and has its mean
subtracted; its boxes go with it, those outside are left out (emit_constraint), and so do maps of its pixels' labels.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data import annotations, augmentation, datum
from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.pixel_labels import PixelLabels
from demitasse.layers.data.records import DatabaseSource
from demitasse.layers.data.transform import OF_SOME_LAYERS, Transformer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.input_paths import MissingFile


class AnnotatedRecords(DatabaseSource):
    """AnnotatedDatum records of a database."""

    draws = shapes_vary = True

    def __init__(self, spec, transform: Transformer):
        """spec: the layer's LayerParameter."""
        super().__init__(spec.data_param, transform)
        self.fields, self.annotated, self.tops = spec.transform_param, spec.annotated_data_param, len(spec.top)
        self.emit = self.fields.emit_constraint if self.fields.HasField("emit_constraint") else None
        self.pixel_labels = PixelLabels(self.annotated) if self.tops > 2 else None

    def records(self, indices):
        """A batch is resized by one resize_param: of several, each is drawn for the share of batches in its prob."""
        shares = np.array([each.prob for each in self.fields.resize_param]) if len(self.fields.resize_param) > 1 else 1
        draw = np.random.default_rng((self.seed, indices[0], 1)).random()
        turn = int((np.cumsum(shares) / np.sum(shares) <= draw).sum())
        return [(*self.read(index), turn) for index in indices]

    def load(self, record, rng):
        value, where, turn = record
        message, rows = annotations.parse(value, where)
        image = datum.pixels(message, self.transform.color, where)
        self.transform.check_channels(len(image), where)
        image, rows, place = self._augment(image, rows, rng, where)
        image, filled = self.transform.resize(image, rng, where, turn)
        height, width = image.shape[1:]
        cut = self.transform.window(height, width, rng, where)
        seen = cut.left / width, cut.top / height, (cut.left + cut.width) / width, (cut.top + cut.height) / height
        rows = annotations.project(annotations.put_into(rows, filled), seen, self.emit)
        rows = annotations.mirrored(rows) if cut.mirror else rows
        sample = [self.transform.apply(image, cut, where), rows]
        if self.pixel_labels:
            place = annotations.seen_from(annotations.inside(place, filled), seen)
            size = self.pixel_labels.size(cut.height, cut.width)
            sample.append(self.pixel_labels.maps(message.seg_label, place, cut.mirror, size, where))
        return sample[: self.tops], where

    def _augment(self, image, rows, rng, where):
        """The (C, H, W) image in other colours, on a larger canvas, and a part of that; with its rows, and where the
        image lies in that part, (x1, y1, x2, y2)."""
        place = np.array(annotations.WHOLE)
        colours, canvas = self.fields.HasField("distort_param"), self.fields.HasField("expand_param")
        if image.dtype != np.uint8 and (colours or canvas):
            raise DataFault(f"{where}: distort_param and expand_param are for images of 8 bits")
        image = image.transpose(1, 2, 0)
        if colours and image.shape[2] == 3:
            image = augmentation.distort(image, self.fields.distort_param, rng)
        if canvas:
            mean = self.transform.mean_values if self.transform.mean is None else self.transform.mean
            if len(mean) not in (0, 1, image.shape[2]):
                raise ShapeFault(f"{where}: the image has {image.shape[2]} channel(s), its mean {len(mean)}")
            image, filled = augmentation.expand(image, self.fields.expand_param, mean, rng)
            rows, place = annotations.put_into(rows, filled), annotations.inside(place, filled)
        window = self._window(rows, rng)
        if window is not None:
            height, width = image.shape[:2]
            left, top, right, bottom = (np.array(window) * ((width, height) * 2)).astype(int).tolist()
            right, bottom = max(right, left + 1), max(bottom, top + 1)
            image = image[top:bottom, left:right]
            # As seen from the whole pixels that were cut out; SSD sees them from the window, up to a pixel off.
            window = left / width, top / height, right / width, bottom / height
            rows, place = annotations.project(rows, window, self.emit), annotations.seen_from(place, window)
        return image.transpose(2, 0, 1), rows, place

    def _window(self, rows, rng):
        """What to cut out of the image; None: all of it."""
        if self.annotated.yolo_data_type and not self.annotated.batch_sampler:
            return augmentation.jittered_window(self.annotated.yolo_data_jitter, rng)
        return augmentation.sample_window(self.annotated.batch_sampler, rows[:, annotations.CORNERS], rng)

    def stack(self, samples):
        tops = super().stack([(arrays[:1], name) for arrays, name in samples])
        if self.tops > 1:
            boxes = [arrays[1] for arrays, _ in samples]
            names = [name for _, name in samples]
            darknet = self.annotated.yolo_data_type
            if darknet and not self.annotated.train_diffcult:
                boxes = [rows[rows[:, annotations.DIFFICULT] == 0] for rows in boxes]
            tops.append(annotations.darknet_blob(boxes, names) if darknet else annotations.label_blob(boxes))
        if self.tops > 2:
            tops.append(np.stack([arrays[2] for arrays, _ in samples]))
        return tops

    def uneven(self, shape, first):
        return "give transform_param { resize_param { } }, or use batch_size 1"


class AnnotatedData(FeedLayer):
    """Tops: images (N, C, H, W), and the boxes of the whole batch, (1, 1, boxes, 8): a row is (the image's place in
    the batch, label, instance, xmin, ymin, xmax, ymax, difficult), corners in shares of the image's sides; where there
    is no box, one row of -1.  With yolo_data_type 1 the boxes are (N, 1, 300, 5), annotations.darknet_blob's.  A third
    top is maps of what is to be segmented, (N, classes, height, width), data/pixel_labels.py's.

    A net is sized from resize_param or the crop without the database being there, as if each image had one box.
    """

    type = "AnnotatedData"
    tops = (1, 3)

    def setup(self, shapes):
        annotated = self.spec.annotated_data_param
        augmentation.check_samplers(annotated.batch_sampler)
        if annotated.yolo_data_type not in (0, 1):
            raise SchemaFault(f"yolo_data_type {annotated.yolo_data_type} is not known: 0 or 1")
        if not 0 <= annotated.yolo_data_jitter < 1:
            raise SchemaFault(f"yolo_data_jitter {annotated.yolo_data_jitter:g} is not at least 0 and below 1")
        return super().setup(shapes)

    def told_shapes(self):
        batch, darknet = self.spec.data_param.batch_size, self.spec.annotated_data_param.yolo_data_type
        sizes = Transformer.from_fields(self.spec.transform_param, self.train, others=OF_SOME_LAYERS).sizes
        boxes = (batch, 1, annotations.DARKNET_ROWS, 5) if darknet else (1, 1, batch, 8)
        channels = 1 if self.spec.transform_param.force_gray else 3
        if not sizes:
            return None
        told = [(batch, channels, *sizes), boxes]
        if len(self.spec.top) > 2:
            try:
                labels = PixelLabels(self.spec.annotated_data_param)
            except MissingFile as missing:
                missing.told = told
                raise
            told.append((batch, labels.channels, *labels.size(*sizes)))
        return told

    def open(self):
        fields = self.spec.data_param
        transform = Transformer(self.spec.transform_param, self.train, others=OF_SOME_LAYERS)
        return AnnotatedRecords(self.spec, transform), fields.batch_size, fields.rand_skip
