"""The curve of a run as a picture: training loss and test outputs over the iterations."""

from __future__ import annotations

import os
import time

import numpy as np

from demitasse.proto.errors import SolverFault
from demitasse.proto.files import replacing

SECONDS_BETWEEN = 10  # a drawing costs a third of a second


class Plot:
    """Collects points and draws them into a picture file (.png, .pdf, .svg), at most every ten seconds.

    The file is replaced as a whole, so that a viewer never sees half of one.
    """

    def __init__(self, path: str | os.PathLike, title: str = ""):
        self.path, self.title = os.fspath(path), title
        self.losses: list[tuple[int, float]] = []
        self.tests: dict[str, list[tuple[int, float]]] = {}
        self.drawn = time.monotonic()
        self.kind = os.path.splitext(self.path)[1].lstrip(".").lower()
        kinds = _figure_class()().canvas.get_supported_filetypes()
        if self.kind not in kinds:
            raise SolverFault(f"cannot write the plot {self.path}: its name ends in none of {', '.join(sorted(kinds))}")
        try:
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        except OSError as error:
            raise SolverFault(f"cannot write the plot {self.path}: {error.strerror}") from None
        if os.path.isdir(self.path) or not os.access(os.path.dirname(self.path) or ".", os.W_OK):
            raise SolverFault(f"cannot write the plot {self.path}: a folder, or in one that may not be written to")

    def train(self, iteration: int, loss: float) -> None:
        """Add a point of the training loss."""
        self.losses.append((iteration, loss))

    def test(self, iteration: int, index: int, outputs) -> None:
        """Add the outputs of test net `index` that are one number."""
        for output in outputs:
            if np.size(output.values) == 1:
                name = f"{output.name} (test net {index})"
                self.tests.setdefault(name, []).append((iteration, float(np.ravel(output.values)[0])))

    def scores(self, iteration: int, index: int, head: str, result) -> None:
        """Add the mean IU and the pixel accuracy of a head of test net `index`."""
        for name, value in (("mean IU", result.mean_iu), ("pixel accuracy", result.pixel_accuracy)):
            self.tests.setdefault(f"{name} of {head} (test net {index})", []).append((iteration, value))

    def draw_now_and_then(self) -> None:
        """Write the picture, unless it was written a moment ago."""
        if time.monotonic() - self.drawn > SECONDS_BETWEEN:
            self.draw()

    def draw(self) -> None:
        """Write the picture."""
        figure = _figure_class()(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot(xlabel="iteration", ylabel="training loss", title=self.title)
        axes.plot(*_columns(self.losses), label="training loss", color="tab:blue")
        if self.losses and min(loss for _, loss in self.losses) > 0:
            axes.set_yscale("log")
        if self.tests:
            other = axes.twinx()
            other.set_ylabel("test outputs")
            for number, (name, points) in enumerate(self.tests.items()):
                other.plot(*_columns(points), "o-", label=name, color=f"C{number + 1}")
            other.legend(loc="upper right")
        axes.grid(alpha=0.3)
        with replacing(self.path) as partial:
            figure.savefig(partial, format=self.kind)
        self.drawn = time.monotonic()


def draw_curves(path: str | os.PathLike, panels: dict[str, dict[str, list[tuple[int, float]]]]) -> None:
    """Draw {quantity: {run: [(iteration, value)]}} into a picture file: an axis for each quantity, a line for each run.

    SolverFault without matplotlib, or for a file of a kind that it does not write.
    """
    figure = _figure_class()(figsize=(8, 0.5 + 3 * max(1, len(panels))), layout="constrained")
    kind = os.path.splitext(os.fspath(path))[1].lstrip(".").lower()
    kinds = figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise SolverFault(f"cannot write the plot {path}: its name ends in none of {', '.join(sorted(kinds))}")
    runs = list(dict.fromkeys(run for lines in panels.values() for run in lines))
    for number, (quantity, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(max(1, len(panels)), 1, number + 1, xlabel="iteration", ylabel=quantity)
        for run, points in lines.items():
            axes.plot(*_columns(points), "-" if len(points) > 50 else "o-", label=run, color=f"C{runs.index(run)}")
        if "loss" in quantity and all(value > 0 for points in lines.values() for _, value in points):
            axes.set_yscale("log")
        axes.legend()
        axes.grid(alpha=0.3)
    try:
        os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
        with replacing(path) as partial:
            figure.savefig(partial, format=kind)
    except OSError as error:
        raise SolverFault(f"cannot write the plot {path}: {error.strerror}") from None


def _columns(points):
    return ([x for x, _ in points], [y for _, y in points])


def _figure_class():
    """matplotlib's Figure: it needs no display and no global state, unlike pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SolverFault("--plot needs matplotlib: pip install matplotlib") from None
    return Figure
