"""Whole nets and training on the GPU backend: on a GPU with `make test-gpu`, else with its kernels run on the CPU.

The layers' goldens run beside these (tests/test_layers).
"""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.options import BackendOptions
from demitasse.netdef.net import Net
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import parse
from demitasse.solver.solver import Solver
from tests.test_gpu import shim
from tests.test_gpu.device_array import DeviceArray

# A net with every part of an FCN: two skips, Crop, fixed Deconvolution, Dropout, a loss with ignored labels.
FCN = """
name: "small-fcn" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 61 dim: 47 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 dim: 1 dim: 61 dim: 47 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 16 kernel_size: 3 pad: 20 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
        convolution_param { num_output: 32 kernel_size: 5 group: 2 pad: 2 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "Convolution" bottom: "pool2" top: "fc"
        convolution_param { num_output: 64 kernel_size: 7 weight_filler { type: "msra" } } }
layer { name: "relu3" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "score_fr" type: "Convolution" bottom: "fc" top: "score_fr"
        convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "score_fr" top: "up" param { lr_mult: 0 }
        convolution_param { num_output: 5 kernel_size: 8 stride: 4 bias_term: false
                            weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "data" top: "score" crop_param { axis: 2 offset: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
        loss_param { ignore_label: 255 } }
"""
SOLVER = """
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 max_iter: 10 random_seed: 1 display: 0
snapshot_after_train: false
"""

# Shares of the largest value, three to four times what an H200 showed.  Where rounding turns a ReLU's sign, or another
# pixel of a pool wins, gradients are off by far more than values.
TOLERANCE = {"fp32": 1e-5, "tf32": 3e-3, "fp16": 5e-3}
TOLERANCE_OF_GRADIENTS = {"fp32": 1e-5, "tf32": 0.025, "fp16": 0.15}


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    return shim.gpu_or_pretence(request, monkeypatch)


def image(height=61, width=47):
    rng = np.random.default_rng(2)
    label = rng.integers(0, 5, (1, 1, height, width)).astype(np.float32)
    label[rng.random(label.shape) < 0.1] = 255
    return {"data": rng.standard_normal((1, 3, height, width)).astype(np.float32), "label": label}


def run(backend, phase="TEST", sizes=((61, 47),)):
    net = Net(FCN, phase, backend=backend, seed=3, keep="all")
    for size in sizes:
        inputs = image(*size)
        net.forward(inputs)
        net.clear_grads()
        net.backward()
    to_host = net.backend.to_host
    grads = {
        f"{name}[{i}]": to_host(p.grad)
        for name, ps in net.params.items()
        for i, p in enumerate(ps)
        if p.grad is not None
    }
    return {name: to_host(array) for name, array in net.blobs.items()} | grads


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_whole_net_agrees_with_the_cpu_at_changing_sizes(precision, on_a_gpu):
    if precision != "fp32" and not on_a_gpu:
        pytest.skip("only a GPU rounds")
    sizes = [(61, 47), (80, 33), (61, 47), (33, 90)]
    expected = run(make_backend("generic"), sizes=sizes)
    for name, array in run(make_backend("gpu", precision=precision), sizes=sizes).items():
        error = np.abs(array - expected[name]).max() / max(np.abs(expected[name]).max(), 1e-30)
        assert error < (TOLERANCE_OF_GRADIENTS if "[" in name else TOLERANCE)[precision], (name, error)


