"""Snapshots: <prefix>_iter_N.caffemodel and .solverstate as Caffe writes them, and a side file of what it forgets.

    <prefix>_iter_N.solverstate[.h5].json    which run, with which settings, versions and data; random states, positions
                                             in the data, the window of losses
    <prefix>_iter_N.caffemodel[.h5]          the weights
    <prefix>_iter_N.solverstate[.h5]         iteration and histories; written last: where it is, all are

Each file takes its name only when it is complete.  Without the side file (a state that Caffe wrote) a run
goes on with the weights and histories, and its data start from the beginning.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from demitasse.proto import hdf5
from demitasse.proto.errors import SolverFault, WeightsFault, Where, located
from demitasse.proto.files import remove_leftovers, replacing
from demitasse.proto.messages import SolverParameter
from demitasse.proto.weights import SolverFile, read_state, write_state
from demitasse.solver.fingerprint import changes
from demitasse.solver.identity import others_text, require_free, run_of_snapshot, snapshots_of_others
from demitasse.solver.overrides import described, versions
from demitasse.solver.path_lookup import require_writable
from demitasse.solver.prefix_lock import writing
from demitasse.solver.validation import placed

if TYPE_CHECKING:
    from demitasse.solver.solver import Solver

VERSION = 1


def prefix_of(solver: Solver) -> str:
    """Where a solver's snapshots go; SolverFault where it does not say."""
    prefix = solver.param.snapshot_prefix
    if not prefix:
        raise SolverFault(
            "snapshot_prefix is not set: say where snapshots go, or snapshot_after_train: false", solver.where
        )
    return solver.find.for_writing(prefix)


def _in_hdf5(solver) -> bool:
    return solver.param.snapshot_format == SolverParameter.HDF5


def require_room(solver: Solver) -> None:
    """A fault unless snapshots can be written: folder, permission, room on the disk for one, the format's library."""
    prefix = prefix_of(solver)
    if _in_hdf5(solver):
        hdf5.require_library(f"snapshot_format: HDF5, {prefix}_iter_*.solverstate.h5")
    if solver.ranks.rank == 0:
        with placed(solver.where):
            require_writable(prefix)
        remove_leftovers(f"{prefix}_iter_")  # of a run that was killed while it wrote
        params, updater = solver.net.learnable, solver.updater
        weights = sum(p.count for p in params)
        needed = 4 * weights * (1 + len(updater.history) + solver.param.snapshot_diff)
        free = shutil.disk_usage(os.path.dirname(prefix) or ".").free
        if free < needed:
            raise SolverFault(
                f"a snapshot takes {needed / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free in "
                f"{os.path.abspath(os.path.dirname(prefix))}: make room, or set another snapshot_prefix",
                solver.where,
            )


def claim(solver: Solver) -> None:
    """Before a run writes its first snapshot: what other runs have left at its prefix.  SolverFault where that is in
    the way; with existing="replace" it is removed when the first snapshot is there."""
    prefix = prefix_of(solver)
    if solver.existing != "warn" and solver.ranks.rank == 0:
        with placed(solver.where):
            solver.held.enter_context(writing(prefix, solver.run))
    others = snapshots_of_others(prefix, solver.ours) if solver.ranks.rank == 0 else {}
    if solver.existing == "refuse":
        with placed(solver.where):
            require_free(prefix, others)
    elif solver.existing == "replace":
        solver.replaces = others
    elif others:
        solver.log.warn(f"{prefix} holds {others_text(others)}: files of the same iterations will be replaced")


def is_written(solver: Solver) -> bool:
    """Whether the snapshot of the solver's present iteration is there."""
    return solver.written_at == solver.iter and os.path.isfile(_state_path(solver))


def _state_path(solver) -> str:
    return f"{prefix_of(solver)}_iter_{solver.iter}.solverstate{'.h5' * _in_hdf5(solver)}"


def data_state(solver: Solver) -> str:
    """The positions in the data and the random numbers, as JSON."""
    return json.dumps(
        {
            "net": solver.net.state(),
            "tests": [net.state() for net in solver.test_nets],
            "python": random.getstate(),
            "numpy": _numpy_state(),
        }
    )


def write(solver: Solver, data: str = "") -> str:
    """Write the three files of the solver's present state; the path of the .solverstate.

    data: the `data_state` that they are to hold, where it has changed since (by a test); "": the present one.
    """
    ranks = solver.ranks.gather(data or data_state(solver))
    ending, kind = (".h5", "HDF5") if _in_hdf5(solver) else ("", "binary proto")
    base = f"{prefix_of(solver)}_iter_{solver.iter}"
    weights, state = f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"
    if solver.ranks.rank != 0:
        return state
    os.makedirs(os.path.dirname(base) or ".", exist_ok=True)
    if state in solver.replaces:  # it must never lie beside weights that are not its own
        os.unlink(state)
    new = [path for path in (f"{state}.json", weights) if not os.path.lexists(path)]
    try:
        with replacing(f"{state}.json") as file:
            side = {"version": VERSION, "iter": solver.iter, "run": solver.run.as_json(), "type": solver.param.type}
            side |= {"losses": list(solver.losses), "kept": solver.keeper.state(), "data": solver.data}
            side |= {"schedule": solver.schedule.state()}
            side |= {"written": time.strftime("%Y-%m-%d %H:%M:%S")}
            side |= {"settings": described(solver.param), "versions": versions()}
            file.write_text(json.dumps(side | {"ranks": [json.loads(text) for text in ranks]}), encoding="utf-8")
        solver.log.info(f"Snapshotting to {kind} file {weights}")
        if solver.param.snapshot_diff:
            solver.updater.updates_to_grads()
        solver.net.save(weights, grads=solver.param.snapshot_diff)
        solver.log.info(f"Snapshotting solver state to {kind} file {state}")
        # Caffe's own value: that of the last rate it asked for, of the iteration before.
        step = solver.schedule.steps(max(0, solver.iter - 1))
        write_state(state, SolverFile(solver.iter, weights, solver.updater.host_history(), step))
    except BaseException:
        for path in new:  # without their state they are of no use, and the disk may be full
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise
    named = solver.log.path_in_events
    solver.log.event("snapshot", iteration=solver.iter, weights=named(weights), state=named(state))
    _remove_replaced(solver, (f"{state}.json", weights, state))
    return state


