"""Snapshots: the files that Caffe writes, field for field; restarts with the same bits; what can go wrong."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demitasse.proto.errors import NetError, SolverFault, WeightsFault
from demitasse.proto.weights import read_grads, read_weights
from demitasse.solver import snapshots
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
from tests.test_solver import cases


def weights_of(solver):
    return [p.data.copy() for p in solver.net.learnable]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# -- Caffe's files -------------------------------------------------------------------------------------


def snapshot_again(name, folder, ending):
    """Restore Caffe's snapshot and write it once more: (Caffe's folder, ours)."""
    case = cases.Case(name, folder)
    if ending:
        (folder / "solver.prototxt").write_text(case.meta["solver"] + "snapshot_format: HDF5\n")
    solver = Solver("solver.prototxt", device="generic", log=Silent())
    solver.restore(f"caffe/snap_iter_10.solverstate{ending}")
    assert solver.snapshot() == f"snap_iter_10.solverstate{ending}"
    return folder / "caffe", folder


@pytest.mark.parametrize("name", cases.names(with_files=True))
def test_binary_snapshots_are_caffes(name, tmp_path, monkeypatch):
    pytest.importorskip("h5py", reason="the cases' data are in HDF5")
    monkeypatch.chdir(tmp_path)
    caffe, ours = snapshot_again(name, tmp_path, "")
    for file in ("snap_iter_10.caffemodel", "snap_iter_10.solverstate"):
        assert (caffe / file).read_bytes() == (ours / file).read_bytes()


@pytest.mark.parametrize("name", cases.names(with_files=True))
def test_hdf5_snapshots_are_caffes(name, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py", reason="the cases' data are in HDF5")
    monkeypatch.chdir(tmp_path)
    caffe, ours = snapshot_again(name, tmp_path, ".h5")
    for file in ("snap_iter_10.caffemodel.h5", "snap_iter_10.solverstate.h5"):
        found = []
        for folder in (caffe, ours):
            entries = {}
            with h5py.File(folder / file) as opened:
                opened.visititems(
                    lambda path, item, entries=entries: entries.update(
                        {path: (item.shape, str(item.dtype), item[()].tolist()) if hasattr(item, "shape") else None}
                    )
                )
            found.append(entries)
        assert found[0] == found[1]


def test_the_updates_travel_along_if_wanted(make):
    for kind in ("SGD", "Nesterov", "Adam"):
        solver, _ = make(f'type: "{kind}" snapshot_diff: true', existing="replace")
        solver.step(1)
        before = solver.net.params["ip"][0].data.copy()
        solver.step(1)
        solver.snapshot()
        update = read_grads("snap_iter_2.caffemodel")["ip"][0]
        np.testing.assert_allclose(update, before - solver.net.params["ip"][0].data, rtol=1e-4, atol=1e-6)


# -- restarts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("fields", ["", 'type: "Adam" iter_size: 2 test_iter: 2 test_interval: 3', "average_loss: 7"])
def test_a_restart_has_the_same_bits(make, fields, format_):
    fields += f" snapshot_format: {format_} display: 1"
    whole, whole_log = make(fields)
    whole.step(6)
    state = whole.snapshot()
    whole.step(6)
    resumed, log = make(fields, seed=99, snapshot=state)
    assert resumed.iter == 6
    resumed.step(6)
    assert same(weights_of(whole), weights_of(resumed))
    assert same(whole.updater.host_history(), resumed.updater.host_history())
    assert len(log.points) == 6 and log.points == whole_log.points[6:]


def test_the_global_random_generators_go_on_too(make):
    solver, _ = make()
    random.seed(3)
    np.random.seed(4)
    state = solver.snapshot()
    expected = random.random(), np.random.normal(), np.random.normal()
    make(snapshot=state)
    assert (random.random(), np.random.normal(), np.random.normal()) == expected


def test_a_state_moved_elsewhere_finds_its_weights_beside_it(make, tmp_path):
    solver, _ = make()
    solver.step(1)
    solver.snapshot()
    (tmp_path / "moved").mkdir()
    for path in tmp_path.glob("snap_iter_1.*"):
        path.rename(tmp_path / "moved" / path.name)
    resumed, _ = make(snapshot="moved/snap_iter_1.solverstate")
    assert same(weights_of(solver), weights_of(resumed))
    (tmp_path / "moved/snap_iter_1.caffemodel").unlink()
    with pytest.raises(WeightsFault, match="weights snap_iter_1.caffemodel, .* nor beside it, at moved/s"):
        make(snapshot="moved/snap_iter_1.solverstate")


def test_a_copied_run_resumes_from_its_own_weights(make, tmp_path):
    solver, _ = make()
    solver.step(1)
    solver.snapshot()
    copied = weights_of(solver)
    shutil.copytree(tmp_path, tmp_path / "copy")
    solver.step(1)
    solver.net.save("snap_iter_1.caffemodel")  # the state names this path
    resumed, _ = make(snapshot="copy/snap_iter_1.solverstate")
    assert same(weights_of(resumed), copied) and not same(copied, weights_of(solver))


def test_without_the_side_file_a_line_says_what_starts_anew(make):
    solver, _ = make()
    Path(solver.snapshot() + ".json").unlink()
    resumed, log = make(snapshot="snap_iter_0.solverstate")
    assert resumed.iter == 0 and "snap_iter_0.solverstate.json" in log.warnings[0]


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda side: "{", "cannot be read"),
        (lambda side: json.dumps(side | {"iter": 5}), "not of this state (iteration 0)"),
        (lambda side: "[]", "not of this state"),
        (lambda side: "[" * 100000, "cannot be read"),
        (lambda side: json.dumps(side | {"losses": ["one"]}), "is damaged"),
        (lambda side: json.dumps(side | {"losses": 5}), "is damaged"),
        (lambda side: json.dumps(side | {"ranks": {"a": 1}}), "is damaged"),
        (lambda side: json.dumps(side).replace('"seed": ', '"seed": -'), "is damaged"),
        (lambda side: json.dumps(side | {"ranks": []}), "is damaged"),
        (lambda side: json.dumps(side | {"ranks": [{}]}), "is damaged"),
        (lambda side: json.dumps(side | {"ranks": ["text"]}), "is damaged"),
        (lambda side: re.sub(r'"MT19937", \[\d+', '"MT19937", [99999999999', json.dumps(side)), "is damaged"),
    ],
)
def test_a_side_file_that_does_not_fit(make, spoil, words):
    solver, _ = make()
    path = Path(solver.snapshot() + ".json")
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(NetError) as fault:
        make(snapshot="snap_iter_0.solverstate")
    assert words in str(fault.value) and "remove it" in str(fault.value) and "\n" not in str(fault.value)


def test_a_state_of_another_solver_changes_nothing(make):
    solver, _ = make()
    solver.step(1)
    solver.snapshot()
    other, _ = make('type: "Adam"')
    before = weights_of(other)
    with pytest.raises(WeightsFault, match="4 history arrays, Adam on its net here 8"):
        other.restore("snap_iter_1.solverstate")
    assert same(before, weights_of(other)) and other.iter == 0


def test_a_state_of_another_type_with_as_many_histories_is_told(make):
    solver, _ = make()
    solver.step(1)
    solver.snapshot()
    _, log = make('type: "Nesterov"', snapshot="snap_iter_1.solverstate")
    assert "written by type SGD, this solver is Nesterov" in log.warnings[0] and len(log.warnings) == 1


@pytest.mark.parametrize(
    "path, words",
    [
        ("none.solverstate", "snapshot: Could not open file none.solverstate"),
        ("snap_iter_0.caffemodel", "weights alone: give its .solverstate"),
        ("solver.prototxt", "a prototxt"),
        ("empty", "empty"),
    ],
)
def test_files_that_are_no_state(make, tmp_path, path, words):
    solver, _ = make()
    solver.snapshot()
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(NetError) as fault:
        solver.restore(path)
    assert words in str(fault.value) and "\n" not in str(fault.value)


# -- disks ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_before_training_starts(make, monkeypatch):
    solver, _ = make()
    monkeypatch.setattr(snapshots.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(SolverFault, match="a snapshot takes .* MB, but only 0 MB are free"):
        solver.solve()
    assert solver.iter == 0


def test_a_library_that_is_missing_is_said_before_training_starts(make, monkeypatch):
    solver, _ = make("snapshot_format: HDF5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsFault, match=r"snapshot_format: HDF5, snap_iter_.*: .* need the package h5py: pip"):
        solver.solve()
    assert solver.iter == 0


def test_a_disk_that_fills_up_on_the_way_leaves_the_old_snapshot_whole(make, tmp_path, monkeypatch):
    solver, log = make("snapshot: 2")
    solver.step(2)
    old = {path.name: path.read_bytes() for path in tmp_path.glob("snap_*")}
    assert len(old) == 3

    def full(path, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "write_state", full)
    solver.step(2)
    assert solver.iter == 4 and "no snapshot at iteration 4: " in log.warnings[-1] and "No space" in log.warnings[-1]
    assert {name: (tmp_path / name).read_bytes() for name in old} == old
    assert not (tmp_path / "snap_iter_4.solverstate").exists()  # without it the other two do not count
    with pytest.raises(OSError):
        solver.snapshot()  # asked for by hand, it is an error


def test_what_a_killed_run_left_half_written_is_swept_by_the_next(make, tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout
    gone = tmp_path / f".snap_iter_2.caffemodel.{dead.strip()}.tmp"
    others = [
        tmp_path / f".snap_iter_2.caffemodel.{os.getppid()}.tmp",  # it lives: a run on another net beside this one
        tmp_path / f".snapshot_iter_2.caffemodel.{dead.strip()}.tmp",  # another prefix
        tmp_path / ".snap_iter_2.caffemodel.tmp",
    ]
    for path in (gone, *others):
        path.write_bytes(b"half")
    make("snapshot: 1")[0].step(1)
    assert not gone.exists() and all(path.read_bytes() == b"half" for path in others)


def test_weights_start_a_run_and_read_back(make):
    solver, _ = make()
    solver.step(1)
    solver.snapshot()
    assert set(read_weights("snap_iter_1.caffemodel")) == {"conv", "ip"}
    begun, log = make(weights="snap_iter_1.caffemodel")
    assert same(weights_of(solver), weights_of(begun)) and begun.iter == 0 and not log.warnings
