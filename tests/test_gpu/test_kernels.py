"""The GPU backend's own kernels, run on the CPU, against the generic backend's meaning of each primitive."""

import numpy as np
import pytest

from layers.backend import make_backend
from layers.backend.base import ConvGeometry, PoolGeometry
from layers.backend.gpu import GpuBackend
from layers.backend.gpu_runtime import KERNELS
from proto.errors import LabelFault
from tests.test_gpu import shim

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")


@pytest.fixture
def gpu():
    backend = GpuBackend(runtime=shim.ShimRuntime(), precision="fp32")
    backend.seed(5)
    return backend


generic = make_backend("generic")


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
    monkeypatch.setattr("layers.backend.gpu.COLUMN_BYTES", 3000)
    geometry = ConvGeometry((3, 3), (2, 1), (1, 2), (1, 2), 2)
    x, w, b = values(2, 4, 9, 11), values(6, 2, 3, 3), values(6)
    out = geometry.out_size(x.shape[2:])
    dy, dw, expected_dw = values(2, 6, *out), values(6, 2, 3, 3), values(6, 2, 3, 3)
    gx, gw, gdy, gdw = (gpu.asarray(a) for a in (x, w, dy, dw))
    near(
        gpu.to_host(gpu.conv_forward(gx, gw, gpu.asarray(b), geometry, 0.0)),
        generic.conv_forward(x, w, b, geometry, 0.0),
    )
    near(gpu.to_host(gpu.conv_backward_data(gdy, gw, geometry, x.shape[2:])),
         generic.conv_backward_data(dy, w, geometry, x.shape[2:]))  # fmt: skip
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
def test_sgd_update(gpu, l1):
    ours, theirs = [values(1000, seed=s) for s in (1, 2, 3)], [gpu.asarray(values(1000, seed=s)) for s in (1, 2, 3)]
    generic.sgd_update(*ours, 0.1, 0.9, 0.01, l1)
    gpu.sgd_update(*theirs, 0.1, 0.9, 0.01, l1)
    for a, b in zip(ours, theirs, strict=True):
        near(gpu.to_host(b), a)


def test_a_label_out_of_range_is_named(gpu):
    labels = np.zeros((1, 4, 5), np.int32)
    labels[0, 2, 3] = 7
    with pytest.raises(LabelFault, match=r"label 7 at \(n, y, x\) \(0, 2, 3\)"):
        gpu.softmax_loss_forward(gpu.asarray(values(1, 3, 4, 5)), gpu.asarray(labels, np.int32), 1, 255)


def test_the_pretend_device_refuses_host_arrays(gpu):
    device, host = gpu.asarray(values(3)), values(3)
    for mixed in (lambda: device + host, lambda: host + device, lambda: np.asarray(device), lambda: device.dot(host)):
        with pytest.raises(TypeError):
            mixed()


def test_every_kernel_has_a_caller():
    """What nothing launches is not proven by the goldens: sweep.py and this file launch all that gpu.py names."""
    named = {name for path in KERNELS.glob("*.cu") for name in shim.kernels(path.read_text())}
    backend = (KERNELS.parent / "gpu.py").read_text()
    assert {name for name in named if f'"{name}"' not in backend} == set()
