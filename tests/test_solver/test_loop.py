"""The loop: order, displays, tests, averages, passes per update, requests, and settings that cannot work."""

import re

import numpy as np
import pytest

from demitasse.layers.backend import make_backend, options
from demitasse.proto.errors import NetError, SolverFault
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_net
from demitasse.solver.signals import NONE, SNAPSHOT, STOP
from demitasse.solver.solver import Solver
from tests.test_solver import small


def test_displays_tests_and_the_end_come_in_caffes_order(make):
    solver, log = make(
        "display: 5 max_iter: 10 test_iter: 3 test_interval: 5 snapshot: 5",
        base=small.SOLVER.replace("max_iter: 20", ""),
    )
    solver.solve()
    heads = [re.match(r"Iteration \d+|Snapshotting to .*|Optimization .*|Solving .*", line) for line in log.lines]
    assert [head[0] for head in heads if head] == [
        "Solving small",
        "Iteration 0",
        "Iteration 0",
        "Iteration 0",  # testing, loss, rate
        "Snapshotting to binary proto file snap_iter_5.caffemodel",
        "Iteration 5",
        "Iteration 5",
        "Iteration 5",
        "Snapshotting to binary proto file snap_iter_10.caffemodel",
        "Iteration 10",
        "Iteration 10",  # loss, testing
        "Optimization Done.",
    ]
    assert [(at, net) for at, net, _, _ in log.tests] == [(0, 0), (5, 0), (10, 0)]


def test_no_test_before_the_first_iteration_if_not_wanted(make):
    solver, log = make("test_iter: 1 test_interval: 4 test_initialization: false")
    solver.step(5)
    assert [at for at, _, _, _ in log.tests] == [4]


def test_a_test_averages_its_outputs_and_shares_the_weights(make):
    solver, log = make("test_iter: 4 test_interval: 100 test_compute_loss: true")
    net = solver.test_nets[0]
    assert net.params["ip"][0].data is solver.net.params["ip"][0].data
    state = net.state()
    means = solver.test()[0]
    net.load_state(state)
    batches = [{name: float(x) for name, x in net.forward().items()} for _ in range(4)]
    for name in ("loss", "accuracy"):
        assert float(means[name]) == pytest.approx(np.mean([b[name] for b in batches]), rel=1e-6)
    at, index, outputs, loss = log.tests[0]
    assert (at, index, sorted(outputs)) == (0, 0, ["accuracy", "loss"])
    assert loss == pytest.approx(float(means["loss"])) and outputs["loss"].loss_weight == 1
    assert outputs["accuracy"].loss_weight == 0


def test_the_displayed_loss_is_the_mean_of_the_last_ones(make):
    solver, log = make("display: 1 average_loss: 3")
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(solver.net.loss)
    for i, (iteration, shown, _) in enumerate(log.points):
        assert iteration == i and shown == pytest.approx(np.mean(losses[max(0, i - 2) : i + 1]), rel=1e-9)


def test_iter_size_passes_each_of_its_own_size(make, tmp_path):
    (tmp_path / "sized_images.py").write_text(
        "import caffe\n"
        "class Images(caffe.Layer):\n"
        "    def setup(self, bottom, top): self.n = 0\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(1, 3, 4 + self.n, 9 - self.n); top[1].reshape(1, 1, 4 + self.n, 9 - self.n)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = self.n + 1; top[1].data[...] = self.n % 2\n"
        "        self.n = (self.n + 1) % 4\n"
        "    def backward(self, top, propagate_down, bottom): pass\n"
    )
    net = """
layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "sized_images" layer: "Images" } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { normalize: false } }
"""
    solver, _ = make("iter_size: 4 display: 1", net=net, base=small.SOLVER.replace("0.05", "0.001"))
    one, _ = make("iter_size: 1", net=net, base=small.SOLVER.replace("0.05", "0.001"))
    w = solver.net.params["score"][0]
    assert np.array_equal(w.data, one.net.params["score"][0].data)
    start, total = w.data.copy(), 0
    for _ in range(4):  # the same images one by one, from the same weights
        one.net.clear_grads()
        one.net.forward()
        one.net.backward()
        total = total + one.net.params["score"][0].grad
    solver.step(1)
    np.testing.assert_allclose(start - w.data, np.float32(0.001) * total / 4, rtol=2e-3, atol=1e-7)


