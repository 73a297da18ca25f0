"""Events of a run as TensorBoard's, for `tensorboard --logdir DIR`: a listener of solver.log.Log."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from demitasse.proto.errors import SolverFault


class TensorBoard:
    """Writes scalars into event files in a folder: train/loss, train/lr, test0/NAME, test0/HEAD/mean_iu, ...; and
    pictures of what a net that segments predicts: test0/HEAD/0, ..., each image, truth, prediction and both together.

    SolverFault without tensorboardX, or where the folder cannot be written to.
    """

    pictures_wanted = 4  # of each test

    def __init__(self, folder: str | os.PathLike):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise SolverFault("--tensorboard needs tensorboardX: pip install tensorboardX") from None
        try:
            self.writer = SummaryWriter(os.fspath(folder))
        except OSError as error:
            raise SolverFault(f"cannot write into {folder}: {error.strerror}") from None

    def __call__(self, event: dict) -> None:
        """Take an event of the log, as its JSON file has it."""
        for name, value in scalars(event).items():
            self.writer.add_scalar(name, value, event["iteration"])

    def pictures(self, iteration: int, index: int, head: str, rows: Iterable[np.ndarray]) -> None:
        """Take a test's pictures."""
        for number, row in enumerate(rows):
            self.writer.add_image(f"test{index}/{head}/{number}", row, iteration, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


def scalars(event: dict) -> dict[str, float]:
    """{name: value} of an event of kind train, test or scores: every number but iteration, seconds and net; an output
    of one number counts, one of several does not."""
    kind = event["event"]
    if kind not in ("train", "test", "scores"):
        return {}
    group = "train" if kind == "train" else f"test{event['net']}"
    group += f"/{event['head']}" if kind == "scores" else ""
    found = {name: event[name] for name in event.keys() - {"iteration", "seconds", "net"}}
    if "class_iu" in event:
        found |= {f"class_iu/{name}": value for name, value in event["class_iu"].items()}
    for name, value in event.get("outputs", {}).items():
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        found.setdefault(name, value)  # the loss of training is smoothed, and that is the one of the curve
    return {f"{group}/{name}": value for name, value in found.items() if isinstance(value, (int, float))}
