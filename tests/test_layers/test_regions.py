"""Pooling over windows of each region: both backends against the definition, one window at a time."""

import numpy as np
import pytest

SHAPE, REGIONS, CELLS = (2, 12, 9, 7), 15, (3, 2)


@pytest.fixture
def case():
    """(x, image, rows, columns); some windows hold no pixel."""
    rng = np.random.default_rng(5)

    def bounds(cells, size):
        first = rng.integers(0, size, (REGIONS, cells))
        return np.stack([first, np.minimum(first + rng.integers(0, 4, first.shape), size)], axis=-1).astype(np.int32)

    x = rng.integers(-9, 9, SHAPE).astype(np.float32)  # with equals
    return x, rng.integers(0, 2, REGIONS).astype(np.int32), bounds(CELLS[0], 9), bounds(CELLS[1], 7)


def windows(x, image, rows, columns):
    """((region, p, q), the window (C, h, w), its slices)."""
    for r, p, q in np.ndindex(len(image), rows.shape[1], columns.shape[1]):
        place = slice(*rows[r, p]), slice(*columns[r, q])
        yield (r, p, q), x[image[r]][:, place[0], place[1]], place


def test_the_largest_pixel_and_where_it_is(be, case):
    x, image, rows, columns = case
    y, index = (be.to_host(a) for a in be.region_max_forward(be.asarray(x), *_int(be, image, rows, columns)))
    assert index.dtype == np.int32 and (index == -1).any()
    for (r, p, q), window, (line, column) in windows(*case):
        for c in range(SHAPE[1]):
            if not window.size:
                assert (y[r, c, p, q], index[r, c, p, q]) == (0, -1)
                continue
            i, j = np.unravel_index(window[c].argmax(), window.shape[1:])
            place = (line.start + i) * SHAPE[3] + column.start + j
            assert (y[r, c, p, q], index[r, c, p, q]) == (window[c, i, j], place)


def test_nan_and_the_lowest_never_win(be):
    x = np.array([[np.nan, -np.inf], [np.nan, np.nan]], np.float32).reshape(1, 1, 2, 2)
    all_of_it = np.array([[[0, 2]]], np.int32)
    y, index = be.region_max_forward(be.asarray(x), *_int(be, np.zeros(1, np.int32), all_of_it, all_of_it))
    assert be.to_host(y).item() == np.finfo(np.float32).min and be.to_host(index).item() == -1


def test_gradients_of_the_largest_add_up(be, case):
    x, image, rows, columns = case
    _, index = be.region_max_forward(be.asarray(x), *_int(be, image, rows, columns))
    dy = np.random.default_rng(6).standard_normal(index.shape).astype(np.float32)
    dx = be.to_host(be.region_max_backward(be.asarray(dy), index, *_int(be, image), SHAPE))
    expected, index = np.zeros((2, 12, 63)), be.to_host(index)
    for r, c, p, q in np.ndindex(*dy.shape):
        if index[r, c, p, q] >= 0:
            expected[image[r], c, index[r, c, p, q]] += dy[r, c, p, q]
    np.testing.assert_allclose(dx.reshape(expected.shape), expected, atol=1e-5)


def test_means_of_a_channel_for_each_window(be, case):
    x, image, rows, columns = case
    y = be.to_host(be.region_mean_forward(be.asarray(x), *_int(be, image, rows, columns)))
    assert y.shape == (REGIONS, 2, *CELLS)
    for (r, p, q), window, _ in windows(*case):
        for d in range(2):
            mean = window[d * 6 + p * 2 + q].mean() if window.size else 0
            assert y[r, d, p, q] == pytest.approx(mean, abs=1e-6)


def test_the_gradient_of_means_is_their_adjoint(be, case):
    x, image, rows, columns = case
    where = _int(be, image, rows, columns)
    y = be.to_host(be.region_mean_forward(be.asarray(x), *where))
    dy = np.random.default_rng(6).standard_normal(y.shape).astype(np.float32)
    dx = be.to_host(be.region_mean_backward(be.asarray(dy), *where, SHAPE))
    assert (x * dx).sum() == pytest.approx((y * dy).sum(), rel=1e-4)


def test_weights_of_rows_and_columns(be, case):
    x, image, rows, columns = case
    weights = [_weights(bounds, size) for bounds, size in ((rows, 9), (columns, 7))]
    taken = [be.asarray(weight) for weight in weights]
    (where,) = _int(be, image)
    y = be.to_host(be.region_weighted_forward(be.asarray(x), where, *taken))
    expected = np.einsum("rpi,rcij,rqj->rcpq", weights[0], x[image], weights[1], optimize=True)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    dy = np.random.default_rng(6).standard_normal(y.shape).astype(np.float32)
    dx = be.to_host(be.region_weighted_backward(be.asarray(dy), where, *taken, SHAPE))
    assert (x * dx).sum() == pytest.approx((y * dy).sum(), rel=1e-4)


def _weights(bounds, size):
    """(R, cells, size), not 0 within the bounds."""
    places = np.arange(size)
    inside = (places >= bounds[..., :1]) & (places < bounds[..., 1:])
    return (inside * np.random.default_rng(7).uniform(0.1, 1, inside.shape)).astype(np.float32)


def _int(be, *arrays):
    return [be.asarray(a, np.int32) for a in arrays]
