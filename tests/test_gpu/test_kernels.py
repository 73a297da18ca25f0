"""The GPU backend's own kernels, run on the CPU, against the generic backend's meaning of each primitive."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.gpu import GpuBackend
from demitasse.layers.backend.gpu.nhwc import NhwcLayout
from demitasse.layers.backend.gpu.runtime import KERNELS, signatures
from demitasse.layers.layer import Param
from demitasse.netdef.net import Net
from demitasse.proto.errors import LabelFault
from demitasse.proto.messages import SolverParameter
from demitasse.solver.updates import RULES, Updater
from tests.test_gpu import shim
from tests.test_gpu.device_array import DeviceArray

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")


@pytest.fixture
def gpu():
    backend = GpuBackend(runtime=shim.ShimRuntime(), precision="fp32")
    backend.seed(5)
    return backend


generic = make_backend("generic")
LOSS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 dim: 4 dim: 5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
"""


def values(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def near(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-30))


@pytest.mark.parametrize(
    "kernel, stride, pad, relu", [(4, 2, 0, None), (16, 8, 4, 0.0), (63, 32, 0, None), (3, 2, 1, 0.1)]
)
def test_diagonal_deconvolution_runs_per_channel(gpu, kernel, stride, pad, relu):
    geometry = ConvGeometry((kernel, kernel), (stride, stride), (pad, pad), (1, 1))
    x, b, w = values(2, 3, 5, 4), values(3), np.zeros((3, 3, kernel, kernel), np.float32)
    w[range(3), range(3)] = values(3, kernel, kernel)
    spatial = geometry.in_size(x.shape[2:])
    expected = generic.conv_backward_data(x, w, geometry, spatial, b, relu)
    arrays = [gpu.asarray(a) for a in (x, w)]
    got = gpu.conv_backward_data(*arrays, geometry, spatial, gpu.asarray(b), relu, diagonal=True)
    near(gpu.to_host(got), expected)
    assert "upsample_channels" in gpu.runtime.launches


def test_convolution_in_strips_of_columns(gpu, monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.gpu.convolution.COLUMN_BYTES", 3000)
    geometry = ConvGeometry((3, 3), (2, 1), (1, 2), (1, 2), 2)
    x, w, b = values(2, 4, 9, 11), values(6, 2, 3, 3), values(6)
    out = geometry.out_size(x.shape[2:])
    dy, dw, expected_dw = values(2, 6, *out), values(6, 2, 3, 3), values(6, 2, 3, 3)
    gx, gw, gdy, gdw = (gpu.asarray(a) for a in (x, w, dy, dw))
    near(
        gpu.to_host(gpu.conv_forward(gx, gw, gpu.asarray(b), geometry, 0.0)),
        generic.conv_forward(x, w, b, geometry, 0.0),
    )
    near(
        gpu.to_host(gpu.conv_backward_data(gdy, gw, geometry, x.shape[2:])),
        generic.conv_backward_data(dy, w, geometry, x.shape[2:]),
    )
    gpu.conv_backward_weights(gx, gdy, geometry, gdw)
    generic.conv_backward_weights(x, dy, geometry, expected_dw)
    near(gpu.to_host(gdw), expected_dw)
    assert gpu.runtime.launches.count("im2col") > 4


def test_philox_gives_its_published_numbers(gpu):
    """Counter 0 and key 0 give 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (the known answers of Random123)."""
    gpu.key, gpu.position = 0, 0
    first = gpu.to_host(gpu.uniform((4,)))
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32)
    assert np.array_equal(first, (words >> 8).astype(np.float32) / 2**24)


def test_random_numbers_go_on_from_a_saved_state(gpu):
    gpu.uniform((7, 3))
    state = gpu.random_state()
    once = gpu.to_host(gpu.uniform((1001,), -2, 5))
    gpu.seed(99)
    gpu.set_random_state(state)
    assert np.array_equal(gpu.to_host(gpu.uniform((1001,), -2, 5)), once)
    assert once.min() >= -2 and once.max() < 5 and abs(once.mean() - 1.5) < 0.2


