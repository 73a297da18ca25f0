"""What is done to an image and its labels at random while training, so that few images show more.

Image and labels go through the same change, pixel for pixel: what was in an image's pixel before bears the label that
it had.  Images are (H, W, 3) uint8 RGB, labels (H, W) uint8 with 255 for no class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demitasse.layers.data.augmentation import distort
from demitasse.layers.data.images import resize
from demitasse.models.data import read
from demitasse.models.data.options import Option, flag, largest, limits
from demitasse.proto.messages import DistortionParameter

OPTIONS: dict[str, Option] = {
    "mirror": flag(False),
    "flip": flag(False),
    "scale": limits(None, 0.1, 10),
    "rotate": largest(0.0, 180),
    "colour": largest(0.0, 1),
}


@dataclass(frozen=True)
class Augmentation:
    """The changes of OPTIONS; each is drawn anew for every image.

    mirror, flip: left to right, upside down, for half of the images.  scale: (least, most), both sides alike; the
    image is bilinear, labels take the nearest pixel.  rotate: by at most so many degrees, either way; what comes into
    sight is `fill` and no class.  colour: 1 changes brightness, contrast, saturation and hue as SSD
    does, 0.5 half as much.
    fill: the mean colour, BGR.
    """

    mirror: bool = False
    flip: bool = False
    scale: Sequence[float] | None = None
    rotate: float = 0.0
    colour: float = 0.0
    fill: Sequence[float] = (0, 0, 0)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Augmentation:
        """What a data layer's options ask for: those of OPTIONS, with its `mean` for a fill."""
        return cls(**{name: options[name] for name in OPTIONS}, fill=options["mean"])

    def __call__(self, image: np.ndarray, labels: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
        """The pair in another form; rng: a numpy Generator, which only what is asked for draws from."""
        if self.mirror and rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        if self.flip and rng.random() < 0.5:
            image, labels = image[::-1], labels[::-1]
        if self.scale:
            factor = np.exp(rng.uniform(*np.log(self.scale)))  # halving is as likely as doubling
            image, labels = scaled(image, labels, [max(1, round(side * factor)) for side in labels.shape])
        if self.rotate:
            image, labels = rotated(image, labels, rng.uniform(-self.rotate, self.rotate), self.fill[::-1])
        if self.colour:
            image = distort(image[:, :, ::-1], distortion(self.colour), rng)[:, :, ::-1]
        return image, labels


def scaled(image, labels, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Both at another size (H, W): the image bilinear, of labels the pixel whose centre is nearest."""
    rows, cols = ((np.arange(new) + 0.5) * (old / new) for old, new in zip(labels.shape, size, strict=True))
    return resize(np.ascontiguousarray(image), *size), labels[rows.astype(np.intp)][:, cols.astype(np.intp)]


def rotated(image, labels, degrees: float, fill: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both turned by `degrees` counter-clockwise about their middle, at their size: the image bilinear, of labels the
    nearest pixel.

    Where the image would come from outside it is `fill` (RGB), and of no class.
    """
    height, width = labels.shape
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    y, x = np.ogrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    rows = cosine * y + sine * x + (height - 1) / 2
    cols = cosine * x - sine * y + (width - 1) / 2
    # A right angle's sine is off by 1e-17: no pixel is lost to that.
    rows, cols = np.round(rows, 6), np.round(cols, 6)
    inside = (rows >= 0) & (rows <= height - 1) & (cols >= 0) & (cols <= width - 1)
    top, left = rows.clip(0, height - 1).astype(np.intp), cols.clip(0, width - 1).astype(np.intp)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, along = (rows - top)[..., None], (cols - left)[..., None]
    upper = image[top, left] * (1 - along) + image[top, right] * along
    lower = image[below, left] * (1 - along) + image[below, right] * along
    turned = np.rint(upper * (1 - down) + lower * down)
    turned = np.where(inside[..., None], turned, np.rint(fill)).clip(0, 255).astype(np.uint8)
    nearest = labels[np.where(down[..., 0] < 0.5, top, below), np.where(along[..., 0] < 0.5, left, right)]
    return turned, np.where(inside, nearest, np.uint8(read.IGNORE))


def distortion(strength: float) -> DistortionParameter:
    """SSD's changes of colours at strength 1, with half the chance each; less of them below."""
    low, high = 1 - 0.5 * strength, 1 + 0.5 * strength
    return DistortionParameter(
        brightness_prob=0.5,
        brightness_delta=32 * strength,
        contrast_prob=0.5,
        contrast_lower=low,
        contrast_upper=high,
        saturation_prob=0.5,
        saturation_lower=low,
        saturation_upper=high,
        hue_prob=0.5,
        hue_delta=18 * strength,
    )