def test_stop_ends_with_a_snapshot_and_a_snapshot_request_goes_on(make, tmp_path):
    answers = {3: SNAPSHOT, 6: STOP}
    solver, log = make("snapshot_after_train: false")
    solver.requests = lambda: answers.pop(solver.iter, NONE)
    solver.solve()
    assert solver.stopped and solver.iter == 7 and log.lines[-1] == "Optimization stopped early."
    assert sorted(path.stem for path in tmp_path.glob("*.solverstate")) == ["snap_iter_4", "snap_iter_7"]


def test_iterations_limit_a_run_but_not_beyond_max_iter(make):
    solver, log = make("snapshot_after_train: false")
    solver.solve(15)
    assert solver.iter == 15
    solver.solve(15)
    assert solver.iter == 20
    solver.solve(15)
    assert solver.iter == 20 and "Nothing to do" in log.lines[-1]


def test_step_does_not_look_at_max_iter(make):
    solver, _ = make("")
    solver.step(25)
    assert solver.iter == 25


def test_callbacks_and_apply_update_as_pycaffe_has_them(make):
    solver, _ = make("")
    calls = []
    solver.callbacks.append(
        (lambda: calls.append(("start", solver.iter)), lambda: calls.append(("ready", solver.iter)))
    )
    solver.step(2)
    assert calls == [("start", 0), ("ready", 0), ("start", 1), ("ready", 1)]
    w = solver.net.params["ip"][1]
    before = w.data.copy()
    solver.apply_update()
    assert not np.array_equal(before, w.data) and solver.iter == 2


def test_clipping_is_said(make):
    solver, log = make("clip_gradients: 0.001")
    solver.step(1)
    line = next(line for line in log.lines if line.startswith("Gradient clipping: scaling down gradients (L2 norm "))
    assert "> 0.001) by scale factor" in line


def test_debug_info_speaks_of_every_blob_and_param(make):
    solver, log = make("debug_info: true display: 2")
    solver.step(2)
    debug = [line for line in log.lines if line.startswith("    [")]
    names = [line.rpartition(" ")[0].strip() for line in debug if "All net" not in line]
    assert names[:4] == [
        "[Forward] Layer data, top blob data data:",
        "[Forward] Layer data, top blob label data:",
        "[Forward] Layer conv, top blob conv data:",
        "[Forward] Layer conv, param blob 0 data:",
    ]
    assert "[Backward] Layer ip, bottom blob conv diff:" in names
    assert "[Backward] Layer ip, param blob 1 diff:" in names
    assert sum("[Backward] All net params (data, diff): L1 norm = (" in line for line in debug) == 1  # of one display


def test_debug_info_tells_layers_in_place_apart_and_speaks_of_tests(make):
    solver, log = make("debug_info: true display: 1 test_iter: 2 test_interval: 5")
    solver.step(1)

    def numbers(start):
        return [float(line.rpartition(" ")[2]) for line in log.lines if line.startswith(f"    {start} blob conv d")]

    for conv, relu in zip(numbers("[Forward] Layer conv, top"), numbers("[Forward] Layer relu, top"), strict=True):
        assert relu < conv  # means of magnitudes, before and after the cut
    assert len(numbers("[Forward] Layer conv, top")) == 3  # a training pass and two of the test
    (relu,) = numbers("[Backward] Layer relu, bottom")
    (drop,) = numbers("[Backward] Layer drop, bottom")
    assert relu < drop


def test_the_seed_decides_the_run(make):
    weights = []
    for seed in (1, 1, 2):
        solver, _ = make("", seed=seed)
        solver.step(2)
        weights.append(solver.net.params["ip"][0].data.copy())
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])


