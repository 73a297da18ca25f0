"""Snapshots: <prefix>_iter_N.caffemodel and .solverstate as Caffe writes them, and a side file of what it forgets.

    <prefix>_iter_N.caffemodel[.h5]          the weights
    <prefix>_iter_N.solverstate[.h5].json    random states, positions in the data, the window of losses
    <prefix>_iter_N.solverstate[.h5]         iteration and histories; written last: where it is, all are

Each file takes its name only when it is complete.  Without the side file (a state that Caffe wrote) a run
goes on with the weights and histories, and its data start from the beginning.
"""

from __future__ import annotations

import json
import os
import random
import shutil

import numpy as np

from demitasse.proto import hdf5
from demitasse.proto.errors import SolverFault, WeightsFault, Where, located
from demitasse.proto.files import replacing
from demitasse.proto.messages import SolverParameter
from demitasse.proto.weights import SolverFile, read_state, write_state
from demitasse.solver.paths import require_writable
from demitasse.solver.policy import steps_taken
from demitasse.solver.settings import placed

VERSION = 1


def _prefix(solver) -> str:
    prefix = solver.param.snapshot_prefix
    if not prefix:
        raise SolverFault(
            "snapshot_prefix is not set: say where snapshots go, or snapshot_after_train: false", solver.where
        )
    return solver.find.for_writing(prefix)


def _in_hdf5(solver) -> bool:
    return solver.param.snapshot_format == SolverParameter.HDF5


def require_room(solver) -> None:
    """A fault unless snapshots can be written: folder, permission, room on the disk for one, the format's library."""
    prefix = _prefix(solver)
    if _in_hdf5(solver):
        hdf5.require_library(f"snapshot_format: HDF5, {prefix}_iter_*.solverstate.h5")
    if solver.ranks.rank == 0:
        with placed(solver.where):
            require_writable(prefix)
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


def write(solver) -> str:
    """Write the three files of the solver's present state; the path of the .solverstate."""
    data_state = json.dumps(
        {
            "net": solver.net.state(),
            "tests": [net.state() for net in solver.test_nets],
            "python": random.getstate(),
            "numpy": _numpy_state(),
        }
    )
    ranks = solver.ranks.gather(data_state)
    ending, kind = (".h5", "HDF5") if _in_hdf5(solver) else ("", "binary proto")
    base = f"{_prefix(solver)}_iter_{solver.iter}"
    weights, state = f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"
    if solver.ranks.rank != 0:
        return state
    os.makedirs(os.path.dirname(base) or ".", exist_ok=True)
    solver.log.info(f"Snapshotting to {kind} file {weights}")
    if solver.param.snapshot_diff:
        solver.updater.updates_to_grads()
    solver.net.save(weights, grads=solver.param.snapshot_diff)
    solver.log.info(f"Snapshotting solver state to {kind} file {state}")
    with replacing(f"{state}.json") as path:
        side = {"version": VERSION, "iter": solver.iter, "losses": list(solver.losses)}
        path.write_text(json.dumps(side | {"ranks": [json.loads(text) for text in ranks]}), encoding="utf-8")
    # Caffe's own value: that of the last rate it asked for, of the iteration before.
    step = steps_taken(solver.param, max(0, solver.iter - 1))
    write_state(state, SolverFile(solver.iter, weights, solver.updater.host_history(), step))
    solver.log.event("snapshot", iteration=solver.iter, weights=weights, state=state)
    return state


def read(solver, path: str) -> None:
    """Put the solver where a state file left off; the net and histories stay as they are if it does not fit."""
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
    _read_side_file(solver, f"{path}.json")


def _find_weights(named: str, state: str) -> str:
    """The weights of a state: where it says (from the working directory), or beside it, under the name that it
    says or under its own."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(named))
    places = (named, beside, state.replace(".solverstate", ".caffemodel"))
    for path in places:
        if os.path.isfile(path):
            return path
    raise WeightsFault(
        f"{state} belongs to the weights {named}, which are neither there nor beside it, "
        f"at {' or '.join(dict.fromkeys(places[1:]))}"
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
    except (OSError, ValueError) as error:
        raise SolverFault(f"{path} cannot be read ({error}); remove it to go on without it") from None
    if not isinstance(side, dict) or side.get("version") != VERSION or side.get("iter") != solver.iter:
        raise SolverFault(f"{path} is not of this state (iteration {solver.iter}); remove it to go on without it")
    try:
        _load_side(solver, side)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise SolverFault(f"{path} is damaged ({type(error).__name__}: {error}); remove it") from None


def _load_side(solver, side: dict) -> None:
    states, rank = side["ranks"], solver.ranks.rank
    same = len(states) == solver.ranks.size
    if not same:
        solver.log.warn(
            f"the state was written by {len(states)} processes, there are {solver.ranks.size} now: "
            "the data go on where they were, random numbers start anew"
        )
    mine = states[rank if same else 0]
    solver.losses.extend(side["losses"])
    for net, state in zip((solver.net, *solver.test_nets), (mine["net"], *mine["tests"]), strict=False):
        now = solver.backend.random_state()
        if state["random"].keys() != now.keys():  # written on another kind of device
            solver.log.warn("random numbers start anew: the state was written on another kind of device")
            state = {**state, "random": now}
        net.load_state(state)
    if same:
        version, numbers, gauss = mine["python"]
        random.setstate((version, tuple(numbers), gauss))
        np.random.set_state(tuple(mine["numpy"]))
    elif rank:
        solver.ranks.reseed(solver.backend)


def _numpy_state() -> list:
    """NumPy's global generator, which Python layers of old draw from, as JSON values."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return [name, keys.tolist(), position, has_gauss, gauss]
