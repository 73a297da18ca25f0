"""A net's scores for every pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.models.data.scenes import MEAN
from demitasse.models.image_input import check_rgb
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault, ShapeFault


class Segmenter:
    """Scores of images by a net with one input.

    mean: in the order of the input's channels, BGR (one number: for all), subtracted before `scale` multiplies.
    rgb: the net was trained on RGB.  blob: of the scores; "": score, or the only output that is a map.
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
        blob: str = "",
        auto_crop: bool = False,
    ):
        keep = [blob] if blob else "needed"
        self.net = Net(net, "TEST", backend=backend, weights=str(weights), keep=keep, auto_crop=auto_crop)
        inputs = self.net.inputs
        if len(inputs) != 1 or len(self.net.shapes[inputs[0]]) != 4:
            found = f"its inputs are {', '.join(inputs)}" if inputs else "its images come from a data layer"
            raise GraphFault(
                f"{net}: {found}: segmenting takes a net with one Input (1, channels, H, W), such as a deploy.prototxt"
            )
        self.input, self.channels = inputs[0], self.net.shapes[inputs[0]][1]
        self.blob = blob or self._find_blob(net)
        self.classes = self.net.shapes[self.blob][1]
        if self.classes > 256:
            raise GraphFault(f"{net}: blob '{self.blob}' scores {self.classes} classes: a label PNG holds 256 at most")
        if self.channels not in (1, 3):
            raise GraphFault(f"{net}: input '{self.input}' has {self.channels} channels: a picture gives 3, or 1")
        if len(mean) not in (1, self.channels):
            mean = [float(np.mean(mean))] if self.channels == 1 else mean
        if len(mean) not in (1, self.channels):
            raise ShapeFault(f"the mean has {len(mean)} values, input '{self.input}' has {self.channels} channels")
        self.mean, self.scale, self.rgb = np.asarray(mean, np.float32), scale, rgb

    def _find_blob(self, net) -> str:
        maps = [name for name in self.net.outputs if len(self.net.shapes[name]) == 4 and self.net.shapes[name][1] > 1]
        if "score" in maps or len(maps) == 1:
            return "score" if "score" in maps else maps[0]
        found = ", ".join(maps) or "none"
        raise GraphFault(f"{net}: cannot tell which output holds the scores (maps: {found}): give --blob NAME")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(classes, h, w) scores of an (H, W, 3) uint8 RGB image."""
        check_rgb(image, self.channels)
        if self.channels == 1:
            blob = np.asarray(Image.fromarray(image).convert("L"), np.float32)[:, :, None]
        else:
            blob = (image if self.rgb else image[:, :, ::-1]).astype(np.float32)
        blob = ((blob - self.mean) * np.float32(self.scale)).transpose(2, 0, 1)[None]
        self.net.forward({self.input: blob})
        return self.net.backend.to_host(self.net.blobs[self.blob])[0]


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(C, H, W) float32 that sum to 1 over the classes: the softmax of scores, or what is that already."""
    if scores.min() >= 0 and np.allclose(scores.sum(axis=0), 1, atol=1e-3):
        return scores.astype(np.float32)
    powers = np.exp(scores - scores.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)
