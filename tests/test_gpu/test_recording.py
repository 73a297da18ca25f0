"""Passes launched as a whole: on a GPU with `make test-gpu`, else on the pretend device, whose tape stands in for a
capture.  Whatever a net does, it does to the same bit with recordings and without."""

from types import SimpleNamespace

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import parse
from demitasse.solver.solver import Solver
from tests.test_gpu import shim
from tests.test_gpu.test_contract_on_gpu import on_gpu
from tests.test_gpu.test_device import FCN, NOISY, SOLVER, image
from tests.test_layers import test_contract as contract

SMALL = FCN.replace("num_output: 16", "num_output: 4").replace("num_output: 32", "num_output: 6")
SMALL = SMALL.replace("num_output: 64", "num_output: 8").replace("dim: 61 dim: 47", "dim: 17 dim: 13")


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if real and make_backend("gpu").cudnn is None:
        pytest.skip("without cuDNN there is little to record: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


def pair(source=SMALL, phase="TEST", precision=None, **options):
    """The same net without and with recordings."""
    return [
        Net(
            source,
            phase,
            **options | {"seed": 3},
            backend=make_backend("gpu", exact=precision is None, record=record, precision=precision or "fp32"),
        )
        for record in (False, True)
    ]


def same(a, b, near=0.0):
    """To the bit, or where cuDNN's engines may add in any order as near as told."""
    return np.array_equal(a, b, equal_nan=True) or (near and np.abs(a - b).max() <= near * np.abs(b).max())


def forward(nets, inputs, near=0.0):
    """What the nets' outputs are, which must be the same for all."""
    found = [{name: net.backend.to_host(array) for name, array in net.forward(inputs).items()} for net in nets]
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for name, array in found[0].items():
            assert same(array, other[name], near), name
    return found[0]


def images(count, *size):
    for i in range(count):
        inputs = image(*size)
        inputs["data"] *= i + 1
        yield inputs


def test_several_images_of_changing_sizes():
    plain, recorded = pair()
    seen = []
    for size in [(17, 13)] * 4 + [(9, 20), (17, 13), (9, 20), (9, 20), (9, 20), (17, 13)]:
        for inputs in images(2, *size):
            seen.append(forward([plain, recorded], inputs)["loss"])
    assert len(recorded.recordings) == 2 and not len(plain.recordings) and len(set(map(float, seen))) == 4
    assert recorded.shapes == plain.shapes and not recorded.recordings.refused


@contract.those(lambda bench: bench.layer.launches_only)
def test_every_type_that_may_be_recorded(specimen):
    """Its launches, recorded, give for other numbers what the layer gives for them."""
    be = make_backend("gpu", precision="fp32")
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


def gradients(net):
    return [net.backend.to_host(p.grad) for p in net.learnable if p.grad is not None]


def both_ways(nets, inputs, near=0.0, **options):
    forward(nets, inputs, near)
    assert same(*(np.array(net.loss) for net in nets), near)
    for net in nets:
        net.backward(**options)
    for a, b in zip(*map(gradients, nets), strict=True):
        assert same(a, b, near)


def recorded(net):
    """How many passes forward and backward have been recorded."""
    return tuple(int(word) for word in str(net.recordings).split() if word.isdigit())


def test_outputs_stay_what_they_were_when_the_next_pass_runs():
    _, net = pair(keep=["score"])
    kept = [(net.forward(inputs)["loss"], net.blobs["score"]) for inputs in images(5, 17, 13)]
    assert recorded(net) == (1, 0)
    assert len({tuple(float(net.backend.to_host(array).ravel()[0]) for array in arrays) for arrays in kept}) == 5


def test_weights_written_in_place_count():
    nets = pair()
    for step in range(6):
        forward(nets, image(17, 13))
        for net in nets:
            net.params["conv1"][0].data[...] = net.params["conv1"][0].data * np.float32(1.5)
            if step == 3:  # no longer full
                eye = np.eye(5, dtype=np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
                net.params["up"][0].data[...] = net.backend.asarray(eye)
    assert recorded(nets[1]) == (1, 0)


def test_another_way_for_other_weights_is_recorded_anew(monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.gpu.recording.LOOKS", 2)
    nets = pair(precision="fp32")
    for net in nets:
        net.forward(image(17, 13))
        eye = np.eye(5, dtype=np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
        net.params["up"][0].data[...] = net.backend.asarray(eye)
    for _ in range(6):
        forward(nets, image(17, 13))
    (recording,) = nets[1].recordings._by_sizes.values()
    assert [diagonal for _, diagonal in recording.forward.launched.diagonals] == [True]


def test_loaded_weights_count_and_other_arrays_drop_the_recordings():
    nets = pair()
    for _ in range(3):
        forward(nets, image(17, 13))
    other = {name: [nets[0].backend.to_host(p.data) * 2 for p in params] for name, params in nets[0].params.items()}
    for net in nets:
        net.load(other)
    forward(nets, image(17, 13))
    assert recorded(nets[1]) == (1, 0)
    for net in nets:
        net.params["fc"][0].data = net.params["fc"][0].data * np.float32(0.5)
    forward(nets, image(17, 13))
    assert recorded(nets[1]) == (0, 0)
    donors = pair()
    for net, donor in zip(nets, donors, strict=True):
        net.share_with(donor)
    for _ in range(3):
        forward(nets, image(17, 13))
    assert recorded(nets[1]) == (1, 0)


def test_inputs_that_stay_and_inputs_written_in_place():
    nets = pair()
    for _ in range(3):
        forward(nets, image(17, 13))
    forward(nets, None)
    forward(nets, {"label": image(17, 13)["label"] * 0})
    for net in nets:
        net.blobs["data"][...] = net.blobs["data"] * np.float32(3)
    forward(nets, {})


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr("demitasse.netdef.recording.MAX_RECORDINGS", 2)
    nets = pair()
    for _ in range(3):
        for height in (9, 11, 13):
            forward(nets, image(height, 13))
    assert recorded(nets[1]) == (2, 0)
    sizes = set(nets[1].recordings._by_sizes)
    monkeypatch.setattr("demitasse.netdef.recording.PATIENCE", 2)
    for _ in range(3):
        forward(nets, image(13, 13))
    assert recorded(nets[1]) == (2, 0) and set(nets[1].recordings._by_sizes) != sizes


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


def test_frozen_weights_are_converted_once():
    _, net = pair(precision="tf32")
    for inputs in images(2, 17, 13):
        net.forward(inputs)
    (recording,) = net.recordings._by_sizes.values()
    launched, conversions = recording.forward.launched, []
    launched.conversions = SimpleNamespace(
        launch=lambda launch=launched.conversions.launch: conversions.append(launch())
    )
    for _ in range(2):
        with net.backend.frozen_weights():
            for inputs in images(3, 17, 13):
                net.forward(inputs)
    assert len(conversions) == 2 and len(launched.converted) == 4
    for inputs in images(3, 17, 13):
        net.forward(inputs)
    assert len(conversions) == 5


def test_another_seed_counts():
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }\nlayer { name: "score_fr"'
    nets = pair(SMALL.replace('layer { name: "score_fr"', dropout), phase="TRAIN")
    losses = []
    for seed in (1, 2, 1):
        for net in nets:
            net.backend.seed(seed)
        losses += [float(forward(nets, image(17, 13))["loss"]) for _ in range(4)]
    assert losses[:4] == losses[8:] and len(set(losses)) == 8
    assert recorded(nets[1]) == (1, 0) and nets[0].state()["random"] == nets[1].state()["random"]


def test_without_cudnn_what_lies_between_matrix_products_is_recorded(on_a_gpu, monkeypatch):
    if on_a_gpu:
        pytest.skip("only the pretend device can be without")
    monkeypatch.setattr("demitasse.layers.backend.gpu.runtime.CudaRuntime", lambda index: shim.ShimRuntime())
    nets = pair(phase="TRAIN", keep="needed")
    for inputs in images(12, 17, 13):
        both_ways(nets, inputs)
    assert {step.name for step in nets[1].recordings.refused} == {"conv1", "conv2", "fc", "score_fr", "up"}
    assert recorded(nets[1]) == (0, 0)


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


def test_a_recording_that_fails_changes_nothing(monkeypatch):
    nets = pair(phase="TRAIN")
    layer = nets[1].plan.by_name["pool2"].layer
    forward_of, backend = layer.forward, nets[1].backend

    def waiting(xs):
        if backend.recording is not None:
            raise RuntimeError("the current stream is capturing")
        return forward_of(xs)

    monkeypatch.setattr(layer, "forward", waiting)
    for inputs in images(6, 17, 13):
        both_ways(nets, inputs)
    assert "'pool2' (Pooling): RuntimeError: the current stream is capturing" in str(nets[1].recordings)


def test_too_little_memory_ends_recording(monkeypatch):
    nets = pair()

    def record(run, after=None):
        raise MemoryError("out of memory")

    monkeypatch.setattr(nets[1].backend, "record", record)
    for inputs in images(3, 17, 13):
        forward(nets, inputs)
    assert not nets[1].recordings.on


def test_a_wrong_label_is_found_in_a_recorded_pass():
    from demitasse.proto.errors import LabelFault

    _, net = pair()
    for _ in range(4):
        net.forward(image(17, 13))
    wrong = image(17, 13)
    wrong["label"][0, 0, 5, 7] = 9
    net.forward(image(9, 20))
    net.forward(wrong)
    assert recorded(net) == (1, 0)
    with pytest.raises(LabelFault, match=r"label 9 at \(n, y, x\) \(0, 5, 7\)"):
        net.loss  # noqa: B018


def test_nets_that_keep_all_blobs_are_not_recorded():
    nets = pair(keep="all")
    for _ in range(3):
        forward(nets, image(17, 13))
    assert recorded(nets[1]) == (0, 0)


def noisy_solver(folder, record, **options):
    message, _ = parse(SOLVER + f'snapshot_prefix: "{folder}/noisy" momentum2: 0.99', SolverParameter)
    message.type = "Adam"
    message.net_param.CopyFrom(parse(NOISY, NetParameter)[0])
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