def _remove_replaced(solver, written) -> None:
    for path in solver.replaces.keys() - set(written):
        with contextlib.suppress(OSError):
            os.unlink(path)
    solver.replaces = {}


def read(solver: Solver, path: str) -> None:
    """Put the solver where a state file left off; the net and histories stay as they are if it does not fit.

    SolverFault or WeightsFault says why.
    """
    path = solver.find(path, "snapshot")
    if path.endswith((".caffemodel", ".caffemodel.h5")):
        raise SolverFault(f"{path} holds weights alone: give its .solverstate to go on, or --weights to begin anew")
    state = read_state(path)
    with located(Where(path)):
        solver.updater.check_history(state.history)
    solver.log.info(f"Resuming from {path}")
    if state.learned_net:
        report = solver.net.load(_find_weights(state.learned_net, path))
        if report.missing:
            solver.log.warn(str(report))
    solver.updater.load_history(state.history)
    solver.iter = state.iter
    solver.losses.clear()
    run = run_of_snapshot(path)
    solver.run = run or solver.run
    solver.ours = {solver.run.id, None}  # files without an identity are of this run's past
    _read_side_file(solver, f"{path}.json")


def _find_weights(named: str, state: str) -> str:
    """The weights of a state: beside it, under its own name or the one that it says; else where it says, from the
    working directory.  So a copied folder does not take the weights that the first one has since."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(named))
    candidates = (state.replace(".solverstate", ".caffemodel"), beside, named)
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise WeightsFault(
        f"{state} belongs to the weights {named}, which are neither there nor beside it, "
        f"at {' or '.join(dict.fromkeys(candidates[:2]))}"
    )


def _read_side_file(solver, path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            side = json.load(file)
    except FileNotFoundError:
        solver.log.warn(
            f"there is no {os.path.basename(path)} beside the state: data and random numbers start anew, "
            "so the run will not have the same bits as an unbroken one"
        )
        return
    except (OSError, ValueError, RecursionError) as error:
        raise SolverFault(f"{path} cannot be read ({error}); remove it to go on without it") from None
    if not isinstance(side, dict) or side.get("version") != VERSION or side.get("iter") != solver.iter:
        raise SolverFault(f"{path} is not of this state (iteration {solver.iter}); remove it to go on without it")
    try:
        _load_side(solver, side)
    except Exception as error:  # whatever generators and layers make of values that are no state of theirs
        if hasattr(error, "raised_by"):  # a Python layer's own code
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise SolverFault(f"{path} is damaged ({text}); remove it to go on without it") from None


def _load_side(solver, side: dict) -> None:
    states, rank = side["ranks"], solver.ranks.rank
    same = len(states) == solver.ranks.size
    if not same:
        solver.log.warn(
            f"the state was written by {len(states)} processes, there are {solver.ranks.size} now: "
            "the data go on where they were, random numbers start anew"
        )
    mine = states[rank if same else 0]
    if side.get("type", solver.param.type) != solver.param.type:
        solver.log.warn(
            f"the state was written by type {side['type']}, this solver is {solver.param.type}: its histories are "
            "taken for what they are not; set type, or begin anew with --weights"
        )
    solver.losses.extend(map(float, side["losses"]))
    if "kept" in side:  # not in those of older versions
        solver.keeper.load_state(side["kept"])
    if "schedule" in side:  # nor this
        solver.schedule.load_state(side["schedule"])
    for line in changes(side.get("data", {}), solver.data):
        solver.log.warn(line)
    for net, state in zip((solver.net, *solver.test_nets), (mine["net"], *mine["tests"]), strict=False):
        now = solver.backend.random_state()
        if state["random"].keys() != now.keys():  # written on another kind of device
            solver.log.warn("random numbers start anew: the state was written on another kind of device")
            state = {**state, "random": now}
        _require_counts(net, state)
        net.load_state(state)
    if same:
        version, numbers, gauss = mine["python"]
        random.setstate((version, tuple(numbers), gauss))
        np.random.set_state(tuple(mine["numpy"]))
    elif rank:
        solver.ranks.reseed(solver.backend)


def _require_counts(net, state: dict) -> None:
    """ValueError for a negative whole number in the state of a layer of ours: they are seeds, positions and counts."""
    for name, entry in state["layers"].items():
        step = net.plan.by_name.get(name)
        if step is not None and not step.cls.runs_user_code:
            pending = [entry]
            for value in pending:
                if isinstance(value, int) and value < 0:
                    raise ValueError(f"{value} in the state of layer {name}")
                pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _numpy_state() -> list:
    """NumPy's global generator, which Python layers of old draw from, as JSON values."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return [name, np.asarray(keys).tolist(), position, has_gauss, gauss]
