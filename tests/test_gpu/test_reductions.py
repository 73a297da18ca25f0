"""The GPU backend's kernels that add up, compare or look up many values (regions, statistics of channels, softmax over
many classes, masks), run on the CPU, against the generic backend's meaning of each."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.gpu import GpuBackend
from tests.test_gpu import shim
from tests.test_gpu.device_array import DeviceArray
from tests.test_gpu.nhwc_cases import values
from tests.test_layers.building import build

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")

generic = make_backend("generic")


@pytest.fixture
def gpu():
    return GpuBackend(runtime=shim.ShimRuntime(), precision="fp32")


def near(got, expected, tolerance=1e-5):
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-30))


@pytest.mark.parametrize("shape", [(3, 5, 40, 50), (2, 4, 1, 1), (7, 3), (1, 2, 3, 4, 5), (2, 3, 0, 4)])
def test_statistics_of_channels(gpu, shape):
    """Far from 0 too; and the gradient through them."""
    x, dy = values(*shape) * 0.1 + 30, values(*shape, seed=4)
    mean, variance = (gpu.to_host(a) for a in gpu.moments(gpu.asarray(x)))
    exact = [a.astype(np.float32) for a in generic.moments(x.astype(np.float64))]
    near(mean, exact[0], 1e-6)
    near(variance, exact[1], 2e-4)
    scale = np.abs(values(shape[1])) + 0.5
    y = (x - 30) * 10
    dx = gpu.normalize_backward(gpu.asarray(dy), gpu.asarray(y), gpu.asarray(scale))
    near(gpu.to_host(dx), generic.normalize_backward(dy, y, scale))


@pytest.mark.parametrize("shape, axis", [((3, 300), 1), ((2, 5, 70), 2), ((1, 1000, 1, 1), 1), ((2, 70, 3), 1)])
def test_softmax_of_many_classes(gpu, shape, axis):
    """In rows, and not; a NaN makes its row NaN."""
    x = 30 * values(*shape)
    labels = np.random.default_rng(1).integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    near(gpu.to_host(gpu.softmax_forward(gpu.asarray(x), axis)), generic.softmax_forward(x, axis))
    taken, on_gpu = labels.astype(np.int32), gpu.asarray(labels, np.int32)
    (prob, loss, count), expected = (
        b.softmax_loss_forward(a, each, axis, 7) for b, a, each in ((gpu, gpu.asarray(x), on_gpu), (generic, x, taken))
    )
    near(gpu.to_host(prob), expected[0])
    assert abs(float(gpu.to_host(loss)) - float(expected[1])) < 1e-4 * abs(float(expected[1]))
    assert int(gpu.to_host(count)) == int(expected[2])
    dx = gpu.softmax_loss_backward(prob, on_gpu, axis, 7, 0.5)
    near(gpu.to_host(dx), generic.softmax_loss_backward(expected[0], taken, axis, 7, 0.5))
    x[(0,) * x.ndim] = np.nan
    with np.errstate(invalid="ignore"):
        expected = generic.softmax_forward(x, axis)
    assert np.array_equal(np.isnan(gpu.to_host(gpu.softmax_forward(gpu.asarray(x), axis))), np.isnan(expected))


def test_regions_are_pooled_as_on_the_host(gpu):
    """Windows of several regions that share pixels, some without any; regions of two images, and of none."""
    rng, host = np.random.default_rng(4), generic
    x, image = values(2, 12, 9, 7).round(1), rng.integers(0, 2, 15).astype(np.int32)
    first = [rng.integers(0, size, (15, cells)) for cells, size in ((3, 9), (2, 7))]
    bounds = [
        np.stack([at, np.minimum(at + rng.integers(0, 5, at.shape), size)], axis=-1).astype(np.int32)
        for at, size in zip(first, (9, 7), strict=True)
    ]
    weights = [values(15, 3, 9) * (rng.random((15, 3, 9)) < 0.3), values(15, 2, 7) * (rng.random((15, 2, 7)) < 0.3)]
    for count in (15, 0):
        where = image[:count], *(bound[:count] for bound in bounds)
        weighted = image[:count], *(weight[:count].astype(np.float32) for weight in weights)
        on_gpu, weighted_on_gpu = ([gpu.asarray(a, a.dtype) for a in arrays] for arrays in (where, weighted))
        y, index = gpu.region_max_forward(gpu.asarray(x), *on_gpu)
        expected, winners = host.region_max_forward(x, *where)
        assert np.array_equal(gpu.to_host(y), expected) and np.array_equal(gpu.to_host(index), winners)
        dy = values(count, 12, 3, 2)
        dx = gpu.region_max_backward(gpu.asarray(dy), index, on_gpu[0], x.shape)
        near(gpu.to_host(dx), host.region_max_backward(dy, winners, image[:count], x.shape))
        near(gpu.to_host(gpu.region_mean_forward(gpu.asarray(x), *on_gpu)), host.region_mean_forward(x, *where))
        mean = values(count, 2, 3, 2)
        dx = gpu.region_mean_backward(gpu.asarray(mean), *on_gpu, x.shape)
        near(gpu.to_host(dx), host.region_mean_backward(mean, *where, x.shape))
        y = gpu.region_weighted_forward(gpu.asarray(x), *weighted_on_gpu)
        near(gpu.to_host(y), host.region_weighted_forward(x, *weighted))
        dx = gpu.region_weighted_backward(gpu.asarray(dy), *weighted_on_gpu, x.shape)
        near(gpu.to_host(dx), host.region_weighted_backward(dy, *weighted, x.shape))


def test_a_mask_of_other_sizes_makes_nan(gpu):
    text = "type: 'Upsample' bottom: 'x' bottom: 'm' top: 'y' upsample_param { scale: 2 }"
    layer = build(text, (1, 1, 1, 2), (1, 1, 1, 2), dtype="float32")
    layer.be, x = gpu, gpu.asarray(np.array([[[[3.0, 4.0]]]], np.float32))
    for mask, expected in (([1, 6], [0, 3, 0, 0, 0, 0, 4, 0]), ([1, 8], [np.nan, np.nan, 0, 0, 0, 0, 0, 0])):
        DeviceArray.waits = 0
        (y,) = layer.forward([x, gpu.asarray(np.array(mask, np.float32).reshape(1, 1, 1, 2))])
        assert not DeviceArray.waits and np.array_equal(gpu.to_host(y).reshape(-1), expected, equal_nan=True)
