"""Curves as pictures, drawn by matplotlib: one axis for each quantity, a legend for its lines.

Colours are Okabe and Ito's ("Color Universal Design", 2008), which the colour-blind can tell apart.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from demitasse.proto.errors import SolverFault
from demitasse.proto.files import replacing
from demitasse.solver.curves import LOSS, RATE, Curves, curves_of

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")
SECONDS_BETWEEN = 10  # a drawing costs a third of a second
MANY = 50  # points of a line without marks
INK = "#010203"  # of text and axes, until a page gives it its own colour
STYLE = {
    "svg.fonttype": "none",
    "legend.frameon": False,
    "font.size": 10,
    "savefig.transparent": True,
} | dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)


def require_plot(path: str | os.PathLike) -> None:
    """SolverFault unless a plot can be written there; its folder is made."""
    _kind_of(path)
    folder = os.path.dirname(os.fspath(path)) or "."
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SolverFault(f"cannot write the plot {path}: {error.strerror}") from None
    if os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise SolverFault(f"cannot write the plot {path}: a folder, or in one that may not be written to")


class Plot:
    """A listener of a Log that draws a run's curves into a picture file (.png, .pdf, .svg), at most every ten seconds.

    The file is replaced as a whole, so that a viewer never sees half of one.  SolverFault where it cannot be written.
    """

    name = "plots"

    def __init__(self, path: str | os.PathLike, title: str = ""):
        self.path, self.title = os.fspath(path), title
        self.events: list[dict] = []
        self.drawn = time.monotonic()
        require_plot(self.path)

    def __call__(self, event: dict) -> None:
        """Take an event of the log; draw what there is, unless that was done a moment ago."""
        if event.get("event") in ("train", "test", "scores"):
            self.events.append(event)
            if time.monotonic() - self.drawn > SECONDS_BETWEEN:
                self.close()

    def close(self) -> None:
        """Draw what there is."""
        self.drawn = time.monotonic()
        draw_curves(self.path, {"": curves_of(self.events)}, self.title)


def draw_curves(path: str | os.PathLike, runs: Mapping[str, Curves], title: str = "") -> None:
    """Draw {run: its curves} into a picture file, quantity below quantity.

    SolverFault without matplotlib, or for a file of a kind that it does not write.
    """
    kind, quantities = _kind_of(path), _quantities(runs)
    figure = _figure_class()(figsize=(8, 0.5 + 3 * max(1, len(quantities))), layout="constrained")
    figure.suptitle(title)
    for number, quantity in enumerate(quantities, 1):
        _fill(figure.add_subplot(len(quantities), 1, number), quantity, runs)
    _save(figure, path, kind)


def _save(figure, path: str | os.PathLike, kind: str) -> None:
    try:
        os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
        with replacing(path) as partial:
            figure.savefig(partial, format=kind)
    except OSError as error:
        raise SolverFault(f"cannot write the plot {path}: {error.strerror}") from None


def draw_over_rates(
    path: str | os.PathLike,
    rates: Collection[float],
    losses: Collection[float],
    smooth: Collection[float],
    proposed: float | None,
) -> None:
    """Draw the losses of a learning rate range test over the rates, and the rate that is proposed."""
    kind = _kind_of(path)
    figure = _figure_class()(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(rates, losses, ".", color=COLOURS[5], label="loss of an iteration")
    axes.plot(rates, smooth, color=COLOURS[0], label="smoothed")
    if proposed:
        axes.axvline(proposed, color=COLOURS[1], linestyle="--", label=f"proposed: {proposed:g}")
    if min(losses) > 0 and max(losses) > 10 * min(losses):
        axes.set_yscale("log")
    axes.legend()
    axes.grid(alpha=0.3)
    _save(figure, path, kind)


def svg_of(runs: Mapping[str, Curves]) -> list[str]:
    """An <svg> for each quantity of {run: its curves}, to stand in a page: text and axes have the page's colour."""
    figure_class = _figure_class()
    import matplotlib

    pictures = []
    for quantity in _quantities(runs):
        # Names inside must differ from those of the page's other pictures.
        style: Any = {**STYLE, "svg.hashsalt": quantity}
        with matplotlib.rc_context(style):
            figure = figure_class(figsize=(4.6, 3), layout="constrained")
            _fill(figure.add_subplot(), quantity, runs)
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
        picture = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
        pictures.append(picture[picture.index("<svg") :].replace(INK, "currentColor"))
    return pictures


def _quantities(runs: Mapping[str, Curves]) -> list[str]:
    """All of them, the rate last."""
    found = dict.fromkeys(quantity for curves in runs.values() for quantity in curves)
    return sorted(found, key=lambda quantity: quantity == RATE)


def _fill(axes, quantity: str, runs: Mapping[str, Curves]) -> None:
    """Draw every run's lines of a quantity: several runs have a colour each, the lines of one a style each."""
    axes.set(xlabel="iteration", ylabel=quantity)
    values: list[float] = []
    names = list(dict.fromkeys(line for curves in runs.values() for line in curves.get(quantity, {})))
    for number, (run, curves) in enumerate(runs.items()):
        for line, points in curves.get(quantity, {}).items():
            at = names.index(line)
            colour, style = (number, at) if len(runs) > 1 else (at, 0)
            marks = "" if len(points) > MANY else "o"
            label = f"{run}: {line}" if len(names) > 1 and run else run or line
            look = {"color": COLOURS[colour % len(COLOURS)], "markersize": 4, "linewidth": 1.4}
            axes.plot(*zip(*points, strict=True), STYLES[style % len(STYLES)] + marks, label=label, **look)
            values += [value for _, value in points]
    if quantity in (LOSS, RATE) and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
    axes.legend()
    axes.grid(alpha=0.3)


def _kind_of(path: str | os.PathLike) -> str:
    """The kind of picture that a file's name asks for."""
    kind = os.path.splitext(os.fspath(path))[1].lstrip(".").lower()
    kinds = _figure_class()().canvas.get_supported_filetypes()
    if kind not in kinds:
        raise SolverFault(f"cannot write the plot {path}: its name ends in none of {', '.join(sorted(kinds))}")
    return kind


def _figure_class():
    """matplotlib's Figure: it needs no display and no global state, unlike pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SolverFault("--plot needs matplotlib: pip install matplotlib") from None
    return Figure
