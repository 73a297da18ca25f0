"""WindowData: windows of images for R-CNN's training, a share of them on objects, warped to a square.

Every batch begins with background windows and ends with foreground ones, drawn at random.
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.files import below, read_file
from demitasse.layers.data.images import decode_image, resize
from demitasse.layers.data.transform import Transformer
from demitasse.layers.data.windows import place, read_windows
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.input_paths import located


class WindowSamples(Source):
    """Windows drawn with replacement; which ones depends on the seed and the place in the stream alone."""

    draws = True
    shuffles = "windows at random"

    def __init__(self, fields, transform: Transformer):
        super().__init__()
        self.fields, self.transform, self.crop = fields, transform, transform.crop
        if not self.crop:
            raise SchemaFault("WindowData needs transform_param { crop_size }, the side that windows are warped to")
        if fields.crop_mode not in ("warp", "square"):
            raise SchemaFault(f"window_data_param: crop_mode '{fields.crop_mode}' is not known; choose warp or square")
        if 2 * fields.context_pad >= self.crop:
            raise SchemaFault(
                f"window_data_param: context_pad {fields.context_pad} on both sides leaves nothing of "
                f"crop_size {self.crop}"
            )
        windows = read_windows(fields.source, "window_data_param: source")
        self.objects = [window for window in windows if window.overlap >= fields.fg_threshold]
        self.background = [
            window for window in windows if window.overlap < min(fields.fg_threshold, fields.bg_threshold)
        ]
        for window in self.objects:
            if window.label < 1:
                raise DataFault(
                    f"{fields.source}:{window.line}: class {window.label} for a foreground window (overlap "
                    f"{window.overlap:g}); classes of objects begin at 1, 0 is background"
                )
        self.foreground_share = int(np.float32(fields.batch_size) * np.float32(fields.fg_fraction))
        for kind, found, needed in (
            ("foreground", self.objects, self.foreground_share),
            ("background", self.background, fields.batch_size - self.foreground_share),
        ):
            if needed > 0 and not found:
                raise DataFault(
                    f"{fields.source}: no {kind} window, but every batch needs {needed}; "
                    "see fg_threshold, bg_threshold and fg_fraction"
                )
        # Caffe reads this field although every other one moved to transform_param.
        self.scale = np.float32(fields.scale) * transform.scale
        self.mean = self._mean()
        self._files: dict[str, bytes] = {}

    def _mean(self):
        """What to subtract from the warped square: its size of the mean file's centre, or values, or None."""
        transform, size = self.transform, self.crop
        if transform.mean is None:
            return transform.mean_values[:, None, None] if len(transform.mean_values) else None
        rows, cols = transform.mean.shape[1:]
        first = (cols - size) // 2  # of rows, too
        if first < 0 or first + size > rows:
            raise ShapeFault(f"the mean in {transform.mean_file} is {rows} x {cols}, too small for crop_size {size}")
        return transform.mean[:, first : first + size, first : first + size]

    def records(self, indices):
        """For each sample the windows it is drawn from, and its place in the stream."""
        background = len(indices) - self.foreground_share
        return [self.background if i < background else self.objects for i in range(len(indices))]

    def load(self, record, rng):
        window = record[int(rng.integers(len(record)))]
        mirror = bool(self.transform.mirror and rng.integers(2))
        name = located(below(self.fields.root_folder, window.image), self.folder)
        where = f"image '{name}' ({self.fields.source}:{window.line})"
        image = self._image(name, where)
        rows, cols, channels = image.shape
        x1, y1, x2, y2 = window.box
        if x1 < 0 or y1 < 0 or x2 >= cols or y2 >= rows:
            raise DataFault(
                f"{where}: the window {window.box} (x1 y1 x2 y2) reaches beyond the image's {cols} columns "
                f"and {rows} rows"
            )
        square = self.fields.crop_mode == "square"
        at = place(window.box, rows, cols, self.crop, self.fields.context_pad, square, mirror)
        part = resize(image[at.y1 : at.y2 + 1, at.x1 : at.x2 + 1], at.height, at.width).transpose(2, 0, 1)
        inside = np.s_[:, at.top : at.top + at.height, at.left : at.left + at.width]
        self.transform.check_channels(channels, where)
        warped = np.zeros((channels, self.crop, self.crop), np.float32)
        warped[inside] = part[..., ::-1] if mirror else part
        if self.mean is not None:
            warped[inside] -= np.broadcast_to(self.mean, warped.shape)[inside]
        warped *= self.scale
        return [warped, np.float32(window.label if record is self.objects else 0)], where

    def _image(self, name, where):
        data = self._files.get(name) or read_file(name, where)
        if self.fields.cache_images:
            self._files[name] = data
        return decode_image(data, True, where)


class WindowData(FeedLayer):
    """Windows cut from images, as R-CNN was trained on: tops (N, C, crop, crop) and (N,)."""

    type = "WindowData"
    tops = (2, 2)

    def told_shapes(self):
        fields, crop = self.spec.window_data_param, self.spec.transform_param.crop_size
        if os.path.exists(fields.source) or not (crop and fields.batch_size):
            return None
        return [(fields.batch_size, 3, crop, crop), (fields.batch_size,)]

    def open(self):
        fields = self.spec.window_data_param
        transform = Transformer(self.spec.transform_param, self.train, others=())
        return WindowSamples(fields, transform), fields.batch_size, 0
