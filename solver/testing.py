"""A test of a training: a test net over its batches, and the means of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from demitasse.solver.display import as_outputs
from demitasse.solver.heads import HeadScores
from demitasse.solver.output_means import OutputMeans, judged_outputs
from demitasse.solver.retention import metrics_of
from demitasse.solver.signals import STOP

if TYPE_CHECKING:
    from demitasse.solver.solver import Solver


def run_test_net(solver: Solver, index: int) -> dict[str, np.ndarray]:
    """Run a solver's test net `index` over its test_iter batches; {output: mean, of its shape}, {} where a request
    stops it."""
    net, batches = solver.test_nets[index], solver.param.test_iter[index]
    if not batches:
        return {}
    net.share_with(solver.net)
    solver.log.info(f"Iteration {solver.iter}, Testing net (#{index})")
    outputs, loss = OutputMeans(judged_outputs(net), solver.param.ap_version), 0.0
    heads = HeadScores(net, solver.log.pictures_wanted)
    with heads, solver.display.debug_lines(net), solver.backend.frozen_weights():
        for _ in range(batches):
            outputs.add({name: solver.backend.to_host(array) for name, array in net.forward().items()})
            loss += net.loss
            if solver.poll() == STOP:
                solver.log.info("Test interrupted.")
                return {}
    for line in outputs.notes():
        solver.log.warn(line)
    if solver.param.show_per_class_result:
        for line in outputs.precision_lines():
            solver.log.info(line)
    means = outputs.means()
    mean_loss = loss / batches if solver.param.test_compute_loss else None
    solver.log.test(solver.iter, index, as_outputs(net, means), mean_loss)
    solver.keeper.take(metrics_of(as_outputs(net, means), loss / batches if net.plan.losses else None, heads.scores()))
    for head, result in heads.scores().items():
        solver.log.scores(solver.iter, index, head, result, heads.names(head))
    for head, rows in heads.rows.items():
        solver.log.pictures(solver.iter, index, head, rows)
    return means
