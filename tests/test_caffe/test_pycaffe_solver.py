"""Solvers through `import caffe`."""

import os

import numpy as np
import pytest

import caffe
from caffe.proto import caffe_pb2
from demitasse.proto.errors import SolverFault
from tests.test_caffe.nets import LOSSY, write

FIELDS = (
    'base_lr: 0.1 lr_policy: "inv" gamma: 0.5 power: 1 momentum: 0.5 max_iter: 8 random_seed: 4 '
    "test_iter: 2 test_interval: 4 display: 0 "
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, LOSSY)
    return write(tmp_path, FIELDS + 'net: "net.prototxt" snapshot_prefix: "snap"', "solver.prototxt")


def weights(solver):
    return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]


def test_step_and_solve(path):
    solver = caffe.SGDSolver(path)
    assert solver.iter == 0 and solver.lr == pytest.approx(0.1) and len(solver.test_nets) == 1
    view, before = solver.net.params["conv1"][0].data, weights(solver)
    solver.step(2)
    assert solver.iter == 2 and solver.lr == pytest.approx(0.1 / 2) and not np.array_equal(view, before[0])
    assert solver.net.blobs["conv1"].data.any() and solver.net.blobs["conv1"].diff.any()
    assert solver.net.blobs["loss"].data.shape == ()
    solver.solve()
    assert solver.iter == 8 and os.path.exists("snap_iter_8.caffemodel")
    np.testing.assert_array_equal(solver.test_nets[0].params["conv1"][0].data, view)


def test_snapshot_restore_and_resume(path):
    solver = caffe.get_solver(path)
    solver.step(3)
    solver.snapshot()
    solver.step(5)
    again = caffe.get_solver(path)
    again.restore("snap_iter_3.solverstate")
    assert again.iter == 3
    again.step(5)
    for one, two in zip(weights(solver), weights(again), strict=True):
        np.testing.assert_array_equal(one, two)
    third = caffe.get_solver(path)
    third.solve("snap_iter_3.solverstate")
    assert third.iter == 8
    with pytest.raises(RuntimeError, match="Could not open file snap_iter_9.solverstate"):
        third.restore("snap_iter_9.solverstate")


def test_a_script_that_does_its_own_steps(path):
    """clear, forward, backward, apply_update are one step."""
    whole, parts = caffe.SGDSolver(path), caffe.SGDSolver(path)
    for one, two in zip(whole.net.params.values(), parts.net.params.values(), strict=True):
        for blob, other in zip(one, two, strict=True):
            other.data[...] = blob.data
    state = whole._engine.net.state()
    whole.step(1)
    parts._engine.net.load_state(state)
    parts.net.clear_param_diffs()
    parts.net.forward()
    parts.net.backward()
    parts.apply_update()
    assert parts.iter == 1
    for one, two in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name, fields", [("SGD", "weight_decay: 0.1 iter_size: 2"), ("Adam", "momentum2: 0.9")])
def test_diffs_after_a_step_are_the_update(path, name, fields, tmp_path):
    file = write(tmp_path, f'{FIELDS} {fields} type: "{name}" net: "net.prototxt"', "s.prototxt")
    solver = caffe.get_solver(file)
    solver.step(3)
    before = weights(solver)
    solver.step(1)
    diffs = [blob.diff for blobs in solver.net.params.values() for blob in blobs]
    for old, new, diff in zip(before, weights(solver), diffs, strict=True):
        np.testing.assert_allclose(old - new, diff, rtol=1e-4, atol=1e-6)


def test_settings_may_change_between_steps(path):
    solver = caffe.SGDSolver(path)
    solver.param.base_lr = 0
    assert solver.lr == 0 and solver.param.max_iter == 8
    before = weights(solver)
    solver.step(1)
    assert all(np.array_equal(one, two) for one, two in zip(before, weights(solver), strict=True))


def test_callbacks_may_change_gradients(path):
    solver, calls = caffe.SGDSolver(path), []

    def freeze():
        calls.append("ready")
        for blobs in solver.net.params.values():
            for blob in blobs:
                blob.diff[...] = 0

    solver.add_callback(lambda: calls.append("start"), freeze)
    before = weights(solver)
    solver.step(2)
    assert calls == ["start", "ready"] * 2
    assert all(np.array_equal(one, two) for one, two in zip(before, weights(solver), strict=True))


@pytest.mark.parametrize(
    "name, fields",
    [
        ("SGD", ""),
        ("Nesterov", ""),
        ("AdaGrad", "momentum: 0"),
        ("RMSProp", "momentum: 0 rms_decay: 0.9"),
        ("AdaDelta", "delta: 1e-6"),
        ("Adam", "momentum2: 0.9"),
    ],
)
def test_every_kind(path, name, fields, tmp_path):
    text = FIELDS.replace("momentum: 0.5", "" if "momentum: 0" in fields else "momentum: 0.5")
    file = write(tmp_path, f'{text} {fields} type: "{name}" net: "net.prototxt" snapshot_prefix: "snap"', "s.prototxt")
    for solver in (caffe.get_solver(file), getattr(caffe, f"{name}Solver")(file)):
        assert type(solver).__name__ == f"{name}Solver" and isinstance(solver, caffe.Solver)
        before = weights(solver)
        solver.step(1)
        assert not np.array_equal(before[0], weights(solver)[0])


def test_the_class_counts_and_a_contradiction_is_said(path, tmp_path):
    file = write(tmp_path, FIELDS + 'type: "Adam" net: "net.prototxt"', "adam.prototxt")
    with pytest.warns(UserWarning, match='says type: "Adam", but the script asks for SGDSolver'):
        assert caffe.SGDSolver(file).param.type == "SGD"
    file = write(tmp_path, FIELDS + 'type: "Adamm" net: "net.prototxt"', "wrong.prototxt")
    with pytest.raises(SolverFault, match="did you mean 'Adam'"):
        caffe.get_solver(file)


def test_the_global_seed_where_the_solver_has_none(path, tmp_path):
    file = write(tmp_path, 'base_lr: 0.1 lr_policy: "fixed" net: "net.prototxt"', "noseed.prototxt")
    found = []
    for _ in range(2):
        caffe.set_random_seed(8)
        found.append(weights(caffe.SGDSolver(file)))
    np.testing.assert_array_equal(found[0][0], found[1][0])


def test_share_weights_and_messages(path, tmp_path):
    solver, net = caffe.SGDSolver(path), caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(net)
    solver.step(1)
    np.testing.assert_array_equal(net.params["conv2"][0].data, solver.net.params["conv2"][0].data)
    message = caffe_pb2.SolverParameter(
        net=str(tmp_path / "net.prototxt"), base_lr=0.1, lr_policy="fixed", snapshot_prefix=str(tmp_path / "s")
    )
    assert caffe.get_solver(message).lr == pytest.approx(0.1)
