"""What a training shows of an iteration: Caffe's display lines, and the log's record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

import numpy as np

from demitasse.netdef.net import Net
from demitasse.solver import debug, diagnostics
from demitasse.solver.log_lines import Output, output_lines


def as_outputs(net: Net, values: Mapping[str, np.ndarray]) -> list[Output]:
    """A net's outputs, host arrays by name, with the weight that each has in its loss."""
    return [Output(name, array, net.plan.newest[name].loss_weight) for name, array in values.items()]


class Display:
    """Shows a solver's iterations, with the speed since the last one that was shown."""

    def __init__(self, solver):
        self.solver = solver
        self.begin()

    def begin(self) -> None:
        """Training begins, or goes on: the clock runs from here."""
        self.time, self.iter = time.monotonic(), self.solver.iter

    def show(self, lines: bool) -> None:
        """Give the log this iteration; with `lines` in words too."""
        solver, net, log = self.solver, self.solver.net, self.solver.log
        outputs = as_outputs(net, {name: solver.backend.to_host(net.blobs[name]) for name in net.outputs})
        per_label = diagnostics.per_label_losses(net, outputs)
        log.point(solver.iter, solver.smoothed_loss, solver.lr, outputs, per_label)
        if not lines:
            return
        seconds, done = time.monotonic() - self.time, solver.iter - self.iter
        speed = f"({done / (seconds or 1):g} iter/s, {seconds:g}s/{solver.param.display} iters)"
        log.detail(f"Iteration {solver.iter} {speed}, loss = {solver.smoothed_loss:g}")
        for line in output_lines("Train", outputs):
            log.detail(line)
        for name, value in per_label.items():
            log.detail(f"    {name} per label = {value:g}")
        log.detail(f"Iteration {solver.iter}, lr = {solver.lr:g}")
        self.begin()

    def debug_lines(self, net: Net, shown: bool = True) -> contextlib.AbstractContextManager[None]:
        """A context in which the net's passes are logged blob by blob, where debug_info asks for that."""
        wanted = shown and self.solver.param.debug_info
        return debug.lines(net, self.solver.log) if wanted else contextlib.nullcontext()
