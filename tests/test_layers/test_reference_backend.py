"""The primitives of the reference, where the layers' goldens do not reach."""

import json

import numpy as np
import pytest

from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.reference import ReferenceBackend
from demitasse.layers.backend.update_program import UpdateProgram, UpdateStep, UpdateTensor
from demitasse.proto.errors import LabelFault


@pytest.fixture
def be():
    backend = ReferenceBackend("float64")
    backend.seed(0)
    return backend


def naive_convolution(x, w, geom):
    """By its definition, one product at a time (one group, two axes)."""
    n, (k, _, kh, kw) = len(x), w.shape
    padded = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in geom.pad]])
    y = np.zeros((n, k, *geom.out_size(x.shape[2:])))
    for i, j in np.ndindex(*y.shape[2:]):
        for a, b in np.ndindex(kh, kw):
            row, column = i * geom.stride[0] + a * geom.dilation[0], j * geom.stride[1] + b * geom.dilation[1]
            y[:, :, i, j] += padded[:, :, row, column] @ w[:, :, a, b].T
    return y


GEOMETRIES = [
    ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1)),
    ConvGeometry((3, 2), (2, 3), (0, 2), (2, 1)),
    ConvGeometry((1, 1), (1, 1), (0, 0), (1, 1)),
    ConvGeometry((1, 1), (2, 1), (1, 0), (1, 1)),
    ConvGeometry((7, 9), (1, 1), (0, 0), (1, 1)),
]


@pytest.mark.parametrize("geom", GEOMETRIES, ids=str)
def test_convolution_is_its_definition_and_its_gradients_are_adjoint(be, geom):
    x, w = be.rng.standard_normal((2, 3, 7, 9)), be.rng.standard_normal((4, 3, *geom.kernel))
    y = be.conv_forward(x, w, None, geom)
    np.testing.assert_allclose(y, naive_convolution(x, w, geom), atol=1e-12)
    dy, dw = be.rng.standard_normal(y.shape), np.zeros_like(w)
    dx = be.conv_backward_data(dy, w, geom, x.shape[2:])
    be.conv_backward_weights(x, dy, geom, dw)
    assert (x * dx).sum() == pytest.approx((y * dy).sum())
    assert (w * dw).sum() == pytest.approx((y * dy).sum())


@pytest.mark.parametrize("geom", GEOMETRIES, ids=str)
def test_col2im_is_im2col_turned_round(be, geom):
    x = be.rng.standard_normal((2, 3, 7, 9))
    cols = be.im2col(x, geom)
    other = be.rng.standard_normal(cols.shape)
    assert (cols * other).sum() == pytest.approx((x * be.col2im(other, geom, 3, (7, 9))).sum())


def test_diagonal_weights_give_the_same_by_either_way(be):
    geom, w = ConvGeometry((4, 4), (2, 2), (1, 1), (1, 1)), np.zeros((3, 3, 4, 4))
    w[range(3), range(3)] = be.rng.standard_normal((3, 4, 4))
    assert be.is_diagonal(w)
    dy, b = be.rng.standard_normal((2, 3, 5, 6)), be.rng.standard_normal(3)
    dense, alone = (be.conv_backward_data(dy, w, geom, (10, 12), b, 0.1, diagonal=d) for d in (False, True))
    np.testing.assert_allclose(alone, dense, atol=1e-12)
    w[2, 1, 3, 3] = 1e-30
    assert not be.is_diagonal(w)


def test_matmul_writes_adds_and_transposes(be):
    a, b, out = be.rng.standard_normal((2, 3)), be.rng.standard_normal((4, 3)), np.ones((2, 4))
    assert be.matmul(a, b, out=out, add=True, tb=True) is out
    np.testing.assert_allclose(out, 1 + a @ b.T)
    be.matmul(np.ascontiguousarray(a.T), b, out=out, ta=True, tb=True)
    np.testing.assert_allclose(out, a @ b.T)


def test_relu_keeps_nan(be):
    x = np.array([np.nan, -1.0, 0.0, 2.0])
    np.testing.assert_array_equal(be.relu_forward(x, 0), [np.nan, 0, 0, 2])
    np.testing.assert_array_equal(be.relu_forward(x, 0.5), [np.nan, -0.5, 0, 2])
    np.testing.assert_array_equal(be.relu_backward(np.ones(4), x, 0.5), [0.5, 0.5, 0.5, 1])


def test_max_pooling_ignores_nan_and_takes_the_first_of_equals(be):
    x = np.array([[[[np.nan, 3, 3], [1, 3, np.nan], [np.nan] * 3, [np.nan] * 3]]])
    y, index = be.max_pool_forward(x, PoolGeometry((2, 3), (2, 3), (0, 0), (2, 1)))
    assert y[0, 0, 0, 0] == 3 and index[0, 0, 0, 0] == 1
    assert y[0, 0, 1, 0] == np.finfo(np.float64).min and index[0, 0, 1, 0] == -1  # nothing but NaN
    dx = be.max_pool_backward(np.ones_like(y), index, PoolGeometry((2, 3), (2, 3), (0, 0), (2, 1)), (4, 3))
    assert dx[0, 0, 0, 1] == 1 == dx.sum()


