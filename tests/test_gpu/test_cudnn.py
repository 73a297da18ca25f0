"""Convolutions through cuDNN: the graphs for it, their layouts and types, and when heuristics are asked again."""

import sys

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.backend.gpu import GpuBackend
from tests.test_gpu import fake_cudnn, shim

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")
generic = make_backend("generic")
GEOMETRIES = {
    "3x3": (ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1)), (2, 4, 9, 7), 6),
    "pad 100": (ConvGeometry((3, 3), (1, 1), (100, 100), (1, 1)), (1, 3, 4, 5), 2),
    "stride, group": (ConvGeometry((5, 3), (2, 1), (2, 0), (1, 1), 2), (1, 4, 12, 9), 6),
    "dilated": (ConvGeometry((3, 3), (1, 1), (2, 2), (2, 2)), (1, 2, 8, 8), 3),
    "bilinear": (ConvGeometry((4, 4), (2, 2), (0, 0), (1, 1)), (1, 3, 12, 10), 3),
}


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", fake_cudnn)
    for refusals in ("refused_recipes", "failing_recipes", "hungry_recipes"):
        monkeypatch.setattr(fake_cudnn, refusals, set())
    fake_cudnn.counts.heuristics = fake_cudnn.counts.recipes = 0
    return lambda precision: GpuBackend(runtime=shim.CudnnRuntime(), precision=precision)


