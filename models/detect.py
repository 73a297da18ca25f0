"""The boxes that a detector finds in an image: SSD's, YOLO's, and those of Faster R-CNN and R-FCN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demitasse.layers.backend import make_backend
from demitasse.layers.boxes import decode, nms
from demitasse.layers.data.images import resize
from demitasse.models.data.scenes import MEAN
from demitasse.models.image_input import check_rgb
from demitasse.models.palette import PALETTE
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault, ShapeFault

REGIONS = ("rois", "cls_prob", "bbox_pred")  # the blobs of an R-CNN
SHORT_SIDE, LONG_SIDE = 600, 1000  # what an R-CNN's images are resized to, as published
OVERLAP = 0.3  # of an R-CNN's boxes of one class, at most


class Found(NamedTuple):
    """A box in pixels of the image: corners as points of the plane, so that x2 - x1 is the width."""

    label: int  # 0 would be the background
    score: float
    box: tuple[float, float, float, float]  # x1, y1, x2, y2


class Detector:
    """Finds boxes by a net with an image as its input and a detection layer's output (rows of seven numbers); or with
    the inputs data and im_info and the blobs rois, cls_prob and bbox_pred of Faster R-CNN.

    mean: BGR, or one number; subtracted before `scale` multiplies.  rgb: the net was trained on RGB.
    threshold: the least score of a box, 0 to 1.  short_side: of an R-CNN's images, in pixels, after resizing.
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
        threshold: float = 0.5,
        short_side: int = SHORT_SIDE,
    ):
        self.net = Net(net, "TEST", backend=backend, weights=str(weights), keep=_kept(net))
        shapes = self.net.shapes
        images = [name for name in self.net.inputs if len(shapes[name]) == 4 and shapes[name][1] in (1, 3)]
        if len(images) != 1:
            found = ", ".join(self.net.inputs) or "none: its images come from a data layer"
            raise GraphFault(f"{net}: detecting takes a net with one image as Input (1, 3, H, W); its inputs: {found}")
        self.input = images[0]
        channels, self.size = shapes[self.input][1], shapes[self.input][2:]
        self.output = _boxes_of(self.net)
        self.is_rcnn = not self.output and set(REGIONS) <= set(shapes)
        if not self.output and not self.is_rcnn:
            raise GraphFault(
                f"{net}: no output holds boxes: a DetectionOutput, YoloDetectionOutput or Yolov3DetectionOutput layer "
                f"is needed, or the blobs {', '.join(REGIONS)}"
            )
        if len(mean) not in (1, channels):
            raise ShapeFault(f"the mean has {len(mean)} values, input '{self.input}' has {channels} channels")
        self.host = make_backend("cpu")  # boxes are decided on here, whatever the net runs on
        self.channels, self.mean = channels, np.asarray(mean, np.float32)
        self.scale, self.rgb, self.threshold, self.short_side = scale, rgb, threshold, short_side

    def __call__(self, image: np.ndarray) -> list[Found]:
        """The boxes in an (H, W, 3) uint8 RGB image, best first."""
        check_rgb(image, self.channels)
        found = self._by_regions(image) if self.is_rcnn else self._by_rows(image)
        return sorted((each for each in found if each.score >= self.threshold), key=lambda each: -each.score)

    def _blob(self, image, height: int, width: int):
        """The image at this size, as the net takes it."""
        if self.channels == 1:
            image = np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
        pixels = resize(image if self.rgb else image[:, :, ::-1], height, width).astype(np.float32)
        return ((pixels - self.mean) * np.float32(self.scale)).transpose(2, 0, 1)[None]

    def _host(self, name: str) -> np.ndarray:
        return self.net.backend.to_host(self.net.blobs[name])

    def _by_rows(self, image) -> list[Found]:
        height, width = image.shape[:2]
        inputs = {self.input: self._blob(image, *self.size)}
        for name in self.net.inputs:
            if name != self.input:  # such as the size of the image, for nets that want it
                inputs[name] = np.asarray([[*self.size, 1]], np.float32)
        self.net.forward(inputs)
        rows = self._host(self.output)
        rows = rows.reshape(-1, rows.shape[-1])[:, :7]  # some have polygons, too
        scaled = rows[:, 3:].clip(0, 1) * [width, height, width, height]
        return [
            Found(int(row[1]), float(row[2]), tuple(box))
            for row, box in zip(rows, scaled.tolist(), strict=True)
            if row[1] >= 0
        ]

    def _by_regions(self, image) -> list[Found]:
        height, width = image.shape[:2]
        scale = min(self.short_side / min(height, width), LONG_SIDE / SHORT_SIDE * self.short_side / max(height, width))
        size = round(height * scale), round(width * scale)
        self.net.forward({self.input: self._blob(image, *size), "im_info": np.asarray([[*size, scale]], np.float32)})
        rois, scores, deltas = (self._host(name) for name in REGIONS)
        scores, deltas = scores.reshape(len(rois), -1), deltas.reshape(len(rois), -1, 4)
        found = []
        for label in range(1, scores.shape[1]):
            boxes = decode(np, rois[:, 1:5] / scale, deltas[:, min(label, deltas.shape[1] - 1)], extra=1)
            boxes = boxes.clip(0, [width - 1, height - 1] * 2)
            for k in nms(self.host, boxes, scores[:, label], OVERLAP, extra=1):
                x1, y1, x2, y2 = boxes[k].tolist()
                found.append(Found(label, float(scores[k, label]), (x1, y1, x2 + 1, y2 + 1)))
        return found


def _kept(net) -> list[str] | str:
    """The blobs that an R-CNN is read from, if the net has them: not all of them are outputs."""
    from demitasse.netdef.plan import Plan

    plan = Plan(net, "TEST")
    try:
        return list(REGIONS) if set(REGIONS) <= set(plan.newest) else "needed"
    finally:
        plan.close()


def _boxes_of(net: Net) -> str:
    """The output that a detection layer makes; "" where there is none."""
    makers = {top: step.layer for step in net.plan.steps for top in step.tops}
    found = [name for name in net.outputs if makers[net.plan.newest[name]].finds_boxes]
    return found[0] if found else ""


def draw_boxes(image: np.ndarray, found: Sequence[Found], names: Sequence[str] = ()) -> np.ndarray:
    """The (H, W, 3) image with boxes in the colours of their classes, each with its name and score."""
    picture, font = Image.fromarray(np.ascontiguousarray(image)), ImageFont.load_default()
    draw, line = ImageDraw.Draw(picture), max(1, round(min(image.shape[:2]) / 200))
    for label, score, box in reversed(found):  # the best on top
        colour = tuple(int(v) for v in PALETTE[label % 255])
        draw.rectangle(box, outline=colour, width=line)
        name = names[label] if label < len(names) else f"class {label}"
        text = f"{name} {score:.2f}" if score < 1 else name
        x, y = max(box[0], 0), max(box[1] - 12, 0)
        draw.rectangle((x, y, x + font.getlength(text) + 3, y + 12), fill=colour)
        draw.text((x + 2, y), text, fill="white" if sum(colour) < 384 else "black", font=font)
    return np.asarray(picture)
