"""A net's opinion of a whole image: which class it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.layers.data.images import resize
from demitasse.models.data.scenes import MEAN
from demitasse.models.image_input import check_rgb
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault


class Classifier:
    """Probabilities of classes for images of any size, by a net with one Input and one output of a number a class.

    mean: BGR (or one number for all channels), subtracted before `scale` multiplies.  rgb: the net was trained on RGB.
    names: of the classes.
    """

    def __init__(
        self,
        net: str | Path,
        weights: str | Path,
        *,
        backend=None,
        mean: Sequence[float] = MEAN,
        scale: float = 1.0,
        rgb: bool = False,
        names: Sequence[str] = (),
    ):
        self.net = Net(net, "TEST", backend=backend, weights=str(weights))
        shapes = self.net.shapes
        if len(self.net.inputs) != 1 or len(shapes[self.net.inputs[0]]) != 4 or len(self.net.outputs) != 1:
            inputs, outputs = ", ".join(self.net.inputs) or "none", ", ".join(self.net.outputs)
            raise GraphFault(
                f"{net}: its inputs are {inputs}, its outputs {outputs}: "
                "a classifier has one Input (1, channels, H, W) and one output, such as a deploy.prototxt"
            )
        (self.input,), (self.output,) = self.net.inputs, self.net.outputs
        _, self.channels, *self.size = shapes[self.input]
        if max(shapes[self.output][2:], default=1) > 1:
            raise GraphFault(
                f"{net}: output '{self.output}' is a map of scores: demitasse.models.segment has Segmenter"
            )
        self.mean, self.scale, self.rgb, self.names = np.asarray(mean, np.float32), scale, rgb, names

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(classes,) float32 that sum to 1, of an (H, W, 3) uint8 RGB image: the whole of it, at the net's size."""
        check_rgb(image, self.channels)
        if self.channels == 1:
            pixels = np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
            mean = self.mean.mean()
        else:
            pixels, mean = (image if self.rgb else image[:, :, ::-1]), self.mean
        pixels = resize(np.ascontiguousarray(pixels), *self.size).astype(np.float32)
        self.net.forward({self.input: ((pixels - mean) * np.float32(self.scale)).transpose(2, 0, 1)[None]})
        scores = self.net.backend.to_host(self.net.blobs[self.output])[0].ravel()
        if scores.min() >= 0 and np.isclose(scores.sum(), 1, atol=1e-3):  # a Softmax has made them
            return scores.astype(np.float32)
        powers = np.exp(scores - scores.max())
        return (powers / powers.sum()).astype(np.float32)

    def best(self, image: np.ndarray, count: int = 5) -> list[tuple[str, float]]:
        """[(class, probability)], the most probable first; classes by name, where names were given, else by number."""
        found = self(image)
        order = np.argsort(-found, kind="stable")[:count].tolist()
        return [(self.names[c] if c < len(self.names) else str(c), float(found[c])) for c in order]