def test_dropout_keeps_its_share_and_sends_gradients_back_the_same_way(gpu):
    x, dy = values(64, 100) + 3, values(64, 100)
    y, mask = gpu.dropout_forward(gpu.asarray(x), 0.3)
    kept = gpu.to_host(mask)
    assert abs(kept.mean() - 0.7) < 0.02
    near(gpu.to_host(y), np.where(kept, x / 0.7, 0))
    near(gpu.to_host(gpu.dropout_backward(gpu.asarray(dy), mask, 0.3)), np.where(kept, dy / 0.7, 0))


def test_stochastic_pooling_draws_pixels_by_their_value(gpu):
    geometry = PoolGeometry((3, 3), (2, 2), (0, 0), (3, 4))
    x = np.abs(values(2, 3, 7, 8))
    mean, none = gpu.stochastic_pool_forward(gpu.asarray(x), geometry, False)
    near(gpu.to_host(mean), generic.stochastic_pool_forward(x, geometry, False)[0])
    assert none is None
    y, index = (gpu.to_host(a) for a in gpu.stochastic_pool_forward(gpu.asarray(x), geometry, True))
    flat = x.reshape(2, 3, -1)
    assert np.array_equal(y.reshape(2, 3, -1), np.take_along_axis(flat, index.reshape(2, 3, -1), 2))
    rows, columns = index // 8 - 2 * np.arange(3)[:, None], index % 8 - 2 * np.arange(4)
    assert rows.min() >= 0 and rows.max() < 3 and columns.min() >= 0 and columns.max() < 3


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_an_update_of_many_arrays_is_two_launches(gpu, rule, l1):
    """Against solver/updates.py array by array; sizes below, at and above a chunk.  With and without decay."""
    message = SolverParameter(
        type=rule,
        momentum=0.0 if rule in ("AdaGrad", "RMSProp") else 0.9,
        weight_decay=0.01,
        regularization_type="L1" if l1 else "L2",
        delta=1e-3,
        rms_decay=0.95,
    )
    shapes, updaters = [(3,), (16384,), (5, 7001), (1,)], {}
    for backend in (generic, gpu):
        params = [Param(shape) for shape in shapes]
        for i, p in enumerate(params):
            p.data, p.grad = backend.asarray(values(*p.shape, seed=i)), backend.zeros(p.shape)
            p.lr_mult, p.decay_mult = (1 + i, i) if i < 3 else (0, 1)
        updaters[backend] = Updater(message, params, backend)
        for t in range(1, 4):
            for i, p in enumerate(params):
                p.grad[...] = backend.asarray(values(*p.shape, seed=10 * t + i))
            gpu.runtime.launches.clear()
            updaters[backend].apply(0.1, t, scale=0.5)
    assert gpu.runtime.launches == ["update"] * 2
    for ours, theirs in zip(updaters[gpu].params, updaters[generic].params, strict=True):
        near(gpu.to_host(ours.data), theirs.data)
        if rule != "SGD":  # there the gradient keeps what the rule was given
            near(gpu.to_host(ours.grad), theirs.grad)
    for ours, theirs in zip(updaters[gpu].host_history(), updaters[generic].host_history(), strict=True):
        near(ours, theirs)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 5, 40, 37), (3, 70), (2, 4, 0, 3)])
def test_bias_gradients_are_added(gpu, shape):
    db, dy = values(shape[1], seed=1), values(*shape)
    ours = gpu.asarray(db)
    gpu.bias_backward(gpu.asarray(dy), ours)
    near(gpu.to_host(ours), db + dy.sum(axis=(0, *range(2, dy.ndim))))


@pytest.mark.parametrize("kernel, stride, pad", [(4, 2, 0), (16, 8, 4), (3, 1, 1)])
def test_upsampling_back_and_forth_is_right_even_where_the_host_is_wrong_about_the_weights(gpu, kernel, stride, pad):
    geometry = ConvGeometry((kernel,) * 2, (stride,) * 2, (pad,) * 2, (1, 1))
    x, dense, diagonal = values(2, 3, 5, 4), values(3, 3, kernel, kernel), np.zeros((3, 3, kernel, kernel), np.float32)
    diagonal[range(3), range(3)] = dense[range(3), range(3)]
    spatial = geometry.in_size((5, 4))
    dy, w = values(2, 3, *spatial), gpu.asarray(diagonal)
    gx, gdy = gpu.asarray(x), gpu.asarray(dy)
    for weights in (diagonal, dense, diagonal):
        w[...] = gpu.asarray(weights)
        near(
            gpu.to_host(gpu.conv_backward_data(gx, w, geometry, spatial, diagonal=True)),
            generic.conv_backward_data(x, weights, geometry, spatial),
        )
        near(gpu.to_host(gpu.upsample_backward(gdy, w, geometry)), generic.conv_forward(dy, weights, None, geometry))


