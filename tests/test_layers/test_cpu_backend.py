"""The CPU backend against the generic one in float64, the same bits for any number of threads, and its memory pool."""

import numpy as np
import pytest

from demitasse.layers.backend.cpu import CpuBackend
from demitasse.layers.backend.cpu.conv import repeated_rows
from demitasse.layers.backend.cpu.conv.algorithm import conv_plan
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.reference import ReferenceBackend
from demitasse.layers.backend.update_program import UpdateProgram, UpdateStep, UpdateTensor

MEANING = ReferenceBackend("float64")

# N, C, K, H, W, kernel, stride, pad, dilation, group: each takes another way through the kernels
CONVOLUTIONS = [
    (1, 64, 64, 40, 50, 3, 1, 1, 1, 1),
    (2, 48, 40, 33, 31, 3, 1, 0, 1, 1),
    (1, 64, 80, 100, 99, 3, 1, 1, 1, 1),
    (1, 330, 150, 17, 29, 3, 1, 1, 1, 1),
    (1, 128, 80, 22, 23, 7, 1, 0, 1, 1),
    (1, 64, 128, 21, 21, 6, 1, 0, 1, 1),
    (2, 96, 128, 27, 27, 5, 1, 2, 1, 2),
    (2, 3, 20, 60, 61, 11, 4, 5, 1, 1),
    (1, 3, 48, 141, 120, 7, 2, 3, 1, 1),
    (1, 6, 96, 190, 182, 11, 4, 5, 1, 2),
    (2, 40, 64, 60, 62, 7, 2, 2, 1, 1),
    (1, 32, 48, 41, 30, 4, 1, 1, 1, 1),
    (1, 3, 8, 30, 20, 3, 1, 100, 1, 1),
    (2, 40, 50, 16, 16, 1, 1, 0, 1, 1),
    (2, 20, 35, 13, 14, 1, 1, 0, 1, 1),
    (2, 6, 10, 40, 37, 5, 2, 2, 1, 2),
    (1, 5, 7, 50, 40, 3, 1, 0, 2, 1),
    (2, 70, 30, 20, 41, 3, 1, 2, 2, 1),
    (1, 60, 8, 100, 90, 3, 1, 1, 1, 1),
    (1, 60, 12, 110, 75, 3, 1, 1, 1, 1),
    (2, 44, 12, 100, 90, 5, 1, 2, 1, 2),
    (1, 21, 21, 9, 9, 4, 2, 0, 1, 1),
    (1, 21, 20, 90, 84, 16, 8, 1, 1, 1),
    (2, 8, 6, 140, 133, 5, 2, 2, 1, 2),
    (3, 12, 18, 19, 14, 3, 2, 1, 2, 3),
    (2, 16, 16, 12, 13, 3, 1, 1, 1, 16),
    (2, 9, 9, 30, 33, 5, 2, 2, 1, 9),
    (1, 6, 6, 17, 9, 3, 2, 2, 2, 6),
    (2, 3, 3, 16, 19, 8, 4, 2, 1, 3),
    (1, 3, 3, 20, 22, 3, 3, 1, 2, 3),
    (3, 32, 48, 14, 13, 3, 1, 1, 1, 1),
    (2, 600, 30, 7, 7, 1, 1, 1, 1, 1),
    (1, 400, 404, 9, 8, 1, 1, 0, 1, 1),
    (1, 520, 600, 11, 8, 1, 1, 0, 1, 2),
    (1, 5, 7, 1, 9, 1, 3, 1, 1, 1),
    (2, 5, 7, 6, 4, 1, 1, 2, 1, 1),
]


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def error(ours, theirs):
    """The largest difference relative to the largest value."""
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)