def test_exact_gives_the_same_bits_twice():
    first, second = (run(make_backend("gpu", exact=True)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_ten_steps_of_training_agree_with_the_cpu(tmp_path):
    losses = {}
    for device in ("generic", "gpu"):
        message, _ = parse(SOLVER + f'snapshot_prefix: "{tmp_path}/{device}"', SolverParameter)
        message.net_param.CopyFrom(parse(FCN, NetParameter)[0])
        solver = Solver(message, device=BackendOptions(device, precision="fp32"))
        solver.net.forward(image())
        losses[device] = []
        for _ in range(10):
            solver.step(1)
            losses[device].append(solver.net.loss)
    np.testing.assert_allclose(losses["gpu"], losses["generic"], rtol=1e-3)
    assert losses["gpu"][-1] < losses["gpu"][0]


NOISY = """
name: "noisy"
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 2 dim: 3 dim: 12 dim: 9 } shape { dim: 2 dim: 1 dim: 12 dim: 9 }
                           data_filler { type: "gaussian" } data_filler { type: "uniform" min: 0 max: 4.99 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "score_small" type: "Convolution" bottom: "pool" top: "score_small"
        convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "score_small" top: "up" param { lr_mult: 0 }
        convolution_param { num_output: 5 kernel_size: 4 stride: 2 bias_term: false
                            weight_filler { type: "bilinear" } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "data" top: "score" crop_param { offset: 0 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def noisy_solver(folder, rule="Adam", **options):
    message, _ = parse(SOLVER + f'snapshot_prefix: "{folder}/noisy" momentum2: 0.99', SolverParameter)
    message.type = rule
    message.net_param.CopyFrom(parse(NOISY, NetParameter)[0])
    solver = Solver(message, device=BackendOptions("gpu", exact=True), **options)
    up = solver.net.params["up"][0]  # of each class from its own scores: else all scores would be alike
    up.data[...] = up.data * solver.backend.asarray(np.eye(5)[:, :, None, None])
    return solver


def weights_of(solver):
    return [solver.backend.to_host(p.data).copy() for p in solver.net.learnable]


def test_a_resumed_run_has_the_bits_of_one_that_was_not_stopped(tmp_path):
    """Through everything random on the device: dropout and stochastic pooling."""
    whole = noisy_solver(tmp_path)
    whole.step(2)
    path = whole.snapshot()
    whole.step(3)
    resumed = noisy_solver(tmp_path)
    resumed.net.backend.seed(77)
    resumed.restore(path)
    resumed.step(3)
    assert whole.net.loss == resumed.net.loss
    for ours, theirs in zip(weights_of(whole), weights_of(resumed), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("rule", ["SGD", "Nesterov"])
def test_an_iteration_waits_for_the_device_once(tmp_path, rule, on_a_gpu):
    """For the loss: everything else is launched without looking."""
    if on_a_gpu:
        pytest.skip("only the pretend device counts")
    solver = noisy_solver(tmp_path, rule)
    solver.step(3)  # what is looked at once is over
    DeviceArray.waits = 0
    solver.step(4)
    assert DeviceArray.waits == 4


def test_nccl_sums_over_one_rank(on_a_gpu):
    if not on_a_gpu:
        pytest.skip("NCCL needs a GPU: make test-gpu")
    from demitasse.layers.backend.gpu.nccl import NcclReducer

    backend = make_backend("gpu")
    reducer = NcclReducer(0, 1, lambda own: own, backend.runtime.device)
    array = backend.asarray(np.arange(1000, dtype=np.float32))
    reducer.broadcast(array)
    reducer.start(array)
    reducer.finish()
    assert np.array_equal(backend.to_host(array), np.arange(1000, dtype=np.float32))


def test_an_upload_may_be_overwritten_at_once():
    backend = make_backend("gpu")
    host = np.zeros((3, 100, 100), np.float32)
    arrays = []
    for i in range(6):
        host[...] = i
        arrays.append(backend.asarray(host))
        backend.asarray(np.full((1000 * i,), -1.0, np.float32))
    for i, array in enumerate(arrays):
        assert (backend.to_host(array) == i).all()
    for host in (np.float32(3), np.zeros((0, 4)), np.array([True, False]), np.arange(5)):
        got = backend.asarray(host, np.asarray(host).dtype)
        assert got.shape == np.shape(host) and np.array_equal(backend.to_host(got), host)


def test_a_later_copy_is_what_the_array_was():
    backend = make_backend("gpu")
    array = backend.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    later = backend.to_host_async(array * 2)
    array.fill(0)
    assert np.array_equal(later(), [[0, 2, 4], [6, 8, 10]])
    assert float(backend.to_host_async(array.sum())()) == 0
