"""The CPU's primitives against their meaning in float64, at shapes that nobody has thought of; and the geometries."""

import functools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from tests.properties import few

sizes, counts = st.integers(1, 40), st.integers(1, 9)


@functools.cache
def backends():
    """(the meaning in float64, [the CPU's own, exact too])."""
    return make_backend("generic", dtype="float64"), [make_backend("cpu"), make_backend("cpu", exact=True)]


@st.composite
def convolutions(draw):
    """(x's shape, w's shape, geometry) of a convolution that fits its image."""
    axes = [draw(st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 8), st.integers(1, 2))) for _ in "hw"]
    if draw(st.booleans()):
        axes[1] = axes[0]
    group = draw(st.integers(1, 3))
    geom = ConvGeometry(*map(tuple, zip(*axes, strict=True)), group)
    spatial = draw(st.tuples(sizes, sizes))
    assume(min(geom.out_size(spatial)) >= 1)
    n, c, k = draw(st.integers(1, 2)), group * draw(st.integers(1, 20)), group * draw(st.integers(1, 20))
    return (n, c, *spatial), (k, c // group, *geom.kernel), geom


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_near(ours, exact, tolerance):
    assert ours.dtype == np.float32 and ours.shape == exact.shape
    np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance * max(np.abs(exact).max(initial=0), 1e-3))


@few(60)
@given(convolutions(), st.sampled_from([None, 0.0, 0.1]))
def test_convolutions(case, relu):
    x_shape, w_shape, geom = case
    x, w, b = random(0, *x_shape), random(1, *w_shape), random(2, w_shape[0])
    dy = random(3, x_shape[0], w_shape[0], *geom.out_size(x_shape[2:]))
    meaning, own = backends()

    def results(be, dtype):
        arrays = [a.astype(dtype) for a in (x, w, b, dy)]
        dw = np.zeros(w_shape, dtype)
        be.conv_backward_weights(arrays[0], arrays[3], geom, dw)
        return (
            be.conv_forward(*arrays[:3], geom, relu),
            be.conv_backward_data(arrays[3], arrays[1], geom, x_shape[2:]),
            dw,
        )

    exact = results(meaning, np.float64)
    for be, tolerance in zip(own, (1e-4, 1e-5), strict=True):
        for array, wanted in zip(results(be, np.float32), exact, strict=True):
            assert_near(array, wanted, tolerance)


@few(80)
@given(convolutions())
def test_out_size_counts_the_places_of_the_window(case):
    x_shape, _, geom = case
    for axis, (n, out) in enumerate(zip(x_shape[2:], geom.out_size(x_shape[2:]), strict=True)):
        reach = geom.dilation[axis] * (geom.kernel[axis] - 1)
        last = n + 2 * geom.pad[axis] - 1
        assert out == sum(start + reach <= last for start in range(0, last + 1, geom.stride[axis]))


@few(80)
@given(convolutions())
def test_a_transposed_convolution_s_size_is_the_smallest_that_the_convolution_brings_back(case):
    _, w_shape, geom = case
    out = (5, 4)
    wanted = geom.in_size(out)
    assume(min(wanted) >= 1)
    assert geom.out_size(wanted) == out
    assert all(small < large for small, large in zip(geom.out_size([n - 1 for n in wanted]), out, strict=True))


@few(60)
@given(convolutions())
def test_im2col_and_col2im_are_adjoint(case):
    """<im2col x, c> = <x, col2im c> for every x and c."""
    x_shape, _, geom = case
    meaning, _ = backends()
    x = random(0, *x_shape).astype(np.float64)
    cols = meaning.im2col(x, geom)
    other = random(1, *cols.shape).astype(np.float64)
    back = meaning.col2im(other, geom, x_shape[1], x_shape[2:])
    assert np.vdot(cols, other) == pytest.approx(np.vdot(x, back), rel=1e-9, abs=1e-9)


@st.composite
def poolings(draw):
    """(x's shape, geometry), by Caffe's rule for the output's size: ceil, and no window that begins in the pad."""
    windows = [draw(st.tuples(st.integers(1, 5), st.integers(1, 4))) for _ in "hw"]
    spatial = draw(st.tuples(sizes, sizes))
    kernel, stride = map(tuple, zip(*windows, strict=True))
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    assume(all(n + 2 * p >= k for n, k, p in zip(spatial, kernel, pad, strict=True)))
    out = []
    for n, k, s, p in zip(spatial, kernel, stride, pad, strict=True):
        size = -(-(n + 2 * p - k) // s) + 1
        out.append(size - (p > 0 and (size - 1) * s >= n + p))
    return (draw(st.integers(1, 2)), draw(counts), *spatial), PoolGeometry(kernel, stride, pad, tuple(out))


@few(80)
@given(poolings())
def test_pooling(case):
    x_shape, geom = case
    x, dy = random(0, *x_shape), random(1, *x_shape[:2], *geom.out)
    meaning, (own, _) = backends()
    y, index = own.max_pool_forward(x, geom)
    wanted, where = meaning.max_pool_forward(x.astype(np.float64), geom)
    assert np.array_equal(index, where) and np.array_equal(y, wanted.astype(np.float32))
    assert np.array_equal(own.max_pool(x, geom), y)
    assert_near(
        own.max_pool_backward(dy, index, geom, x_shape[2:]),
        meaning.max_pool_backward(dy.astype(np.float64), where, geom, x_shape[2:]),
        1e-6,
    )
    assert_near(own.ave_pool_forward(x, geom), meaning.ave_pool_forward(x.astype(np.float64), geom), 1e-5)
    assert_near(
        own.ave_pool_backward(dy, geom, x_shape[2:]),
        meaning.ave_pool_backward(dy.astype(np.float64), geom, x_shape[2:]),
        1e-5,
    )


@few(60)
@given(st.lists(sizes, min_size=2, max_size=4), st.sampled_from([0.0, 0.1, -0.5]), st.integers(0, 5))
def test_elementwise_norms_and_losses(shape, slope, seed):
    x, dy = random(seed, *shape), random(seed + 1, *shape)
    classes = shape[1]
    labels = np.random.default_rng(seed).integers(0, classes, (shape[0], 1, *shape[2:]))
    labels[np.random.default_rng(seed + 9).random(labels.shape) < 0.2] = 255
    meaning, (own, _) = backends()

    def results(be, x, dy):
        y = be.softmax_forward(x, 1)
        prob, loss, valid = be.softmax_loss_forward(x, labels, 1, 255)
        mean, variance = be.moments(x)
        dscale, dshift = variance.copy(), mean.copy()
        return [
            be.affine_backward(dy, x, mean, dscale, dshift, y, slope),
            dscale,
            dshift,
            be.affine_backward(dy, None, None, None, None, x, 0.0),
            be.normalize_backward(dy, be.affine(x, mean, variance, None), variance),
            be.relu_forward(x, slope),
            be.relu_backward(dy, x, slope),
            be.sigmoid(x),
            y,
            be.softmax_backward(dy, y, 1),
            be.affine(x, mean, 1 / np.sqrt(variance + 1), mean),
            be.affine(x, mean, 1 / np.sqrt(variance + 1), mean, slope),
            be.weighted_sum([x, dy], [1, -0.5]),
            be.weighted_sum([x, dy], [2, 1], slope),
            mean,
            variance,
            be.softmax_loss_backward(prob, labels, 1, 255, 0.5),
            np.asarray([loss, valid], x.dtype),
        ]

    exact = results(meaning, x.astype(np.float64), dy.astype(np.float64))
    for array, wanted in zip(results(own, x, dy), exact, strict=True):
        assert_near(array, wanted, 1e-4)