def convolve_all_ways(backend, x, w, b, dy, bias_of_x, geom):
    dw = np.ones_like(w)
    backend.conv_backward_weights(x, dy, geom, dw)
    spatial = x.shape[2:]
    return [
        backend.conv_forward(x, w, b, geom),
        backend.conv_forward(x, w, None, geom, 0.1),
        backend.conv_forward(x, w, b, geom, 0.1, residual=dy),
        backend.conv_backward_data(dy, w, geom, spatial),
        backend.conv_backward_data(dy, w, geom, spatial, bias_of_x, 0.0),
        dw,
    ]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolution_in_every_direction(case):
    n, c, k, height, width, kernel, stride, pad, dilation, group = case
    geom = ConvGeometry(*((v, v) for v in (kernel, stride, pad, dilation)), group)
    rng = np.random.default_rng(0)
    arrays = [
        random(rng, n, c, height, width),
        random(rng, k, c // group, kernel, kernel),
        random(rng, k),
        random(rng, n, k, *geom.out_size((height, width))),
        random(rng, c),
    ]
    expected = convolve_all_ways(MEANING, *(a.astype(np.float64) for a in arrays), geom)
    for exact, limit in ((False, 1e-4), (True, 1e-5)):
        results = [convolve_all_ways(CpuBackend(exact=exact, threads=t), *arrays, geom) for t in (2, 1, 3)]
        assert max(error(y, e) for y, e in zip(results[0], expected, strict=True)) < limit
        for other in results[1:]:
            assert all(np.array_equal(y, o) for y, o in zip(results[0], other, strict=True))


def test_which_strides_become_polyphase():
    """Where that makes a tile transform possible which is expected to be faster; never with `exact`."""
    used = []
    for *shape, kernel, stride, pad, dilation, group in CONVOLUTIONS:
        n, c, k, height, width = shape
        geom = ConvGeometry(*((v, v) for v in (kernel, stride, pad, dilation)), group)
        if conv_plan((n, c, height, width), k, geom, False, 2).polyphase:
            used.append((kernel, stride, group))
        assert conv_plan((n, c, height, width), k, geom, True, 2).polyphase is None
    assert used == [(7, 2, 1), (11, 4, 2), (7, 2, 1)]


def test_convolution_over_one_axis_and_over_three():
    rng, ours = np.random.default_rng(0), CpuBackend()
    for axes in (1, 3):
        geom = ConvGeometry((3,) * axes, (1,) * axes, (1,) * axes, (1,) * axes)
        x, w = random(rng, 2, 4, *[6] * axes), random(rng, 5, 4, *[3] * axes)
        assert error(ours.conv_forward(x, w, None, geom), MEANING.conv_forward(x, w, None, geom)) < 1e-5


@pytest.mark.parametrize(
    "channels, size, kernel, stride, pad", [(21, 10, 16, 8, 0), (3, 7, 63, 32, 0), (4, 5, 5, 3, 2)]
)
def test_diagonal_deconvolution(channels, size, kernel, stride, pad):
    rng = np.random.default_rng(0)
    geom = ConvGeometry((kernel,) * 2, (stride,) * 2, (pad,) * 2, (1, 1))
    w = np.zeros((channels, channels, kernel, kernel), np.float32)
    w[range(channels), range(channels)] = random(rng, channels, kernel, kernel)
    dy, b = random(rng, 2, channels, size, size), random(rng, channels)
    spatial = geom.in_size((size, size))
    expected = MEANING.conv_backward_data(dy.astype(np.float64), w, geom, spatial, b, 0.1)
    for diagonal in (False, True):
        y = CpuBackend().conv_backward_data(dy, w, geom, spatial, b, 0.1, diagonal)
        assert error(y, expected) < 1e-5


@pytest.mark.parametrize("shape", [(1, 3, 60, 70), (2, 3, 90, 52)])
def test_wide_borders_are_computed_once(shape):
    """FCN's pad of 100: rows and columns that are alike stay so through convolutions and pooling."""
    rng, ours = np.random.default_rng(0), CpuBackend(threads=2)
    wide, narrow = (ConvGeometry((3, 3), (1, 1), (p, p), (1, 1)) for p in (100, 1))
    x, w, b, w2 = random(rng, *shape), random(rng, 16, 3, 3, 3), random(rng, 16), random(rng, 16, 16, 3, 3)

    def net(backend, x):
        y = backend.conv_forward(x, w.astype(x.dtype), b.astype(x.dtype), wide, 0.0)
        z = backend.conv_forward(y, w2.astype(x.dtype), None, narrow)
        out = tuple(-(-n // 2) for n in z.shape[2:])
        pooled, _ = backend.max_pool_forward(z, PoolGeometry((2, 2), (2, 2), (0, 0), out))
        dw, dw2 = np.zeros(w.shape, x.dtype), np.zeros(w2.shape, x.dtype)
        backend.conv_backward_weights(x, y, wide, dw)
        backend.conv_backward_weights(y, z, narrow, dw2)
        last = backend.conv_forward(pooled, w2.astype(x.dtype), b.astype(x.dtype), narrow, 0.0)
        return y, z, pooled, last, dw, dw2

    results = net(ours, x)
    for y, expected in zip(results, net(MEANING, x.astype(np.float64)), strict=True):
        assert error(y, expected) < 1e-4
    for image in results[:3]:
        rows, columns = repeated_rows.find(ours, image, (1, 1), 3)
        assert rows.ratio * columns.ratio < 0.5
    assert repeated_rows.find(ours, random(rng, 1, 2, 64, 64), (1, 1), 3) is None
    results[0][0, 7, 20, 33] += 1  # one pixel in one channel
    assert (
        error(ours.conv_forward(results[0], w2, None, narrow), MEANING.conv_forward(results[0], w2, None, narrow))
        < 1e-4
    )


POOLINGS = [
    ((40, 50), (2, 2), (2, 2), (0, 0)),
    ((55, 55), (3, 3), (2, 2), (0, 0)),
    ((27, 29), (3, 3), (2, 2), (1, 1)),
    ((14, 37), (3, 3), (1, 1), (1, 1)),
    ((9, 11), (2, 5), (3, 2), (0, 3)),
    ((13, 13), (13, 13), (1, 1), (0, 0)),
]


@pytest.mark.parametrize("size, kernel, stride, pad", POOLINGS)
def test_pooling(size, kernel, stride, pad):
    rng, ours = np.random.default_rng(0), CpuBackend()
    out = tuple(-(-(n + 2 * p - k) // s) + 1 for n, k, s, p in zip(size, kernel, stride, pad, strict=True))
    geom = PoolGeometry(kernel, stride, pad, out)
    x = np.round(random(rng, 2, 3, *size) * 2)  # many ties
    x.flat[3], x.flat[-2] = np.nan, -np.inf
    y, index = ours.max_pool_forward(x, geom)
    expected, places = ReferenceBackend().max_pool_forward(x, geom)
    assert np.array_equal(y, expected)
    assert np.array_equal(index, places)
    dy, x = random(rng, *y.shape), random(rng, 2, 3, *size)
    assert error(ours.max_pool_backward(dy, index, geom, size), MEANING.max_pool_backward(dy, index, geom, size)) < 1e-6
    assert error(ours.ave_pool_forward(x, geom), MEANING.ave_pool_forward(x, geom)) < 1e-6
    assert error(ours.ave_pool_backward(dy, geom, size), MEANING.ave_pool_backward(dy, geom, size)) < 1e-6


def test_elementwise_and_update():
    rng, ours = np.random.default_rng(0), CpuBackend()
    x, dy = random(rng, 2, 5, 300, 200), random(rng, 2, 5, 300, 200)
    x[0, 0] = 0
    for slope in (0.0, 0.2):
        assert np.array_equal(ours.relu_forward(x, slope), ReferenceBackend().relu_forward(x, slope))
        assert np.array_equal(ours.relu_backward(dy, x, slope), ReferenceBackend().relu_backward(dy, x, slope))
    assert np.isnan(ours.relu_forward(np.full((1, 1), np.nan, np.float32), 0.0)).all()
    mask = rng.random(x.shape) < 0.5
    assert error(ours.dropout_backward(dy, mask, 0.3), MEANING.dropout_backward(dy, mask, 0.3)) < 1e-6
    db, expected = np.ones(5, np.float32), np.ones(5)
    ours.bias_backward(dy, db)
    MEANING.bias_backward(dy.astype(np.float64), expected)
    assert error(db, expected) < 1e-6


def test_gradients_are_cleared_to_the_last_element():
    arrays = [np.ones(shape, np.float32) for shape in (0, (), 5, (3, 7), (1 << 22) + 3)]
    beyond = np.ones(10, np.float32)
    CpuBackend().clear([*arrays, beyond[2:7]])
    assert not any(array.any() for array in arrays)
    assert beyond.tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_update_rounds_as_the_reference(threads):
    texts = "t * g rate", "h + h t", "t / w h", "u sign t", "t * t t", "t sqrt t", "g * t u", "w - w g"
    steps = tuple(UpdateStep(*text.split()) for text in texts)
    program = UpdateProgram(("w", "g", "h"), ("rate",), steps)
    rng = np.random.default_rng(0)
    mine = [[random(rng, *shape) for _ in range(3)] for shape in ((0,), (), (7,), (3, 401), (2, 40000))]
    mine[2][1][:3] = np.nan, np.inf, 0
    mine[2][0][2] = 0
    theirs = [[a.copy() for a in arrays] for arrays in mine]
    with np.errstate(all="ignore"):
        for backend, tensors in ((CpuBackend(threads=threads), mine), (ReferenceBackend(), theirs)):
            backend.update(program, [UpdateTensor(tuple(arrays), (0.1 * len(arrays),)) for arrays in tensors])
    for ours, expected in zip(mine, theirs, strict=True):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, expected, strict=True))


def test_normalisation_and_losses():
    rng, ours = np.random.default_rng(0), CpuBackend()
    x, dy = random(rng, 2, 21, 30, 41) * 4, random(rng, 2, 21, 30, 41)
    for beta in (0.75, 0.6):
        y, scale = ours.lrn_forward(x, 5, 0.1, beta, 1.0)
        expected = MEANING.lrn_forward(x.astype(np.float64), 5, 0.1, beta, 1.0)
        assert max(error(y, expected[0]), error(scale, expected[1])) < 1e-6
        dx = MEANING.lrn_backward(dy.astype(np.float64), x, *expected, 5, 0.1, beta)
        assert error(ours.lrn_backward(dy, x, y, scale, 5, 0.1, beta), dx) < 1e-6
    for axis in (1, 2):
        assert error(ours.softmax_forward(x, axis), MEANING.softmax_forward(x.astype(np.float64), axis)) < 1e-6
    assert np.isnan(ours.softmax_forward(np.full_like(x, np.nan), 1)).all()
    labels, weights = rng.integers(0, 21, (2, 30, 41)), rng.random(21).astype(np.float32)
    labels[0, 0] = 255
    for w in (None, weights):
        prob, loss, valid = ours.softmax_loss_forward(x, labels, 1, 255, w)
        expected = MEANING.softmax_loss_forward(x.astype(np.float64), labels, 1, 255, w)
        assert valid == expected[2] and abs(loss / expected[1] - 1) < 1e-6
        dx = MEANING.softmax_loss_backward(expected[0], labels, 1, 255, 0.3, w)
        assert error(ours.softmax_loss_backward(prob, labels, 1, 255, 0.3, w), dx) < 1e-6


@pytest.mark.parametrize("rows, columns, depth", [(1, 1, 1), (2, 70, 533), (5, 300, 257), (65, 17, 600), (130, 96, 48)])
def test_matrix_product(rows, columns, depth):
    rng, ours = np.random.default_rng(0), CpuBackend()
    for ta in (False, True):
        for tb in (False, True):
            a = random(rng, *((depth, rows) if ta else (rows, depth)))
            b = random(rng, *((columns, depth) if tb else (depth, columns)))
            expected = MEANING.matmul(a.astype(np.float64), b.astype(np.float64), ta=ta, tb=tb)
            assert error(ours.matmul(a, b, ta=ta, tb=tb), expected) < 1e-5
            out = np.ones((rows, columns), np.float32)
            assert error(ours.matmul(a, b, out, True, ta, tb), expected + 1) < 1e-5


@pytest.mark.parametrize("inner", [1, 20])
def test_what_a_float32_cannot_tell_from_0_is_0(inner):
    """A softmax's smallest probabilities: a loss of them is that of the smallest normal number, in all code alike."""
    x = np.float32([0, -87.33, -87.34, -1000]).reshape(1, 4, 1).repeat(inner, axis=2)
    y = CpuBackend().softmax_forward(x, 1)
    np.testing.assert_allclose(y[:, :2], MEANING.softmax_forward(x.astype(np.float64), 1)[:, :2], rtol=1e-5)
    assert not y[:, 2:].any()


def test_each_thread_computes_as_many_products():
    one, two = (CpuBackend(threads=threads).products() for threads in (1, 2))
    assert two == 2 * one > 1e8
    assert ReferenceBackend().products() > 1e8


def test_inputs_that_kernels_cannot_take():
    """Read-only, strided and float64 arrays are computed all the same."""
    rng, ours = np.random.default_rng(0), CpuBackend()
    geom = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    x, w = random(rng, 1, 4, 8, 8), random(rng, 3, 4, 3, 3)
    expected = ours.conv_forward(x, w, None, geom)
    w.flags.writeable = False
    assert error(ours.conv_forward(x, w, None, geom), expected) < 1e-6
    wide = np.zeros((1, 4, 8, 16), np.float32)
    wide[..., ::2] = x
    assert error(ours.conv_forward(wide[..., ::2], w, None, geom), expected) < 1e-6
    assert error(ours.relu_forward(x.astype(np.float64), 0.0), np.maximum(x, 0)) == 0