def values(shape, seed, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-6), ("tf32", 1e-6), ("fp16", 2e-3)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_three_directions(make, name, precision, tolerance):
    be = make(precision)
    geometry, shape, k = GEOMETRIES[name]
    x, w, b = values(shape, 1), values((k, shape[1] // geometry.group, *geometry.kernel), 2), values((k,), 3)
    dy = values((shape[0], k, *geometry.out_size(shape[2:])), 4, scale=1e-9)  # far below fp16's smallest value
    gx, gw, gb, gdy = (be.asarray(a) for a in (x, w, b, dy))

    def near(got, expected):
        got = be.to_host(got)
        assert got.dtype == np.float32 and got.shape == expected.shape
        assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()

    near(be.conv_forward(gx, gw, gb, geometry), generic.conv_forward(x, w, b, geometry))
    near(be.conv_forward(gx, gw, None, geometry, 0.0), generic.conv_forward(x, w, None, geometry, 0.0))
    near(be.conv_forward(gx, gw, gb, geometry, 0.25), generic.conv_forward(x, w, b, geometry, 0.25))
    residual = dy * np.float32(1e9)
    expected = generic.conv_forward(x, w, b, geometry, 0.0, residual=residual)
    near(be.conv_forward(gx, gw, gb, geometry, 0.0, residual=be.asarray(residual)), expected)
    expected = generic.conv_backward_data(dy, w, geometry, shape[2:])
    near(be.conv_backward_data(gdy, gw, geometry, shape[2:]), expected)
    dw, gdw = np.zeros_like(w), be.zeros(w.shape)
    generic.conv_backward_weights(x, dy, geometry, dw)
    be.conv_backward_weights(gx, gdy, geometry, gdw)
    near(gdw, dw)


def test_a_new_image_size_takes_over_the_engine(make):
    be = make("tf32")
    geometry, shape, k = GEOMETRIES["3x3"]
    w = be.asarray(values((k, shape[1], 3, 3), 2))
    for size in (9, 10, 11, 9, 10):
        be.conv_forward(be.asarray(values((1, 4, size, 7), 1)), w, None, geometry)
    assert (fake_cudnn.counts.heuristics, fake_cudnn.counts.recipes) == (1, 2)  # repeated sizes build nothing
    refusals = (fake_cudnn.refused_recipes, fake_cudnn.failing_recipes, fake_cudnn.hungry_recipes)
    for number, refused in enumerate(refusals):
        refused.add((1, k, 12 + number, 7))
        be.conv_forward(be.asarray(values((1, 4, 12 + number, 7), 1)), w, None, geometry)
        assert fake_cudnn.counts.heuristics == 2 + number  # the engine refused this size


def test_backends_of_a_thread_share_a_handle(make):
    first, second = make("tf32"), make("fp32")
    assert first.cudnn.planner.handle is second.cudnn.planner.handle
    assert fake_cudnn.counts.handles <= 1


def test_strict_precision_turns_the_tensor_cores_off(make):
    notes = {}
    for precision in ("fp32", "tf32", "fp16"):
        be = make(precision)
        geometry, shape, k = GEOMETRIES["3x3"]
        be.conv_forward(be.asarray(values(shape, 1)), be.asarray(values((k, shape[1], 3, 3), 2)), None, geometry)
        (plan,) = be.cudnn.planner.plans.values()
        notes[precision] = getattr(plan.graph, "notes", [])
    assert notes == {"fp32": [1, 2, 4], "tf32": [], "fp16": []}


@pytest.mark.parametrize("precision, engine", [("fp32", 7), ("tf32", 51)])
def test_a_new_size_takes_over_the_engine_that_was_chosen(make, precision, engine):
    """Not the first of the list, which strict precision has deselected."""
    be = make(precision)
    geometry, shape, k = GEOMETRIES["3x3"]
    w = be.asarray(values((k, shape[1], 3, 3), 2))
    for size in (9, 10):
        be.conv_forward(be.asarray(values((1, 4, size, 7), 1)), w, None, geometry)
    first, second = be.cudnn.planner.plans.values()
    assert second.graph.recipe == engine and first.name.startswith(f"eng{engine}_")


def test_winograd_s_engines_are_refused_where_they_lose_digits(make):
    """For kernels beyond 3x3."""
    be, refused = make("fp32"), {}
    for name, (geometry, shape, k) in GEOMETRIES.items():
        dw = be.zeros((k, shape[1] // geometry.group, *geometry.kernel))
        dy = be.asarray(values((shape[0], k, *geometry.out_size(shape[2:])), 2))
        be.conv_backward_weights(be.asarray(values(shape, 1)), dy, geometry, dw)
        plan = list(be.cudnn.planner.plans.values())[-1]
        refused[name] = max(geometry.kernel), getattr(plan.graph, "refused", []), 5 in plan.graph.notes
    assert any(reach > 3 for reach, *_ in refused.values()) and refused["3x3"] == (3, [], False)
    for reach, engines, winograd in refused.values():
        assert (engines, winograd) == ((["eng17"], True) if reach > 3 else ([], False))


def test_only_so_many_plans_are_kept(make, monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.gpu.cudnn_plans.MAX_PLANS", 8)
    be = make("tf32")
    geometry, shape, k = GEOMETRIES["3x3"]
    w, planner = be.asarray(values((k, shape[1], 3, 3), 2)), be.cudnn.planner
    for size in (*range(9, 17), 9, 17):
        be.conv_forward(be.asarray(values((1, 4, size, 7), 1)), w, None, geometry)
    sizes = {image[2] for _, image in planner.plans}
    assert sizes == {13, 14, 15, 16, 9, 17} and planner.heuristic_builds == 1


def test_half_precision_neither_overflows_nor_vanishes(make):
    """Sums of 14,400 products of values far from 1, all of one sign; in fp16's own range they would be infinite."""
    be = make("fp16")
    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    x, dy = np.full((1, 2, 120, 120), 3000, np.float32), np.full((1, 3, 120, 120), 2e-9, np.float32)
    dw, gdw = np.zeros((3, 2, 3, 3), np.float32), be.zeros((3, 2, 3, 3))
    generic.conv_backward_weights(x, dy, geometry, dw)
    be.conv_backward_weights(be.asarray(x), be.asarray(dy), geometry, gdw)
    assert np.abs(be.to_host(gdw) - dw).max() <= 2e-3 * dw.max()


def test_both_ways_back_convert_the_gradient_once(make):
    be = make("fp16")
    geometry, shape, k = GEOMETRIES["3x3"]
    x, w, dw = be.asarray(values(shape, 1)), be.asarray(values((k, shape[1], 3, 3), 2)), be.zeros((k, shape[1], 3, 3))
    dy = be.asarray(values((shape[0], k, *shape[2:]), 4))
    be.runtime.launches.clear()
    dx = be.conv_backward(x, dy, w, geometry, dw, True)
    count = be.runtime.launches.count
    assert count("largest") == 2 and count("to_nhwc_fp16") == 3  # x, dy and w
    assert np.array_equal(be.to_host(dx), be.to_host(be.conv_backward_data(dy, w, geometry, shape[2:])))
    assert be.cudnn._gradient is None


def test_frozen_weights_are_converted_once(make):
    be = make("fp16")
    geometry, shape, k = GEOMETRIES["3x3"]
    x, w = be.asarray(values(shape, 1)), be.asarray(values((k, shape[1], 3, 3), 2))
    before = be.to_host(be.conv_forward(x, w, None, geometry))
    be.runtime.launches.clear()
    with be.frozen_weights(), be.frozen_weights():
        for _ in range(3):
            assert np.array_equal(be.to_host(be.conv_forward(x, w, None, geometry)), before)
    assert be.runtime.launches.count("to_nhwc_fp16") == 4  # three tensors
    w *= 2
    doubled = be.to_host(be.conv_forward(x, w, None, geometry))
    assert np.array_equal(doubled, 2 * before)  # nothing was kept


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_weights_that_come_and_go_while_others_are_frozen_are_not_mixed_up(make, precision):
    """The device gives the memory of an array that is gone to the next one."""
    be = make(precision)
    geometry, shape, k = GEOMETRIES["3x3"]
    x = be.asarray(values(shape, 1))
    with be.frozen_weights():
        for seed in range(4):
            w = values((k, shape[1], 3, 3), seed)
            got = be.to_host(be.conv_forward(x, be.asarray(w), None, geometry))
            expected = generic.conv_forward(values(shape, 1), w, None, geometry)
            assert np.abs(got - expected).max() <= 2e-3 * np.abs(expected).max()
