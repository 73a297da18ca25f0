"""Every specimen through every clause of the layers' contract (see harness.py)."""

import functools
from contextlib import suppress

import numpy as np
import pytest

from demitasse.layers.layer import layer_types
from demitasse.proto.errors import NetError
from tests.test_layers.harness import Bench, gradient_error, is_random, specimens

# Types without arithmetic of their own that a specimen could check: they read files, or run the user's Python.
WITHOUT_SPECIMEN = {
    "AnnotatedData",
    "BitsData",
    "BlackpointData",
    "CPMData",
    "CityscapesData",
    "CvpppData",
    "Data",
    "DataTemporal",
    "DenseImageData",
    "DetectionData",
    "DummyData",
    "EvalData",
    "FLOWriter",
    "FloData",
    "HDF5Data",
    "HDF5Output",
    "ImageData",
    "ImageGtData",
    "ImageLabelData",
    "ImageLabelmapData",
    "ImageSegData",
    "Input",
    "LaneData",
    "MatWrite",
    "MemoryLoss",
    "MemoryData",
    "Python",
    "TokenizedData",
    "VideoData",
    "VideoSegmentationData",
    "VideoWithVoxelTruthData",
    "VocData",
    "WindowData",
}


def differentiable(bench):
    return bool(bench.dys) and (any(bench.need) or bool(bench.learned))


def each(specimens):
    return pytest.mark.parametrize("specimen", specimens, ids=lambda specimen: specimen.name)


met = {}  # (specimen's name, condition): whether it holds


def meets(specimen, condition):
    """Whether its bench meets a condition; one that cannot be built does, to fail in its test."""
    key = specimen.name, condition
    if key not in met:
        try:
            met[key] = condition(Bench(specimen))
        except Exception:
            met[key] = True
    return met[key]


def those(condition):
    """A decorator: the test runs for the specimens whose bench meets a condition.

    That is found out when the test runs, so that nothing is built while tests are collected; how many of them there
    are is held by a test of its own.
    """

    def decorate(test):
        @every_specimen
        @functools.wraps(test)
        def where_it_is_met(specimen, **fixtures):
            if meets(specimen, condition):
                test(specimen, **fixtures)

        return where_it_is_met

    return decorate


def learns(bench):
    return bool(bench.learned)


def has_gradients_of_many_tops(bench):
    return differentiable(bench) and len(bench.dys) > 1


def draws(bench):
    """Backends draw different numbers."""
    return is_random(bench.specimen)


def draws_nothing(bench):
    return not is_random(bench.specimen)


every_specimen = each(specimens())
those_with_gradients = those(differentiable)


@pytest.mark.parametrize(
    "condition, least",
    [(differentiable, 150), (learns, 30), (has_gradients_of_many_tops, 10), (draws, 5), (draws_nothing, 200)],
)
def test_many_specimens_meet_each_condition(condition, least):
    assert sum(meets(specimen, condition) for specimen in specimens()) >= least


def copies(arrays):
    return [array.copy() for array in arrays]


def test_every_computing_type_has_specimens():
    assert set(layer_types()) - WITHOUT_SPECIMEN == {s.spec.type for s in specimens()} - WITHOUT_SPECIMEN


@every_specimen
def test_forward_gives_the_inferred_shapes_and_harms_no_bottom(specimen):
    bench = Bench(specimen)
    before = copies(bench.xs)
    tops = bench.forward()
    assert [top.shape for top in tops] == bench.top_shapes
    assert all(np.array_equal(x, old, equal_nan=True) for x, old in zip(bench.xs, before, strict=True))
    assert not any(np.shares_memory(top, x) and top.size != x.size for top in tops for x in bench.xs), (
        "a top that shares a bottom's memory must be the bottom itself, or a reshaped view nobody writes"
    )


