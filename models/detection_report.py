"""A detector's part of `python -m models report`: average precision by class, and pictures of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demitasse.models.data.scenes import MEAN
from demitasse.models.detect import Found, draw_boxes
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault
from demitasse.solver.output_means import OutputMeans, judged_outputs

SHOWN = 0.5  # least score of a box that is drawn
SIDE = 384  # pixels that small images are enlarged to


def judges_boxes(path: str | Path) -> bool:
    """Whether a net's outputs say of boxes whether they are right."""
    plan = Plan(path, "TEST")
    try:
        return any(step.layer.judges_boxes for step in plan.steps)
    finally:
        plan.close()


class DetectionRun:
    """A test net with a DetectionEvaluate, run over batches.

    pictures: of the first images, each a pair (true boxes, boxes found) drawn into the image.
    """

    def __init__(self, path: str | Path, weights: str, ap_version: str, backend=None, auto_crop: bool = False):
        self.step = next(step for step in Plan(path, "TEST").steps if step.layer.judges_boxes)
        self.found, self.true = (value.name for value in self.step.bottoms)
        self.images = _images_of(path)
        keep = [self.found, self.true, self.images]
        self.net = Net(path, "TEST", weights=weights, backend=backend, keep=keep, auto_crop=auto_crop)
        self.outputs = judged_outputs(self.net)
        self.means = OutputMeans(self.outputs, ap_version)
        self.pictures: list[tuple[np.ndarray, np.ndarray]] = []
        self.count = 0

    def batch(self, pictures: int, names: Sequence[str]) -> None:
        """Run one batch; keep pictures of images until there are so many."""
        host = self.net.backend.to_host
        outputs = self.net.forward()
        self.means.add({name: host(outputs[name]) for name in self.outputs})
        images, found, true = (host(self.net.blobs[name]) for name in (self.images, self.found, self.true))
        self.count += len(images)
        for i in range(min(len(images), pictures - len(self.pictures))):
            image = (images[i].transpose(1, 2, 0) + MEAN).clip(0, 255).round().astype(np.uint8)[:, :, ::-1]
            times = max(1, SIDE // max(image.shape[:2]))
            image = image.repeat(times, axis=0).repeat(times, axis=1)
            height, width = image.shape[:2]
            size = [width, height, width, height]
            right = [Found(int(row[1]), 1.0, tuple(row[3:7] * size)) for row in true.reshape(-1, 8) if row[0] == i]
            seen = [row for row in found.reshape(-1, 7) if row[0] == i and row[1] >= 0 and row[2] >= SHOWN]
            guessed = [Found(int(row[1]), float(row[2]), tuple(row[3:].clip(0, 1) * size)) for row in seen]
            guessed.sort(key=lambda each: -each.score)
            self.pictures.append((draw_boxes(image, right, names), draw_boxes(image, guessed, names)))

    def precision(self) -> tuple[float, dict[int, float]]:
        """The mean average precision, and that of each class."""
        name = self.outputs[0]
        return float(self.means.means()[name]), self.means.precision_by_class(name)

    def close(self) -> None:
        """Release the net's files and threads."""
        self.net.close()


def _images_of(path) -> str:
    """The blob of images that a data layer makes."""
    for step in Plan(path, "TEST").steps:
        for value in step.tops:
            if not step.bottoms and len(value.shape) == 4 and value.shape[1] in (1, 3) and min(value.shape[2:]) > 8:
                return value.name
    raise GraphFault(f"{path}: no data layer gives images, (N, 3, H, W)")


def text_of(mean: float, by_class: dict[int, float], names: Sequence[str]) -> str:
    """A line for each class, and the mean."""
    lines = [f"{precision:.4f}  {names[label]}" for label, precision in by_class.items()]
    return "average precision by class\n" + "\n".join([*lines, f"{mean:.4f}  mean"])
