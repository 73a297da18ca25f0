"""Whole runs on a device whose arrays refuse to meet host arrays: all solvers, tests, displays, snapshots."""

import pytest

from demitasse.layers.backend.options import BackendOptions
from demitasse.solver.solver import Solver
from tests.test_gpu import shim
from tests.test_solver import cases, small

pytest.importorskip("h5py", reason="the cases' data are in HDF5")


@pytest.fixture(autouse=True)
def device(request, monkeypatch):
    """Device "gpu" is one with --gpu; else it is the CPU, pretending."""
    shim.gpu_or_pretence(request, monkeypatch)


@pytest.mark.parametrize(
    "name",
    [
        "adadelta",
        "adagrad",
        "adam_iter_size2",
        "clip_small",
        "nesterov",
        "rmsprop_decay",
        "sgd_batchnorm",
        "sgd_fcn_like",
        "sgd_shared_params",
        "sgd_wd_l1",
    ],
)
def test_a_run_with_all_that_belongs_to_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = cases.Case(name, tmp_path)
    more = 'test_net: "net.prototxt" test_iter: 2 test_interval: 5 debug_info: true snapshot_diff: true'
    (tmp_path / "solver.prototxt").write_text(case.meta["solver"].replace("display: 0", "display: 5") + more)
    log = small.Lines()
    solver = Solver("solver.prototxt", device=BackendOptions("gpu", exact=True), log=log)
    for p, array in zip(case.params(solver.net), case.arrays("p0"), strict=True):
        p.data[...] = solver.backend.asarray(array)
    solver.step(10)
    to_host = solver.backend.to_host
    for p, expected in zip(case.params(solver.net), case.arrays("p10"), strict=True):
        assert cases.worst(to_host(p.data), expected) < 1e-5
    assert [at for at, _, _, _ in log.tests] == [0, 5] and len(log.points) == 2
    resumed = Solver("solver.prototxt", device=BackendOptions("gpu", exact=True), log=log, snapshot=solver.snapshot())
    solver.step(1)
    resumed.step(1)
    for p, q in zip(solver.net.learnable, resumed.net.learnable, strict=True):
        assert (to_host(p.data) == to_host(q.data)).all()
