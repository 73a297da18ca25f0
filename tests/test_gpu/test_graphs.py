"""Runs recorded and repeated: on a GPU with `make test-gpu`, else on the pretend device, whose tape stands in for a
capture.  Whatever a net does, with graphs it does the same to the bit."""

import warnings

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.gpu_graph import Recorder
from demitasse.netdef.net import Net
from demitasse.netdef.replay import MOST, RECORDABLE
from demitasse.solver.__main__ import main as solver_main
from tests.test_gpu import shim
from tests.test_gpu.test_contract_on_gpu import on_gpu
from tests.test_gpu.test_device import FCN, image, noisy_solver, weights_of
from tests.test_layers import test_contract as contract
from tests.test_layers.harness import specimens

SMALL = FCN.replace("num_output: 16", "num_output: 4").replace("num_output: 32", "num_output: 6")
SMALL = SMALL.replace("num_output: 64", "num_output: 8").replace("dim: 61 dim: 47", "dim: 17 dim: 13")


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if real and make_backend("gpu").convolutions is None:
        pytest.skip("without cuDNN there is little to record: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


def pair(source=SMALL, phase="TEST", precision=None, **options):
    """The same net without and with graphs."""
    options |= {"seed": 3}
    return [
        Net(
            source,
            phase,
            **options,
            backend=make_backend("gpu", exact=precision is None, graphs=graphs, precision=precision or "fp32"),
        )
        for graphs in (False, True)
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


def repeats(net):
    return sum(recording is not None for recording in net._replay.recordings.values())


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
    assert repeats(recorded) == 2 and len(set(map(float, seen))) == 4
    assert recorded.shapes == plain.shapes


def test_outputs_stay_what_they_were_when_the_graph_runs_again():
    _, net = pair()
    kept = [net.forward(inputs)["score" if "score" in net.outputs else "loss"] for inputs in images(6, 17, 13)]
    values = [float(net.backend.to_host(array).ravel()[0]) for array in kept]
    assert repeats(net) == 1 and len(set(values)) == 6


def test_weights_written_in_place_count():
    nets = pair()
    for step in range(7):
        forward(nets, image(17, 13))
        for net in nets:
            net.params["conv1"][0].data[...] = net.params["conv1"][0].data * np.float32(1.5)
            if step == 4:  # no longer diagonal, or no longer full
                net.params["up"][0].data[...] = net.backend.asarray(
                    np.eye(5, dtype=np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
                )
    assert repeats(nets[1]) == 1


def test_loaded_weights_count_and_replaced_ones_drop_the_recordings():
    nets = pair()
    for _ in range(4):
        forward(nets, image(17, 13))
    other = {name: [nets[0].backend.to_host(p.data) * 2 for p in params] for name, params in nets[0].params.items()}
    for net in nets:
        net.load(other)
    forward(nets, image(17, 13))
    assert repeats(nets[1]) == 1
    for net in nets:
        net.params["fc"][0].data = net.params["fc"][0].data * np.float32(0.5)
    forward(nets, image(17, 13))
    assert repeats(nets[1]) == 0
    donors = pair()
    for net, donor in zip(nets, donors, strict=True):
        net.share_with(donor)
    for _ in range(4):
        forward(nets, image(17, 13))
    assert repeats(nets[1]) == 1


def test_inputs_that_stay_and_inputs_written_in_place():
    nets = pair()
    for _ in range(4):
        forward(nets, image(17, 13))
    forward(nets, None)
    forward(nets, {"label": image(17, 13)["label"] * 0})
    for net in nets:
        net.blobs["data"][...] = net.blobs["data"] * np.float32(3)
    forward(nets, {})


def test_only_so_many_are_kept(monkeypatch):
    nets, recorded, record = pair(), [], Recorder.record
    monkeypatch.setattr(Recorder, "record", lambda self, work: recorded.append(1) or record(self, work))
    heights = range(9, 9 + 2 * (MOST + 2), 2)
    for _ in range(5):
        for height in heights:
            forward(nets, image(height, 13))
    assert repeats(nets[1]) == MOST == len(recorded)  # no more is recorded only to be dropped again
    monkeypatch.setattr("demitasse.netdef.replay.PATIENCE", 2)
    for _ in range(3):
        forward(nets, image(heights[-1], 13))
    assert repeats(nets[1]) == MOST == len(recorded) - 1
    forward(nets, image(heights[0], 13))


def gradients(net):
    return [net.backend.to_host(p.grad) for p in net.learnable if p.grad is not None]


def both_ways(nets, inputs, near=0.0, **options):
    forward(nets, inputs, near)
    assert same(*(np.array(net.loss) for net in nets), near)
    for net in nets:
        net.backward(**options)
    for a, b in zip(*map(gradients, nets), strict=True):
        assert same(a, b, near)


def test_backward_adds_to_the_gradients():
    nets = pair(phase="TRAIN", keep=["conv2"])
    for i, inputs in enumerate(images(8, 17, 13)):
        both_ways(nets, inputs)
        for name in ("conv2", "data"):
            a, b = (net.backend.to_host(net.grads[name]) for net in nets)
            assert np.array_equal(a, b), name
        if i % 3 == 2:
            for net in nets:
                net.clear_grads()
    (recording,) = nets[1]._replay.recordings.values()
    assert recording.backward is not None


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_the_weights_of_the_moment_are_converted(on_a_gpu, precision):
    nets = pair(phase="TRAIN", precision=precision)
    for inputs in images(6, 17, 13):
        with nets[0].backend.steady_weights(), nets[1].backend.steady_weights():  # as the solver computes gradients
            both_ways(nets, inputs, near=1e-2 if on_a_gpu else 0)
        for net in nets:
            for p in net.learnable:
                p.data[...] = p.data * np.float32(1.1)
    assert repeats(nets[1]) == 1


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_converted_weights_are_not_those_of_the_recording(on_a_gpu, precision):
    """Steady weights are converted once; what was converted before a recording is not for its repetitions."""
    nets = pair(precision=precision)
    for round in range(2):
        with nets[0].backend.steady_weights(), nets[1].backend.steady_weights():  # as a test net's batches run
            for inputs in images(4, 17, 13):
                forward(nets, inputs, near=1e-2 if on_a_gpu else 0)
        assert repeats(nets[1]) == 1
        for net in nets:
            for p in net.learnable:
                p.data[...] = p.data * np.float32(-1.5 + round)


def test_another_seed_counts():
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }\nlayer { name: "score_fr"'
    nets = pair(SMALL.replace('layer { name: "score_fr"', dropout), phase="TRAIN")
    losses = []
    for seed in (1, 2, 1):
        for net in nets:
            net.backend.seed(seed)
        losses += [float(forward(nets, image(17, 13))["loss"]) for _ in range(4)]
    assert losses[:4] == losses[8:] and len(set(losses)) == 8


def test_without_cudnn_what_lies_between_matrix_products_is_recorded(on_a_gpu, monkeypatch):
    if on_a_gpu:
        pytest.skip("only the pretend device can be without")
    monkeypatch.setattr("demitasse.layers.backend.gpu_runtime.CudaRuntime", lambda index: shim.ShimRuntime())
    nets = pair(phase="TRAIN")
    for inputs in images(6, 17, 13):
        both_ways(nets, inputs)
    assert [step.name for step in nets[1]._replay.stretch] == ["relu1", "pool1", "norm1"] and repeats(nets[1]) == 1


def test_every_mixture_of_passes():
    """Forward alone, backward in parts or from given gradients, a second backward, other sizes in between."""
    nets = pair(phase="TRAIN")
    for inputs in images(5, 17, 13):
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
    assert repeats(nets[1]) == 1


def test_gradients_that_move_to_another_array_drop_the_recordings():
    nets = pair(phase="TRAIN")
    for inputs in images(5, 17, 13):
        both_ways(nets, inputs)
    forward(nets, image(17, 13))
    for net in nets:
        for p in net.learnable:
            p.grad = None if p.grad is None else net.backend.zeros(p.shape)
        net.backward()
    for a, b in zip(*map(gradients, nets), strict=True):
        assert np.array_equal(a, b) and a.any()
    for inputs in images(5, 17, 13):
        both_ways(nets, inputs)


def test_training_has_the_same_bits_through_all_that_is_random(tmp_path):
    """Dropout and stochastic pooling draw the numbers that they would have drawn; the rate changes on the way."""
    runs = {}
    for graphs in (False, True):
        solver = noisy_solver(tmp_path, graphs=graphs)
        solver.param.lr_policy, solver.param.gamma, solver.param.stepsize = "step", 0.5, 3
        losses = []
        for _ in range(8):
            solver.step(1)
            losses.append(solver.net.loss)
        runs[graphs] = losses, weights_of(solver), solver.net.state()["random"]
    assert solver.net._replay.recordings and runs[False][0] == runs[True][0] and runs[False][2] == runs[True][2]
    assert len(set(losses)) == 8
    for a, b in zip(runs[False][1], runs[True][1], strict=True):
        assert np.array_equal(a, b)
    (recording,) = solver.net._replay.recordings.values()
    assert recording.backward is not None and recording.forward.graph._draws > 0


def test_a_run_resumes_without_graphs_from_one_with_them(tmp_path):
    whole = noisy_solver(tmp_path, graphs=True)
    whole.step(7)
    path = whole.snapshot()
    whole.step(1)
    resumed = noisy_solver(tmp_path)
    resumed.restore(path)
    resumed.step(1)
    assert repeats(whole.net) == 1
    for a, b in zip(weights_of(whole), weights_of(resumed), strict=True):
        assert np.array_equal(a, b)


def test_training_with_graphs_from_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "net.prototxt").write_text(
        SMALL.replace(
            'type: "Input" top: "data" input_param', 'type: "DummyData" top: "data" dummy_data_param'
        ).replace('type: "Input" top: "label" input_param', 'type: "DummyData" top: "label" dummy_data_param')
    )
    text = f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 7 snapshot_after_train: false'
    (tmp_path / "solver.prototxt").write_text(text)
    recorded, record = [], Recorder.record
    monkeypatch.setattr(Recorder, "record", lambda self, work: recorded.append(1) or record(self, work))
    for option in ([], ["--graphs"]):
        assert solver_main(["train", str(tmp_path / "solver.prototxt"), "--device", "gpu", *option]) == 0
        assert len(recorded) == 2 * len(option)  # forward and backward


WITH_HOST_WORK = (
    SMALL.replace(
        'layer { name: "pool2"',
        '''
layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "silence" type: "Silence" bottom: "ip" }
layer { name: "pool2"''',
    )
    + """
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy"
        accuracy_param { ignore_label: 255 } }
"""
)


def test_layers_that_wait_for_the_host_stay_outside():
    nets = pair(WITH_HOST_WORK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inputs in images(7, 17, 13):
            forward(nets, inputs)
    assert repeats(nets[1]) == 1
    names = [step.name for step in nets[1]._replay.stretch]
    assert names[0] == "data" and names[-1] == "relu2"


def test_a_recording_that_fails_is_said_once_and_changes_nothing(monkeypatch):
    nets = pair(phase="TRAIN")
    layer = nets[1].plan.by_name["pool2"].layer
    forward_of, backend = layer.forward, nets[1].backend

    def waiting(xs):
        if backend.recording:
            raise RuntimeError("the current stream is capturing")
        return forward_of(xs)

    monkeypatch.setattr(layer, "forward", waiting)
    both_ways(nets, image(17, 13))
    both_ways(nets, image(17, 13))
    said = r"launched layer by layer: layer 'pool2' \(Pooling\) cannot be recorded \(RuntimeError: the current stream"
    with pytest.warns(UserWarning, match=said):
        both_ways(nets, image(17, 13))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inputs in images(3, 17, 13):
            both_ways(nets, inputs)


def test_a_wrong_label_is_found_in_a_repeated_run():
    from demitasse.proto.errors import LabelFault

    _, net = pair()
    for _ in range(5):
        net.forward(image(17, 13))
    wrong = image(17, 13)
    wrong["label"][0, 0, 5, 7] = 9
    net.forward(image(9, 20))
    net.forward(wrong)
    assert repeats(net) == 1
    with pytest.raises(LabelFault, match=r"label 9 at \(n, y, x\) \(0, 5, 7\)"):
        net.loss  # noqa: B018


def test_what_is_kept_and_who_asks_for_everything():
    plain, recorded = pair(keep="all")
    forward([plain, recorded], image(17, 13))
    assert recorded._replay is None and plain._replay is None
    assert make_backend("generic", graphs=True).graphs is False


@contract.each([specimen for specimen in specimens() if specimen.spec.type in RECORDABLE])
def test_every_type_that_may_be_recorded(specimen):
    """Its launches, recorded for other numbers, give what the layer gives; what cannot be recorded counts as that
    when it is done without recording."""
    bench = on_gpu(specimen)
    be, layer = bench.be, bench.layer
    start = [p.data.copy() for p in layer.params]

    def both_ways():
        tops = layer.forward(bench.xs)
        return tops, bench.backward() if contract.differentiable(bench) else []

    def reset():
        be.seed(5)
        bench.clear()
        for p, data in zip(layer.params, start, strict=True):
            p.data[...] = data

    def values(result):
        arrays = [array for arrays in result for array in arrays if array is not None]
        arrays += [p.data for p in layer.params] + [p.grad for p in bench.learned]
        return [be.to_host(array).copy() for array in arrays]

    reset()
    both_ways()  # what is made once
    before = be.refused
    both_ways()
    refused = be.refused - before
    try:
        graph = Recorder(be).record(both_ways)
    except RuntimeError:
        assert refused, "nothing would tell before that this cannot be recorded"
        return
    assert not refused
    for x in bench.xs:
        x[...] = be.asarray(be.to_host(x).ravel()[::-1].reshape(x.shape), x.dtype)
    reset()
    expected = values(both_ways())
    drawn = be.position
    reset()
    graph.launch()
    assert be.position == drawn
    for array, same in zip(values(graph.result), expected, strict=True):
        assert np.array_equal(array, same, equal_nan=True)