def test_a_window_without_pixels_pools_to_zero(be):
    x, geom = be.rng.standard_normal((1, 2, 6, 6)) - 5, PoolGeometry((1, 1), (2, 2), (0, 0), (4, 4))
    for y in (be.max_pool_forward(x, geom)[0], be.ave_pool_forward(x, geom)):
        np.testing.assert_array_equal(y[:, :, :3, :3], x[:, :, ::2, ::2])
        assert not y[:, :, 3].any() and not y[:, :, :, 3].any()
    dy = np.ones((1, 2, 4, 4))
    assert be.ave_pool_backward(dy, geom, (6, 6)).sum() == 2 * 9
    assert be.max_pool_backward(dy, be.max_pool_forward(x, geom)[1], geom, (6, 6)).sum() == 2 * 9


def test_stochastic_pooling_draws_in_proportion(be):
    x, geom = np.tile([[1.0, 0.0], [2.0, 5.0]], (1, 2000, 1, 1)), PoolGeometry((2, 2), (2, 2), (0, 0), (1, 1))
    y, index = be.stochastic_pool_forward(x, geom, train=True)
    shares = np.bincount(index.ravel(), minlength=4) / index.size
    np.testing.assert_allclose(shares, [1 / 8, 0, 2 / 8, 5 / 8], atol=0.04)
    np.testing.assert_array_equal(y.ravel(), np.take([1, 0, 2, 5], index.ravel()))
    y, index = be.stochastic_pool_forward(x, geom, train=False)
    assert index is None and y[0, 0, 0, 0] == pytest.approx((1 + 4 + 25) / 8)


def test_softmax_survives_large_scores(be):
    np.testing.assert_allclose(be.softmax_forward(np.array([[1e4, 0, 1e4]]), 1), [[0.5, 0, 0.5]])


def test_softmax_loss_counts_sums_and_weighs(be):
    x, labels = np.zeros((1, 4, 2, 2)), np.array([0, 3, 255, 1])
    _, loss, valid = be.softmax_loss_forward(x, labels, 1, 255)
    assert (loss, valid) == (pytest.approx(3 * np.log(4)), 3)
    weights = np.array([1.0, 10, 100, 1000])
    prob, loss, valid = be.softmax_loss_forward(x, labels, 1, 255, weights)
    assert (loss, valid) == (pytest.approx(1011 * np.log(4)), 3)
    dx = be.softmax_loss_backward(prob, labels, 1, 255, 2.0, weights)
    np.testing.assert_allclose(dx[0, :, 0, 1], 2 * 1000 * (0.25 - np.eye(4)[3]))
    assert not dx[0, :, 1, 0].any()


def test_a_label_fault_says_label_place_and_classes(be):
    labels = np.zeros((2, 1, 3, 4), int)
    labels[1, 0, 2, 3] = 21
    with pytest.raises(LabelFault, match=r"label 21 at \(n, y, x\) \(1, 2, 3\) is not one of the 5 classes 0 to 4"):
        be.softmax_loss_forward(np.zeros((2, 5, 3, 4)), labels, 1, None)
    with pytest.raises(LabelFault, match=r"label -1 at index \(1,\).*only ignore_label 255"):
        be.softmax_loss_forward(np.zeros((3, 5)), np.array([0, -1, 255]), 1, 255)


def test_dropout_drops_its_share_and_keeps_the_mean(be):
    y, mask = be.dropout_forward(np.ones((100, 1000)), 0.3)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01) and y.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(y, mask / 0.7)


def test_the_random_state_is_json_and_brings_the_same_numbers_back(be):
    be.uniform((3,))
    state = json.loads(json.dumps(be.random_state()))
    first = [be.uniform((5,), -2, 3), be.bernoulli((5,), 0.5), be.rng.standard_normal(2)]
    be.set_random_state(state)
    for one, other in zip(
        first, [be.uniform((5,), -2, 3), be.bernoulli((5,), 0.5), be.rng.standard_normal(2)], strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert first[1].dtype == bool


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_an_update_runs_its_steps_in_place(be, shape):
    steps = UpdateStep("t", "sign", "w"), UpdateStep("t", "*", "t", "c"), UpdateStep("w", "-", "w", "t")
    w = np.array(be.rng.standard_normal(shape))
    expected = w - 0.5 * np.sign(w)
    be.update(UpdateProgram(("w",), ("c",), steps), [UpdateTensor((w,), (0.5,))])
    np.testing.assert_array_equal(w, expected)


@pytest.mark.parametrize("eta, kept", [(1.0, [0, 2, 3]), (0.5, [0, 3])])
def test_suppression_by_hand(eta, kept):
    """Overlaps with the first: 0.8, 0.6, 0.  With eta 0.5 the threshold of 0.7 is 0.35 once one is kept."""
    boxes = np.array([[0.0, 0, 10, 1], [0, 0, 8, 1], [0, 0, 6, 1], [20, 0, 30, 1]])
    be = ReferenceBackend("float64")
    assert be.suppress(boxes, 0.7, eta=eta).tolist() == kept
    assert be.suppress(boxes, 0.7, 1, eta=eta).tolist() == [0]
