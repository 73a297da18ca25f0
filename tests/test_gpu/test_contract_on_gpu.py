"""The layers' contract on the GPU backend with its kernels run on the CPU (a GPU runs test_contract.py itself)."""

import functools

import numpy as np
import pytest

from demitasse.layers.backend.gpu import GpuBackend
from tests.test_gpu import shim
from tests.test_layers import test_contract as contract
from tests.test_layers.harness import Bench, specimens

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")


@functools.cache
def pretend_gpu():
    return GpuBackend(runtime=shim.ShimRuntime(), precision="fp32")


def on_gpu(specimen, be=None):
    """A specimen's bench, moved to a backend; None: the pretend device."""
    bench, be = Bench(specimen, dtype="float32"), be or pretend_gpu()
    bench.be = bench.layer.be = be
    bench.xs, bench.dys = ([be.asarray(a) for a in arrays] for arrays in (bench.xs, bench.dys))
    for param in bench.layer.params:
        param.data = be.asarray(param.data)
        param.grad = None if param.grad is None else be.zeros(param.shape)
    return bench


@contract.those(contract.draws_nothing)
def test_agrees_with_float64(specimen):
    bench, reference = on_gpu(specimen), Bench(specimen)
    results = list(zip(bench.forward(), reference.forward(), strict=True))
    if contract.differentiable(bench):
        results += [pair for pair in zip(bench.backward(), reference.backward(), strict=True) if pair[0] is not None]
        results += [(a.grad, b.grad) for a, b in zip(bench.learned, reference.learned, strict=True)]
    assert all(array.dtype == np.float32 for array, _ in results)
    contract.assert_near([(pretend_gpu().to_host(array), exact) for array, exact in results])


@contract.those(contract.draws)
def test_random_layers_draw_again_from_the_same_seed(specimen):
    bench = on_gpu(specimen)
    first, second, other = ([pretend_gpu().to_host(top) for top in bench.forward(seed)] for seed in (3, 3, 4))
    for array, same in zip(first, second, strict=True):
        assert array.dtype == np.float32 and np.array_equal(array, same)
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert [dx is not None for dx in bench.backward()] == bench.need


@contract.each([specimen for specimen in specimens() if specimen.inputs])
@pytest.mark.parametrize("change", [contract.empty_batch, contract.one_pixel])
def test_smallest_inputs(specimen, change):
    """What works on the host works on the device."""
    try:
        bench = Bench(change(specimen))
        bench.forward()
    except Exception:
        return
    bench = on_gpu(change(specimen))
    assert [top.shape for top in bench.forward()] == bench.top_shapes
    if contract.differentiable(bench):
        for dx, x in zip(bench.backward(), bench.xs, strict=True):
            assert dx is None or dx.shape == x.shape