def test_whether_weights_are_diagonal_is_asked_without_waiting(gpu, monkeypatch):
    w = np.zeros((3, 3, 4, 4), np.float32)
    w[range(3), range(3)] = 1
    w = gpu.asarray(w)
    assert gpu.is_diagonal(w)  # the first question waits
    monkeypatch.setattr(shim.Copy, "ready", False)
    w[0, 1] = 1
    DeviceArray.waits = 0
    assert gpu.is_diagonal(w) and gpu.is_diagonal(w) and not DeviceArray.waits
    monkeypatch.setattr(shim.Copy, "ready", True)
    assert not gpu.is_diagonal(w)


def test_half_precision_is_that_of_numpy(gpu):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        exact, next_to = every.astype(np.float32), np.nextafter(every, np.float16(0)).astype(np.float32)
        between = 0.5 * exact + 0.5 * next_to  # ties
    numbers = np.concatenate([exact, between, values(20000) * np.float32(10) ** values(20000, seed=2)])
    image = NhwcLayout(gpu.runtime, fp16=True).tensor(gpu.asarray(numbers.reshape(1, 1, 1, -1)))
    with np.errstate(over="ignore"):
        expected = numbers.astype(np.float16)
    assert np.array_equal(gpu.to_host(image.array).ravel(), expected, equal_nan=True)
    assert np.array_equal(gpu.to_host(image).ravel(), expected.astype(np.float32), equal_nan=True)


def test_a_label_out_of_range_makes_the_loss_nan_and_the_net_names_it(gpu):
    net = Net(LOSS, backend=gpu)
    labels = np.zeros((1, 4, 5), np.float32)
    net.forward({"x": values(1, 3, 4, 5), "label": labels})
    assert np.isfinite(net.loss)
    labels[0, 2, 3] = 7
    net.forward({"label": labels})
    assert np.isnan(gpu.to_host(net.blobs["loss"]))
    with pytest.raises(LabelFault, match=r"4:1: layer 'loss' \(SoftmaxWithLoss\): label 7 at \(n, y, x\) \(0, 2, 3\)"):
        _ = net.loss


def test_a_launch_with_wrong_arguments_is_refused(gpu):
    x = gpu.asarray(values(4))
    for arguments in (
        [x, x, np.int64(4)],
        [x, x, np.int32(4), np.float32(0)],
        [x, np.float32(1), np.int64(4), x],
        [x, gpu.asarray(values(4), np.float64), np.int64(4), np.float32(0)],
    ):
        with pytest.raises(TypeError, match="kernel relu_forward"):
            gpu.runtime.launch("elementwise", "relu_forward", 4, *arguments)


def test_the_pretend_device_refuses_host_arrays(gpu):
    device, host = gpu.asarray(values(3)), values(3)
    for mixed in (lambda: device + host, lambda: host + device, lambda: np.asarray(device), lambda: device.dot(host)):
        with pytest.raises(TypeError):
            mixed()


def test_every_kernel_has_a_caller():
    """What nothing launches is not proven by the goldens: sweep.py and this folder launch all that is named."""
    named = {name for path in KERNELS.glob("*.cu") for name in signatures(path.stem)}
    backend = "".join(path.read_text() for path in KERNELS.parent.glob("*.py"))
    called = {name for name in named for stem in (name, name.removesuffix("_fp16")) if f'"{stem}"' in backend}
    assert named - called == set()


def test_no_two_kernels_have_one_name():
    """The runtime finds compiled kernels by name alone."""
    names = [name for path in KERNELS.glob("*.cu") for name in signatures(path.stem)]
    assert len(names) == len(set(names)) > 30
