"""Corner cropping and scale jittering of temporal segment networks: where a sample's frames are cut in TRAIN.

With multi_scale the sides of the part that is cut are, each, the image's shorter side times one of scale_ratios, and
those two are at most max_distort places apart in their list; the part is resized to crop_size.  With fix_crop it lies
in one of the four corners or in the middle, with more_fix_crop also at one of eight places between; else anywhere.

Source: "Temporal Segment Networks" (Wang et al., 2016), 3.2; the fields of its nets.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.images import resize
from demitasse.proto.errors import SchemaFault, ShapeFault

RATIOS = (1, 0.875, 0.75, 0.66)
CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))  # rows and columns in quarters of the room
BETWEEN = ((0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3))


class CornerCrops:
    """What a transform_param asks for: `cut` is called with the frames of a sample."""

    def __init__(self, fields):
        self.side, self.places = fields.crop_size, ()
        ratios = list(fields.scale_ratios) or RATIOS
        if not self.side:
            raise SchemaFault("transform_param: multi_scale and fix_crop need the crop_size that frames are to have")
        if min(ratios) <= 0 or max(ratios) > 1:
            raise SchemaFault(f"transform_param: scale_ratios {ratios} have to be above 0 and at most 1")
        if fields.fix_crop:
            self.places = CORNERS + BETWEEN * fields.more_fix_crop
        apart = range(len(ratios))
        self.ratios = [(ratios[i], ratios[j]) for i in apart for j in apart if abs(i - j) <= fields.max_distort]
        self.scales = fields.multi_scale

    @staticmethod
    def wanted(fields) -> bool:
        """Whether a transform_param asks for crops of this kind."""
        return fields.multi_scale or fields.fix_crop

    def cut(self, frames: list[np.ndarray], rng, where: str) -> list[np.ndarray]:
        """The same part of each frame (C, H, W) of 8 bits, as (C, crop_size, crop_size).  ShapeFault where it is larger
        than the frames."""
        top, left, rows, cols = self.window(*frames[0].shape[1:], rng, where)
        parts = (frame[:, top : top + rows, left : left + cols].transpose(1, 2, 0) for frame in frames)
        return [resize(part, self.side, self.side).transpose(2, 0, 1) for part in parts]

    def window(self, height: int, width: int, rng, where: str) -> tuple[int, int, int, int]:
        """(top, left, rows, columns) of the part to cut from an image of this size; ShapeFault where it is larger."""
        rows = cols = self.side
        if self.scales:
            ratios = self.ratios[int(rng.integers(len(self.ratios)))]
            sides = (int(min(height, width) * ratio) for ratio in ratios)
            rows, cols = (self.side if abs(side - self.side) < 3 else max(1, side) for side in sides)
        down, right = height - rows, width - cols
        if min(down, right) < 0:
            raise ShapeFault(
                f"{where}: a crop of {rows} x {cols} exceeds the frame's {height} x {width}; resize the frames"
            )
        if self.places:
            row, column = self.places[int(rng.integers(len(self.places)))]
            return row * (down // 4) if row < 4 else down, column * (right // 4) if column < 4 else right, rows, cols
        return int(rng.integers(down + 1)), int(rng.integers(right + 1)), rows, cols