def test_the_weights_field_is_where_a_run_starts(make):
    first, _ = make("")
    first.step(1)
    first.net.save("start.caffemodel")
    solver, log = make('weights: "start.caffemodel"')
    assert np.array_equal(solver.net.params["conv"][0].data, first.net.params["conv"][0].data)
    assert log.lines[0] == "Finetuning from start.caffemodel" and "loaded 2 layers" in log.lines[1]


def test_a_message_will_do_without_files():
    param = SolverParameter(base_lr=0.1, lr_policy="fixed", max_iter=2, snapshot_after_train=False)
    param.net_param.CopyFrom(read_net(small.NET)[0])
    solver = Solver(param, device="generic", log=small.Lines())
    solver.solve()
    assert solver.iter == 2


@pytest.mark.parametrize(
    "fields, words",
    [
        ("iter_size: 0", ["iter_size is 0", "solver.prototxt:3:1"]),
        ("clip_gradients: 0", ["clip_gradients is 0", ":3:1"]),
        ('type: "Adamm"', ["did you mean 'Adam'", ":3:1"]),
        ('type: "RMSProp"', ["RMSProp has no momentum", "remove it", ":2:34"]),
        ("average_loss: 0", ["average_loss is 0", "1 or more", ":3:1"]),
        ("display: -1", ["display is -1"]),
        ("stepvalue: 9 stepvalue: 3", ["stepvalue must not fall", ":3:1"]),
        ('regularization_type: "L3"', ["L3", "L1, L2"]),
        ("test_iter: 1", ["1 test net", "test_interval is 0"]),
        ("test_iter: -1 test_interval: 1", ["test_iter is -1"]),
        ("test_iter: 1 test_interval: 1 test_state { } test_state { }", ["1 test net and 2 test_state"]),
        ('test_net: "net.prototxt"', ["1 test net and 0 test_iter"]),
        ('train_net: "net.prototxt"', ["exactly one of", "net and train_net"]),
        ('test_net: "nat.prototxt" test_iter: 1 test_interval: 1', ["test_net: Could not open", "mean 'net.prototxt'"]),
        ('weights: "w.caffemodel"', ["weights: Could not open file w.caffemodel"]),
        ('test_iter: 1 test_interval: 1 test_state { stage: "x" } learning_rate: 3', ["no field 'learning_rate'"]),
    ],
)
def test_mistakes_are_one_line_with_their_place(make, fields, words):
    with pytest.raises(NetError) as fault:
        make(fields)
    text = str(fault.value)
    assert "\n" not in text and [word for word in words if word not in text] == []


def test_a_solver_without_a_net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.prototxt").write_text('base_lr: 1 lr_policy: "fixed"\n')
    with pytest.raises(SolverFault, match="exactly one of net, net_param, train_net, train_net_param; .* none"):
        Solver("s.prototxt", device="generic", log=small.Lines())


def test_solving_needs_an_end(make):
    solver, _ = make("", base=small.SOLVER.replace("max_iter: 20", ""))
    with pytest.raises(SolverFault, match="max_iter is not set.*--iterations"):
        solver.solve()
    solver.solve(2)
    assert solver.iter == 2


def test_a_gpu_that_is_not_there_gives_a_line_and_the_cpu(tmp_path, monkeypatch):
    def no_gpu(device, **more):
        if device.startswith("gpu"):
            raise SolverFault("no GPU was found")
        return make_backend("generic")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "make_backend", no_gpu)
    log = small.Lines()
    path = small.write(tmp_path, "solver_mode: GPU device_id: 1")
    solver = Solver(path, log=log)
    assert solver.backend.name == "generic"
    assert log.warnings == ["solver_mode is GPU, but no GPU was found; training on the CPU"]
    with pytest.raises(SolverFault, match="no GPU"):
        Solver(path, device="gpu", log=log)
    assert Solver(small.write(tmp_path), log=log).backend.name == "generic" and len(log.warnings) == 1
    Solver(small.write(tmp_path, "solver_mode: GPU device_id: 0 device_id: 1"), log=log)
    assert log.warnings[1].startswith("device_id names 2 GPUs: each process trains on one")