def halved(specimen):
    """The specimen with bottoms whose images are half as large."""
    return specimen.with_shapes(lambda shape: (*shape[:2], *(max(1, n // 2) for n in shape[2:])))


def contents(layer):
    """What a layer and its params hold: equal before and after, if nothing was written in between."""
    holders = [layer, *layer.params]
    return [{name: (id(value), repr(value)) for name, value in vars(holder).items()} for holder in holders]


@every_specimen
def test_infer_writes_nothing(specimen):
    bench = Bench(specimen)
    tops = copies(bench.forward())
    before = contents(bench.layer)
    for other in (specimen, halved(specimen), specimen):
        with suppress(NetError):
            bench.layer.infer([i.shape for i in other.inputs])
        assert contents(bench.layer) == before
    bench.layer.infer([i.shape for i in specimen.inputs])
    for top, same in zip(bench.forward(), tops, strict=True):
        assert np.array_equal(top, same, equal_nan=True)


@those_with_gradients
def test_gradients_are_derivatives(specimen):
    bench = Bench(specimen)
    assert gradient_error(bench) < 1e-6


@those_with_gradients
def test_backward_harms_nothing_and_keeps_to_what_is_needed(specimen):
    bench = Bench(specimen)
    tops = bench.forward()
    kept = copies([*bench.xs, *tops, *bench.dys])
    full = bench.backward()
    assert [dx is not None for dx in full] == bench.need
    assert [dx.shape for dx in full if dx is not None] == [
        x.shape for x, n in zip(bench.xs, bench.need, strict=True) if n
    ]
    for array, old in zip([*bench.xs, *tops, *bench.dys], kept, strict=True):
        assert np.array_equal(array, old, equal_nan=True)
    for i, needed in enumerate(bench.need):
        if needed:
            only = bench.backward([j == i for j in range(len(bench.need))])
            assert [dx is not None for dx in only] == [j == i for j in range(len(bench.need))]
            assert np.array_equal(only[i], full[i], equal_nan=True)
    assert bench.backward([False] * len(bench.need)) == [None] * len(bench.need)


@those(learns)
def test_parameter_gradients_accumulate_and_frozen_ones_are_skipped(specimen):
    bench = Bench(specimen)
    bench.forward()
    full = bench.backward()
    once = copies([param.grad for param in bench.learned])
    bench.backward()
    for param, grad in zip(bench.learned, once, strict=True):
        np.testing.assert_allclose(param.grad, 2 * grad, rtol=1e-12, atol=1e-12)
    frozen = Bench(specimen, grads=False)
    frozen.forward()
    for dx, same in zip(frozen.backward(), full, strict=True):
        assert (dx is None and same is None) or np.array_equal(dx, same, equal_nan=True)


@those(has_gradients_of_many_tops)
def test_a_missing_top_gradient_counts_as_zero(specimen):
    bench = Bench(specimen)
    bench.forward()
    for i in range(len(bench.dys)):
        bench.dys = [dy if j != i else np.zeros_like(dy) for j, dy in enumerate(bench.dys)]
        zero = bench.backward()
        bench.dys[i] = None
        for dx, same in zip(bench.backward(), zero, strict=True):
            assert np.array_equal(dx, same, equal_nan=True) if dx is not None else same is None or not same.any()
        bench = Bench(specimen)
        bench.forward()


@every_specimen
def test_float32_stays_float32_and_agrees_with_float64(specimen):
    single, double = Bench(specimen, dtype="float32"), Bench(specimen)
    tops, exact = single.forward(), double.forward()
    results = list(zip(tops, exact, strict=True))
    if differentiable(single):
        results += [pair for pair in zip(single.backward(), double.backward(), strict=True) if pair[0] is not None]
        results += [(a.grad, b.grad) for a, b in zip(single.learned, double.learned, strict=True)]
    for array, _ in results:
        assert array.dtype == np.float32
    if meets(specimen, draws_nothing):
        assert_near(results)


def assert_near(pairs, tolerance=1e-4):
    for array, exact in pairs:
        largest = np.abs(exact).max(initial=0)
        np.testing.assert_allclose(array, exact, rtol=0, atol=tolerance * max(largest, 1e-3))


@every_specimen
def test_nothing_is_saved_when_no_backward_comes(specimen):
    bench = Bench(specimen)
    tops = bench.forward()
    bench.layer.saved, bench.layer.keep = None, False
    for top, same in zip(bench.forward(), tops, strict=True):
        assert np.array_equal(top, same, equal_nan=True)
    assert bench.layer.saved is None


def empty_batch(specimen):
    if not specimen.inputs or not specimen.inputs[0].shape:
        return specimen
    batch = specimen.inputs[0].shape[0]
    return specimen.with_shapes(lambda shape: (0, *shape[1:]) if shape and shape[0] == batch else shape)


def one_pixel(specimen):
    return specimen.with_shapes(lambda shape: (*shape[:2], *[1] * (len(shape) - 2)))


@every_specimen
@pytest.mark.parametrize("change", [empty_batch, one_pixel])
def test_smallest_inputs_work_or_are_refused(specimen, change):
    try:
        bench = Bench(change(specimen))
        tops = bench.forward()
    except NetError:
        return
    assert [top.shape for top in tops] == bench.top_shapes
    if differentiable(bench):
        for dx, x in zip(bench.backward(), bench.xs, strict=True):
            assert dx is None or dx.shape == x.shape
        assert all(np.isfinite(param.grad).all() for param in bench.learned)


@those(draws_nothing)
def test_backends_agree(specimen, backend_name, be):
    reference = Bench(specimen)
    bench = Bench(specimen, backend="generic", dtype="float32")
    bench.be = bench.layer.be = be
    bench.xs, bench.dys = ([be.asarray(a) for a in arrays] for arrays in (bench.xs, bench.dys))
    for param in bench.layer.params:
        param.data = be.asarray(param.data)
        param.grad = None if param.grad is None else be.zeros(param.shape)
    results = list(zip(bench.forward(), reference.forward(), strict=True))
    if differentiable(bench):
        results += [pair for pair in zip(bench.backward(), reference.backward(), strict=True) if pair[0] is not None]
        results += [(a.grad, b.grad) for a, b in zip(bench.learned, reference.learned, strict=True)]
    assert_near([(be.to_host(array), exact) for array, exact in results])
