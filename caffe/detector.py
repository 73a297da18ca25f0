"""caffe.Detector: the net's scores for windows of images, each with some context, warped to the input's size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from caffe.classifier import make_transformer
from caffe.io import load_image, resize_image
from caffe.net import Net
from demitasse.layers.data.windows import place
from demitasse.layers.layer import TEST
from demitasse.proto.errors import DataFault, ShapeFault


class Detector(Net):
    """A net in the TEST phase that classifies windows of images.

    context_pad: pixels of context on each side, as wide as they are after warping.
    mean, input_scale, raw_scale, channel_swap: as in io.Transformer.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad: int | None = None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.context_pad = context_pad or 0

    def detect_windows(self, images_windows: Iterable[tuple[str, Sequence]]) -> list[dict]:
        """images_windows: (image file, windows (ymin, xmin, ymax, xmax)).

        Returns for every window {"window": window, "prediction": scores, "filename": image file}.
        """
        found, crops = [], []
        for pair in images_windows:
            filename, windows = _pair(pair)
            image = load_image(filename)
            for window in windows:
                crops.append(self.crop(image, window))
                found.append({"window": window, "filename": filename})
        if not found:
            return []
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        scores = self.forward_all(**{name: batch})[self.outputs[0]].reshape(len(crops), -1)
        for entry, prediction in zip(found, scores, strict=True):
            entry["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict]:
        """Selective search is a MATLAB program of its own, which is not part of this project.  DataFault says so."""
        raise DataFault(
            "detect_selective_search needs the selective_search MATLAB program, which is not part of this: "
            "make the windows with any proposal method and call detect_windows([(file, windows), ...])"
        )

    def crop(self, image: np.ndarray, window: Sequence[float]) -> np.ndarray:
        """The window (ymin, xmin, ymax, xmax) of an image with its context, at the input's size where there is any;
        beyond the image it is filled with the mean.  ShapeFault where the window is not inside."""
        top, left, bottom, right = (int(edge) for edge in window)
        rows, cols = image.shape[:2]
        if not (0 <= top < bottom <= rows and 0 <= left < right <= cols):
            raise ShapeFault(
                f"the window {tuple(window)} is not inside an image of {rows}x{cols}: give (ymin, xmin, ymax, xmax)"
            )
        if not self.context_pad:
            return image[top:bottom, left:right]
        name = self.inputs[0]
        size = self.blobs[name].shape[2]
        put = place((left, top, right - 1, bottom - 1), rows, cols, size, self.context_pad, False, False)
        part = resize_image(image[put.y1 : put.y2 + 1, put.x1 : put.x2 + 1], (put.height, put.width))
        canvas = self._mean_image(name, size)
        canvas[put.top : put.top + put.height, put.left : put.left + put.width] = part
        return canvas

    def _mean_image(self, name: str, size: int) -> np.ndarray:
        """What preprocess turns into zeros, so that it counts for nothing."""
        zeros = np.zeros((self.blobs[name].shape[1], size, size), np.float32)
        return self.transformer.deprocess(name, zeros).reshape(size, size, -1)


def _pair(pair) -> tuple[str, Sequence]:
    """(image file, its windows), as detect_windows takes them in a list."""
    if isinstance(pair, (str, os.PathLike)) or len(pair) != 2:
        raise ShapeFault(
            f"detect_windows takes a list of pairs, not {pair!r}: give [(image file, [(ymin, xmin, ymax, xmax), ...]), "
            "...]"
        )
    filename, windows = pair
    if np.ndim(windows) != 2 or np.shape(windows)[1] != 4:
        raise ShapeFault(
            f"the windows of {filename} have shape {np.shape(windows)}: give a list of (ymin, xmin, ymax, xmax)"
        )
    return filename, windows
