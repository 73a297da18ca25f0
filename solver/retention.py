"""Which snapshots stay, and when a run has learned enough.

    Keep(best="mean_iu", last=3, patience=5)

Of this run's snapshots the newest `last` stay, and the one whose test had the best `best`; after `patience` tests
without a better one the run ends.  What is known of the tests stands in each snapshot's side file, as it was before the
test of its iteration: a run that is resumed does that test again, and decides as it did.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from demitasse.proto.errors import SolverFault, did_you_mean
from demitasse.solver import snapshots
from demitasse.solver.heads import HeadScores
from demitasse.solver.identity import run_of_snapshot, snapshots_at
from demitasse.solver.log_lines import Output
from demitasse.solver.score import METRICS
from demitasse.solver.signals import STOP

RISES = 2  # tests in a row whose loss has risen while the training loss fell: a warning


@dataclass(frozen=True)
class Keep:
    """best: the metric by which a snapshot is the best, "": none is; last: how many of the newest stay, 0: all;
    patience: after so many tests without a better one the run ends, 0: it does not."""

    best: str = ""
    last: int = 0
    patience: int = 0


def metrics_of(outputs: Sequence[Output], loss: float | None, scores: dict) -> dict[str, tuple[float, bool]]:
    """{name: (value, whether less is better)} of a test: outputs of one number, `loss`, the metrics of its heads."""
    found = {o.name: (float(np.ravel(o.values)[0]), o.loss_weight > 0) for o in outputs if np.size(o.values) == 1}
    if loss is not None:
        found["loss"] = (loss, True)
    for head, result in scores.items():
        for name in METRICS:
            found[f"{name}.{head}"] = (getattr(result, name), False)
            found.setdefault(name, found[f"{name}.{head}"])
    return found


class Keeper:
    """Looks at a solver's tests and snapshots for it; SolverFault where it is asked for what no test gives."""

    def __init__(self, solver, keep: Keep):
        self.solver, self.keep = solver, keep
        self.best: dict | None = None  # {"value", "iter", "only": whether none was due at its iteration}
        self.waited = 0  # tests since the best one
        self.losses: list[list[float]] = []  # [test loss, training loss] of the last tests
        self.warned = False  # that the test loss rises
        self.enough = False  # the run is to end
        self._metrics: dict[str, tuple[float, bool]] = {}
        self._check()

    def _check(self) -> None:
        """SolverFault for what no test of this solver will give."""
        if self.keep.patience and not self.keep.best:
            raise SolverFault(f"--stop-after {self.keep.patience} needs a metric to look at: give --keep-best METRIC")
        if not self.keep.best:
            return
        if self.solver.ranks.size > 1:
            raise SolverFault("--keep-best is for a run of one process: leave it out, and score its snapshots later")
        tested = zip(self.solver.test_nets, self.solver.param.test_iter, strict=True)
        known = {name for net, batches in tested if batches for name in _names(net)}
        if self.keep.best not in known:
            there = f"the tests give {', '.join(sorted(known))}" if known else "the solver has no test net"
            raise SolverFault(f"--keep-best {self.keep.best}: {there}{did_you_mean(self.keep.best, known)}")

    # -- tests ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Around a test of all test nets, which hand over what they found by `take`."""
        self._metrics = {}
        before = snapshots.data_state(self.solver) if self.keep.best else ""
        yield
        if self._metrics:
            if self.keep.best and self.solver.poll() != STOP:  # else it was not tested to its end
                self._judge(before)
            self._watch_losses()  # after it, for a snapshot holds what was known before the test

    def take(self, metrics: dict[str, tuple[float, bool]]) -> None:
        """The metrics of a test net; of one name the first net's count."""
        self._metrics = {**metrics, **self._metrics}

    def _judge(self, before: str) -> None:
        """before: the state of data and random numbers before the test, which a snapshot of its iteration holds."""
        solver, (value, less) = self.solver, self._metrics[self.keep.best]
        old = self.best["value"] if self.best else math.nan
        if math.isfinite(value) and (math.isnan(old) or (value < old if less else value > old)):
            if not snapshots.is_written(solver) and not solver.try_snapshot(before):
                return
            only = not solver.param.snapshot or solver.iter % solver.param.snapshot != 0
            was, self.best, self.waited = self.best, {"value": value, "iter": solver.iter, "only": only}, 0
            solver.log.info(f"Best {self.keep.best} so far: {value:.6g}, of the snapshot of iteration {solver.iter}")
            solver.log.event("best", metric=self.keep.best, value=value, iteration=solver.iter)
            if was and was["only"] and was["iter"] != solver.iter and not self.keep.last:
                self._remove(was["iter"])
            self.prune()
            return
        if self.keep.patience and self.waited + 1 >= self.keep.patience:
            if not snapshots.is_written(solver):
                solver.try_snapshot(before)
            self.enough = True
        self.waited += 1

    def ending(self) -> str:
        """Why the run has ended early."""
        best = f"; the best is {self.best['value']:.6g}, of iteration {self.best['iter']}" if self.best else ""
        return f"{self.keep.best} has not become better in {self.waited} tests{best}"

    def summary(self) -> str:
        """Where the best weights are, for the end of a run; "" where no test had a best."""
        if not self.best:
            return ""
        weights = f"{snapshots.prefix_of(self.solver)}_iter_{self.best['iter']}.caffemodel"
        weights += ".h5" * (not os.path.isfile(weights))
        return f"The best by {self.keep.best} ({self.best['value']:.6g}): {weights}"

    def _watch_losses(self) -> None:
        if "loss" not in self._metrics or not self.solver.losses or self.warned:
            return
        self.losses = [*self.losses, [self._metrics["loss"][0], self.solver.smoothed_loss]][-RISES - 1 :]
        tests, trains = zip(*self.losses, strict=True)
        if len(tests) > RISES and list(tests) == sorted(set(tests)) and list(trains) == sorted(set(trains))[::-1]:
            self.warned = True
            rise, fall = (" to ".join(f"{value:.4g}" for value in values) for values in (tests, trains))
            self.solver.log.warn(
                f"the test loss rises ({rise}) while the training loss falls ({fall}): the net learns its training "
                "images by heart; more images, more augmentation, or an earlier end (--keep-best, --stop-after) help"
            )

    # -- snapshots -----------------------------------------------------------------------------------

    def prune(self) -> None:
        """Remove what is neither among the newest of this run nor the best."""
        if not self.keep.last or self.solver.ranks.rank:
            return
        own = [i for i in sorted(self._files()) if i <= self.solver.iter]
        for iteration in own[: -self.keep.last]:
            if not (self.best and self.best["iter"] == iteration):
                self._remove(iteration)

    def _files(self) -> dict[int, list[str]]:
        found = snapshots_at(snapshots.prefix_of(self.solver))
        return {i: paths for i, paths in found.items() if (run := run_of_snapshot(paths[0])) and run == self.solver.run}

    def _remove(self, iteration: int) -> None:
        """The state first, for it says that all are there; the side file, which says whose they are, last."""
        paths = self._files().get(iteration, [])
        for path in sorted(paths, key=lambda path: (path.endswith(".json"), ".caffemodel" in path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def state(self) -> dict:
        """For the side file."""
        return {
            "metric": self.keep.best,
            "best": self.best,
            "waited": self.waited,
            "losses": self.losses,
            "told": self.warned,
        }

    def load_state(self, state: dict) -> None:
        """Resume from a side file's; what was best by another metric is forgotten."""
        self.losses = [[float(test), float(train)] for test, train in state["losses"]]
        self.warned = bool(state["told"])
        if state["metric"] == self.keep.best and state["best"]:
            best = state["best"]
            self.best = {"value": float(best["value"]), "iter": int(best["iter"]), "only": bool(best["only"])}
            self.waited = int(state["waited"])


def _names(net) -> list[str]:
    """The metrics that a test of this net gives."""
    of_heads = [name for head in HeadScores(net).at.values() for m in METRICS for name in (m, f"{m}.{head.score}")]
    single = [name for name in net.plan.outputs if math.prod(net.plan.newest[name].shape) == 1]
    judged = [step.tops[0].name for step in net.plan.steps if step.layer.judges_boxes]
    return [*single, *judged, *of_heads, *["loss"] * bool(net.plan.losses)]
