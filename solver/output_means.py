"""The means of a net's outputs over the batches of a test, wherever one is taken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demitasse.netdef.net import Net
from demitasse.netdef.wording import shape_text
from demitasse.solver.precision import BoxPrecision


class OutputMeans:
    """Adds up the outputs of batches (host arrays).

    An output that is empty in some batches (a metric of what only some images hold) is averaged over the others.  One
    whose size changes from batch to batch has no mean: it is left out, never broadcast.
    judged: the outputs that judge boxes (judged_outputs); their mean is the mean average precision over the classes.
    """

    def __init__(self, judged=(), ap_version: str = "Integral"):
        self.ap_version = ap_version
        self._judged = {name: BoxPrecision() for name in judged}
        self.batches = 0
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, int] = {}
        self._sizes: dict[str, tuple] = {}  # of those left out: the two sizes that differ
        self._seen: dict[str, None] = {}  # the names, in the net's order

    def add(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Take the outputs of one batch."""
        self.batches += 1
        self._seen.update(dict.fromkeys(outputs))
        for name, values in outputs.items():
            if name in self._judged:
                self._judged[name].add(values)
                continue
            if name in self._sizes or not values.size:
                continue
            if name not in self._sums:
                self._sums[name], self._counts[name] = np.array(values), 1
            elif self._sums[name].shape == values.shape:
                self._sums[name] = self._sums[name] + values
                self._counts[name] += 1
            else:
                self._sizes[name] = self._sums.pop(name).shape, values.shape

    def means(self) -> dict[str, np.ndarray]:
        """{output: its mean over the batches, of its shape}, in the order of the net's outputs."""
        found = {name: np.asarray(total / self._counts[name]) for name, total in self._sums.items()}
        for name in self._judged:
            found[name] = np.asarray(np.mean(list(self.precision_by_class(name).values()) or [0.0]))
        return {name: found[name] for name in self._seen if name in found}

    def precision_by_class(self, name: str) -> dict[int, float]:
        """{class: average precision} of an output that judges boxes, of the classes that there are true boxes of."""
        return self._judged[name].by_class(self.ap_version)

    def precision_lines(self) -> list[str]:
        """A line for the average precision of each class of each output that judges boxes."""
        return [
            f"{name}: class{label}: {precision:g}"
            for name in self._judged
            for label, precision in self.precision_by_class(name).items()
        ]

    def notes(self) -> list[str]:
        """A line for each output that is left out, or averaged over fewer batches."""
        lines = []
        for name in self._seen:
            if name in self._judged:
                if not self.precision_by_class(name):
                    lines.append(f"output {name}: there is no true box in any batch, so that nothing could be right")
                continue
            count = self._counts.get(name, 0)
            if name in self._sizes:
                first, other = map(shape_text, self._sizes[name])
                lines.append(f"output {name} has no mean: its size changes between batches ({first}, then {other})")
            elif not count:
                lines.append(f"output {name} has no mean: it is empty in every batch")
            elif count < self.batches:
                empty = f"{self.batches - count} of {self.batches} batches"
                lines.append(f"output {name} is empty in {empty}: its mean is over the rest")
        return lines


def judged_outputs(net: Net) -> list[str]:
    """The outputs of a net that say of boxes whether they are right."""
    makers = {top: step for step in net.plan.steps for top in step.tops}
    return [name for name in net.plan.outputs if makers[net.plan.newest[name]].layer.judges_boxes]
