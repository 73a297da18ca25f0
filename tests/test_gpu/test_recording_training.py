"""Passes both ways launched as a whole, and training with them: the same bits with recordings and without."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import parse
from demitasse.solver.solver import Solver
from tests.test_gpu.recording_cases import both_ways, forward, gpu_with_cudnn, gradients, images, pair, recorded
from tests.test_gpu.test_contract_on_gpu import on_gpu
from tests.test_gpu.test_device import NOISY, SOLVER, image
from tests.test_layers import test_contract as contract
from tests.test_solver import small


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    return gpu_with_cudnn(request, monkeypatch)


@contract.those(lambda bench: bench.layer.launches_only)
def test_every_type_that_may_be_recorded(specimen):
    """Its launches, recorded, give for other numbers what the layer gives for them."""
    be = make_backend("gpu", exact=True)
    bench = on_gpu(specimen, be)
    layer, start = bench.layer, [p.data.copy() for p in bench.layer.params]

    def both_ways():
        tops = layer.forward(bench.xs)
        return [*tops, *(bench.backward() if contract.differentiable(bench) else [])]

    def reset():
        be.seed(5)
        bench.clear()
        for p, data in zip(layer.params, start, strict=True):
            p.data[...] = data

    def values(results):
        arrays = [array for array in results if array is not None]
        arrays += [p.data for p in layer.params] + [p.grad for p in bench.learned]
        return [be.to_host(array).copy() for array in arrays]

    assert not layer.state()
    results = []
    both_ways()  # what is made once
    try:
        recorded = be.record(lambda: results.extend(both_ways()))
    except RuntimeError as refusal:
        assert "cuBLAS" in str(refusal)
        return
    for x in bench.xs:
        x[...] = be.asarray(be.to_host(x).ravel()[::-1].reshape(x.shape), x.dtype)
    reset()
    expected = values(both_ways())
    drawn = be.position
    reset()
    recorded.launch()
    assert be.position == drawn
    for array, same in zip(values(results), expected, strict=True):
        assert np.array_equal(array, same, equal_nan=True)


def test_backward_adds_to_the_gradients():
    nets = pair(phase="TRAIN", keep=["conv2"])
    for i, inputs in enumerate(images(7, 17, 13)):
        both_ways(nets, inputs)
        for name in ("conv2", "data"):
            a, b = (net.backend.to_host(net.grads[name]) for net in nets)
            assert np.array_equal(a, b), name
        if i % 3 == 2:
            for net in nets:
                net.clear_grads()
    assert recorded(nets[1]) == (1, 1)


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_the_weights_of_the_moment_are_converted(on_a_gpu, precision):
    """While weights are frozen they are converted once, at the first launch of a recording too; else at each."""
    nets = pair(phase="TRAIN", precision=precision)
    near = 1e-2 if on_a_gpu else 0
    scopes = [1, 1, 1, 2, 3, 1]
    for scope in scopes:
        with nets[0].backend.frozen_weights(), nets[1].backend.frozen_weights():  # as the solver computes gradients
            for inputs in images(scope, 17, 13):
                both_ways(nets, inputs, near)
            for net in nets:
                net.load({"conv1": [net.backend.to_host(p.data) * 0.5 for p in net.params["conv1"]]})
            both_ways(nets, image(17, 13), near)
        for net in nets:
            for p in net.learnable:
                p.data[...] = p.data * np.float32(0.9)
            net.clear_grads()
    both_ways(nets, image(17, 13), near)
    for net in nets:
        net.params["conv1"][0].data[...] = net.params["conv1"][0].data * np.float32(1.1)
    both_ways(nets, image(17, 13), near)
    assert recorded(nets[1]) == (1, 1)


def test_every_mixture_of_passes():
    """Forward alone, backward in parts or from given gradients, a second backward, other sizes in between, hooks."""
    nets = pair(phase="TRAIN")
    for inputs in images(4, 17, 13):
        both_ways(nets, inputs)
    forward(nets, image(17, 13))
    both_ways(nets, image(17, 13), grads={"score": np.ones(nets[0].shapes["score"], np.float32)})
    both_ways(nets, image(9, 20))
    both_ways(nets, image(17, 13))
    forward(nets, image(17, 13))
    for net in nets:
        net.backward(end="score_fr")
        net.backward(start="fc")
    for a, b in zip(*map(gradients, nets), strict=True):
        assert np.array_equal(a, b)
    seen = []
    nets[1].before_forward.append(seen.append)
    both_ways(nets, image(17, 13))
    assert len(seen) == len(nets[1].layers)
    nets[1].before_forward.clear()
    nets[1].after_backward.append(seen.append)
    both_ways(nets, image(17, 13))
    assert len(seen) == 2 * len(nets[1].layers)
    nets[1].after_backward.clear()
    both_ways(nets, image(17, 13))
    forward(nets, image(17, 13))
    nets[1].before_forward.append(seen.append)
    forward(nets, next(images(1, 17, 13)))  # an ordinary pass after a recorded one: backward belongs to it
    nets[1].before_forward.clear()
    for net in nets:
        net.backward()
    both_ways(nets, image(17, 13))
    assert recorded(nets[1]) == (1, 1)


def test_gradients_that_move_to_another_array_drop_the_recordings():
    nets = pair(phase="TRAIN")
    for inputs in images(4, 17, 13):
        both_ways(nets, inputs)
    forward(nets, image(17, 13))
    for net in nets:
        for p in net.learnable:
            p.grad = None if p.grad is None else net.backend.zeros(p.shape)
        net.backward()
    for a, b in zip(*map(gradients, nets), strict=True):
        assert np.array_equal(a, b) and a.any()
    for inputs in images(4, 17, 13):
        both_ways(nets, inputs)


def noisy_solver(folder, record, more="", **options):
    message, _ = parse(SOLVER + f'snapshot_prefix: "{folder}/noisy" momentum2: 0.99' + more, SolverParameter)
    message.type = "Adam"
    message.net_param.CopyFrom(parse(NOISY, NetParameter)[0])
    if message.test_iter:
        message.test_net_param.add().CopyFrom(message.net_param)
    solver = Solver(message, backend=make_backend("gpu", exact=True, record=record), **options)
    up = solver.net.params["up"][0]  # of each class from its own scores: else all scores would be alike
    up.data[...] = up.data * solver.backend.asarray(np.eye(5)[:, :, None, None])
    return solver


def weights_of(solver):
    return [solver.backend.to_host(p.data).copy() for p in solver.net.learnable]


def test_training_has_the_same_bits_through_all_that_is_random(tmp_path):
    """Dropout and stochastic pooling draw the numbers that they would have drawn; the rate changes on the way; the
    data layer stays outside; a run resumes without recordings from one with them."""
    runs = {}
    for record in (False, True):
        solver = noisy_solver(tmp_path, record)
        solver.param.lr_policy, solver.param.gamma, solver.param.stepsize = "step", 0.5, 3
        losses = []
        for _ in range(8):
            solver.step(1)
            losses.append(solver.net.loss)
        runs[record] = losses, weights_of(solver), solver.net.state()["random"]
    assert recorded(solver.net) == (1, 1) and runs[False][0] == runs[True][0] and runs[False][2] == runs[True][2]
    assert len(set(losses)) == 8
    for a, b in zip(runs[False][1], runs[True][1], strict=True):
        assert np.array_equal(a, b)
    path = solver.snapshot()
    solver.step(1)
    resumed = noisy_solver(tmp_path, False)
    resumed.param.lr_policy, resumed.param.gamma, resumed.param.stepsize = "step", 0.5, 3
    resumed.restore(path)
    resumed.step(1)
    for a, b in zip(weights_of(solver), weights_of(resumed), strict=True):
        assert np.array_equal(a, b)


def test_training_with_all_that_comes_between(tmp_path):
    """Two passes for an update, gradients that are clipped, tests, another net with the same weights, and a state that
    is put back."""
    more = " iter_size: 2 clip_gradients: 0.5 test_interval: 3 test_iter: 3 test_initialization: false"
    runs = []
    for record in (False, True):
        log = small.Lines()
        solver = noisy_solver(tmp_path, record, more, log=log)
        other = Net(parse(NOISY, NetParameter)[0], "TEST", backend=solver.backend, weights=solver.net)
        losses = []
        for _ in range(4):
            solver.step(1)
            with solver.backend.frozen_weights():
                losses += [float(solver.backend.to_host(other.forward()["loss"])) for _ in range(2)]
        state = solver.net.state()
        solver.step(3)
        solver.net.load_state(state)
        solver.step(1)
        runs.append((weights_of(solver), [losses, log.tests, solver.net.state()["random"]]))
    assert recorded(solver.net) == (1, 1) and recorded(other) == (1, 0) and len(log.tests) == 2
    (weights, told), (same_weights, told_again) = runs
    assert str(told) == str(told_again)
    for a, b in zip(weights, same_weights, strict=True):
        assert np.array_equal(a, b)
