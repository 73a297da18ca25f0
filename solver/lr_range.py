"""The command `lr_range`: a learning rate range test ("Cyclical learning rates for training neural networks", Smith,
2015, section 3.3).

A short training whose rate grows from iteration to iteration by one factor: below some rate nothing is
learned, then the loss falls, and beyond another it grows.  A good base_lr lies where it falls fastest, before its
least.  Nothing is written but the plot.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demitasse.layers.backend.options import BackendOptions
from demitasse.proto.errors import SolverFault
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_solver
from demitasse.solver.bilinear import fill_zero_deconvolutions
from demitasse.solver.log import Log
from demitasse.solver.nonfinite import Diverged
from demitasse.solver.overrides import with_settings
from demitasse.solver.plot import draw_over_rates, require_plot
from demitasse.solver.solver import Solver

SPAN = 1000  # the range reaches so many times below and above base_lr
DIVERGED = 4  # times the least loss: it has got worse for good
MARGIN = 3  # the proposed rate is at least so many times below that of the least loss
FALL = 0.05  # of the first loss: less is no fall


@dataclass(frozen=True)
class RangeTest:
    """rates, losses: of each iteration, up to where it diverged; smooth: the losses' moving means."""

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray

    @property
    def least(self) -> int:
        """The iteration whose smoothed loss is the least."""
        return int(self.smooth.argmin())

    @property
    def proposed(self) -> float | None:
        """A rate with one digit; None where the loss has not fallen."""
        least, width = self.least, max(1, len(self.rates) // 10)
        if least < 2 or self.smooth[least] > (1 - FALL) * self.smooth[0]:
            return None
        slope = [self.smooth[min(i + width, least)] - self.smooth[max(i - width, 0)] for i in range(least)]
        steepest = self.rates[int(np.argmin(slope))]
        rate = min(steepest, self.rates[least] / MARGIN)
        digit = 10.0 ** math.floor(math.log10(rate))
        return float(f"{max(1, math.floor(rate / digit)) * digit:.0e}")


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Means (iterations,), each over a tenth of the iterations round it; at the ends, over those that there are."""
    width = max(1, len(losses) // 20)
    sums = np.concatenate([[0], np.cumsum(losses)])
    low, high = (np.arange(len(losses)) + edge for edge in (-width, width + 1))
    low, high = low.clip(0), high.clip(max=len(losses))
    return (sums[high] - sums[low]) / (high - low)


def range_test(
    source: str | os.PathLike | SolverParameter,
    low: float,
    high: float,
    iterations: int,
    *,
    start: Callable[[Solver], object] = lambda solver: None,
    **options,
) -> RangeTest:
    """Train for so many iterations with rates from low to high, or until the loss diverges.

    options: of Solver; start: is given it before the first iteration.  SolverFault for a range that is none.
    """
    if not (0 < low < high < math.inf) or iterations < 10:
        raise SolverFault(
            f"rates from {low:g} to {high:g} in {iterations} iterations: give 0 < low < high, and 10 or more"
        )
    fields = {
        "base_lr": low,
        "lr_policy": "fixed",
        "max_iter": iterations,
        "test_interval": iterations + 1,
        **dict.fromkeys(("display", "snapshot", "rampup_interval", "warmup_iter", "min_lr"), 0),
        **dict.fromkeys(("test_initialization", "snapshot_after_train"), "false"),
        "average_loss": 1,
    }
    settings = [*options.pop("settings", ()), *(f"{name}={value}" for name, value in fields.items())]
    points: list[tuple[float, float]] = []
    log = options.pop("log")

    def keep(event: dict) -> None:
        if event["event"] == "train":
            points.append((event["lr"], event["loss"]))

    log.listeners.append(keep)
    log.records = True
    solver = Solver(source, settings=settings, log=log, **options)
    try:
        start(solver)
        with np.errstate(all="ignore"):  # overflows end the test
            for rate in np.geomspace(low, high, iterations):
                solver.param.base_lr = rate
                solver.step(1)
                losses = [loss for _, loss in points]
                if len(losses) > 10 and min(losses[-3:]) > DIVERGED * min(losses):
                    break
    except Diverged:
        if len(points) < 10:
            raise
    finally:
        solver.close()
    rates, losses = np.array(points).T
    return RangeTest(rates, losses, smoothed(losses))


def run(options: argparse.Namespace) -> int:
    """Print the curve in short and the rate that is proposed, and draw it.

    SolverFault where there is no base_lr to begin from.
    """
    if options.plot:
        require_plot(options.plot)  # told now, not when all is done
    param, _ = with_settings(*read_solver(options.file), options.set)
    if not param.base_lr and None in (options.low, options.high):
        raise SolverFault("base_lr is 0 or not given: say between which rates: --low RATE --high RATE")
    log = Log(terminal=True)
    with log.python_warnings():
        found = range_test(
            options.file,
            param.base_lr / SPAN if options.low is None else options.low,
            param.base_lr * SPAN if options.high is None else options.high,
            options.iterations,
            start=lambda solver: options.bilinear and fill_zero_deconvolutions(solver.net),
            settings=options.set,
            weights=options.weights,
            device=BackendOptions.of(options),
            level=options.level,
            stages=options.stages,
            auto_crop=options.auto_crop,
            log=log,
        )
    if options.plot:
        draw_over_rates(options.plot, found.rates, found.losses, found.smooth, found.proposed)
        print(f"wrote {options.plot}")
    print(text(found))
    return 0


def text(found: RangeTest) -> str:
    """A table of about ten rates, and what follows from them."""
    shown = np.unique(np.linspace(0, len(found.rates) - 1, 11).round().astype(int))
    lines = ["rate      loss", *(f"{found.rates[i]:<8.2g}  {found.smooth[i]:.4g}" for i in shown)]
    least = f"the loss is least at {found.rates[found.least]:.2g}"
    if found.proposed is None:
        return "\n".join([*lines, f"{least}, but has not fallen: try other rates (--low, --high) or more --iterations"])
    return "\n".join([*lines, f"{least}; proposed: --set base_lr={found.proposed:g}"])
