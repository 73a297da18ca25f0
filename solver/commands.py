"""The commands `train` and `test` of python -m solver."""

from __future__ import annotations

import argparse

import numpy as np

from demitasse.layers.backend.options import BackendOptions
from demitasse.netdef.net import Net
from demitasse.proto.errors import SolverFault
from demitasse.proto.text import read_solver
from demitasse.solver.bilinear import fill_zero_deconvolutions
from demitasse.solver.diagnostics import unfed_inputs
from demitasse.solver.distributed import Alone
from demitasse.solver.identity import newest_whole, resuming_command
from demitasse.solver.log import Log, Silent
from demitasse.solver.log_lines import MAX_LISTED
from demitasse.solver.output_means import OutputMeans, judged_outputs
from demitasse.solver.overrides import with_settings
from demitasse.solver.path_lookup import Finder
from demitasse.solver.plot import Plot
from demitasse.solver.retention import Keep
from demitasse.solver.signals import Signals
from demitasse.solver.solver import Solver
from demitasse.solver.tensorboard import TensorBoard


def train(options: argparse.Namespace, ranks: Alone) -> int:
    """Train as a solver file says."""
    _settle_start(options)
    log = _log(options) if ranks.rank == 0 else Silent()
    # Overflows need no warning of NumPy's: a loss that is not finite stops the run and names the layer.
    signals = Signals(options.sigint_effect, options.sighup_effect)
    with signals, np.errstate(all="ignore"), log.python_warnings():
        solver = Solver(
            options.file,
            device=BackendOptions.of(options),
            weights=options.weights,
            snapshot=options.snapshot,
            level=options.level,
            stages=options.stages,
            auto_crop=options.auto_crop,
            seed=options.seed,
            log=log,
            requests=signals,
            ranks=ranks,
            settings=options.set,
            existing="replace" if options.overwrite else "refuse",
            keep=Keep(options.keep_best, options.keep_last, options.stop_after),
        )
        try:
            for net in (solver.net, *solver.test_nets):
                for line in unfed_inputs(net):
                    log.warn(line)
            if lost := _what_is_lost(solver.param):
                log.warn(lost)
            if options.bilinear:
                names = fill_zero_deconvolutions(solver.net)
                log.info(f"Filled with bilinear weights: {', '.join(names) or 'none, no frozen Deconvolution is zero'}")
            solver.solve(options.iterations)
            if best := solver.keeper.summary():
                log.info(best)
            if solver.stopped:
                log.info(f"To go on: {resuming_command(options.file)}")
        finally:
            solver.close()
    return 130 if solver.stopped else 0


def _settle_start(options) -> None:
    """Find the snapshot of --resume; SolverFault where several starts are given."""
    given = [f"--{name}" for name in ("weights", "snapshot", "resume") if getattr(options, name)]
    if len(given) > 1:
        raise SolverFault(
            f"{' and '.join(given)} are {'both' if len(given) == 2 else 'all'} given: give --snapshot to go on where "
            "a run stopped (--resume: at its newest), or --weights to begin a new one"
        )
    if options.resume:
        param, where = with_settings(*read_solver(options.file), options.set)
        options.snapshot = newest_whole(Finder(where.file).for_writing(param.snapshot_prefix))


def _what_is_lost(param) -> str:
    """A line where a run would end without having saved anything."""
    if param.snapshot_after_train or 0 < param.snapshot <= param.max_iter:
        return ""
    return (
        "no snapshot is taken, so that what is learned is lost at the end: set snapshot, or snapshot_after_train: true"
    )


def _log(options) -> Log:
    listeners: list = [Plot(options.plot, title=options.file)] if options.plot else []
    listeners += [TensorBoard(options.tensorboard)] if options.tensorboard else []
    return Log(jsonl=options.log, listeners=listeners)


def test(options: argparse.Namespace) -> int:
    """Run a net in its TEST phase and print the means of its outputs.  SolverFault without weights."""
    if not options.weights:
        raise SolverFault("give the weights to test: --weights FILE")
    log = Log(terminal=False)
    with log.python_warnings():
        return _test(options, log)


def _test(options, log: Log) -> int:
    backend = BackendOptions.of(options).make()
    state = {"level": options.level, "stages": options.stages, "auto_crop": options.auto_crop}
    net = Net(options.file, "TEST", backend=backend, **state)
    log.info(str(net.load(options.weights)))
    for line in unfed_inputs(net):
        log.warn(line)
    log.info(f"Running for {options.iterations} iterations.")
    judged = judged_outputs(net)
    means, loss = OutputMeans(judged, options.ap_version), 0.0
    for batch in range(options.iterations):
        outputs = {name: backend.to_host(array) for name, array in net.forward().items()}
        means.add(outputs)
        for line in _lines({name: values for name, values in outputs.items() if name not in judged}):
            log.info(f"Batch {batch}, {line}")
        loss += net.loss
    log.info(f"Loss: {loss / options.iterations:g}")
    for line in means.notes():
        log.warn(line)
    for line in (*means.precision_lines(), *_lines(means.means(), net)):
        log.info(line)
    net.close()
    return 0


def _lines(outputs, net=None) -> list[str]:
    """ "accuracy = 0.5": a line per number; of an output of more than a thousand only how many.  With the net, what
    each number is in its loss too."""
    lines = []
    for name, values in outputs.items():
        weight = net.plan.newest[name].loss_weight if net else 0
        if values.size > MAX_LISTED:
            lines.append(f"{name} holds {values.size} numbers")
            continue
        for value in values.ravel().tolist():
            lines.append(f"{name} = {value:g}" + (f" (* {weight:g} = {weight * value:g} loss)" if weight else ""))
    return lines
