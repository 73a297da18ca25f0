"""All six solvers, the policies and options against Caffe: weights, histories, losses, rates, restarts, the log."""

import io
import re

import numpy as np
import pytest

from demitasse.layers.backend.options import BackendOptions
from demitasse.proto.weights import read_state
from demitasse.solver.log import Log, Silent
from demitasse.solver.solver import Solver
from tests.test_solver import cases

pytest.importorskip("h5py", reason="the cases' data are in HDF5")

# The gradient of a bias before BatchNorm is zero but for what rounding leaves of it.
TOLERANCE = {("sgd_batchnorm", 1): 1e-4}


@pytest.fixture(params=["generic", "cpu"])
def start(request, tmp_path, monkeypatch):
    """A function: case name -> (case, its solver with the case's first weights)."""

    def begin(name, log=None):
        monkeypatch.chdir(tmp_path)
        case = cases.Case(name, tmp_path)
        solver = Solver("solver.prototxt", device=BackendOptions(request.param, exact=True), log=log or Silent())
        for p, array in zip(case.params(solver.net), case.arrays("p0"), strict=True):
            p.data[...] = array
        return case, solver

    return begin


@pytest.mark.parametrize("name", cases.names())
def test_ten_steps(name, start):
    case, solver = start(name)
    for step in range(1, 11):
        if case.meta["rates"]:
            assert solver.lr == pytest.approx(case.meta["rates"][step - 1], rel=1e-5)
        solver.step(1)
        assert solver.net.loss == pytest.approx(case.meta["losses"][step - 1], rel=2e-5, abs=1e-6)
        if f"p{step}_0" in case.meta["arrays"]:
            for i, (p, expected) in enumerate(zip(case.params(solver.net), case.arrays(f"p{step}"), strict=True)):
                assert cases.worst(p.data, expected) < 1e-5, f"param {case.meta['params'][i]} after step {step}"
    histories = solver.updater.host_history()
    for i, (found, expected) in enumerate(zip(histories, case.arrays("history10"), strict=True)):
        assert found.shape == expected.shape
        assert cases.worst(found, expected) < TOLERANCE.get((name, i), 1e-5), f"history {i}"


@pytest.mark.parametrize("ending", ["", ".h5"])
@pytest.mark.parametrize("name", cases.names(with_files=True))
def test_going_on_from_caffes_own_files(name, ending, start):
    case, solver = start(name)
    solver.restore(f"caffe/snap_iter_10.solverstate{ending}")
    assert solver.iter == 10
    state = read_state(f"caffe/snap_iter_10.solverstate{ending}")
    for found, expected in zip(solver.updater.host_history(), state.history, strict=True):
        assert np.array_equal(found, expected)
    for p, expected in zip(case.params(solver.net), case.arrays("p10"), strict=True):
        assert np.array_equal(p.data, expected)
    solver.step(5)
    for p, expected in zip(case.params(solver.net), case.arrays("resume_15"), strict=True):
        assert cases.worst(p.data, expected) < 1e-5


@pytest.mark.parametrize("name", cases.names(with_files=True))
def test_the_log_tells_caffes_losses_and_rates(name, start):
    stream = io.StringIO()
    case, solver = start(name, Log(stream, terminal=False))
    solver.param.display = 1
    solver.step(10)
    text = stream.getvalue()
    losses = re.findall(r"\] Iteration (\d+) \(.*\), loss = (\S+)$", text, re.MULTILINE)
    outputs = re.findall(r"\]     Train net output #0: \S+ = (\S+) \(\* 1 = \S+ loss\)$", text, re.MULTILINE)
    rates = re.findall(r"\] Iteration (\d+), lr = (\S+)$", text, re.MULTILINE)
    assert [int(i) for i, _ in losses] == [int(i) for i, _ in rates] == list(range(10))
    assert [float(loss) for _, loss in losses] == pytest.approx(case.meta["losses"][:10], rel=2e-5)
    assert [float(loss) for loss in outputs] == pytest.approx(case.meta["losses"][:10], rel=2e-5)
    if case.meta["rates"]:
        assert [float(rate) for _, rate in rates] == pytest.approx(case.meta["rates"][:10], rel=1e-5)
