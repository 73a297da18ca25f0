"""Pooling: sizes to the pixel, and what is refused."""

import numpy as np
import pytest

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.layer import TEST
from demitasse.proto.errors import NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

POOL = "type: 'Pooling' bottom: 'x' top: 'y' pooling_param {{ {} }}"


@pytest.mark.parametrize(
    "fields, size, out",
    [
        ("kernel_size: 2 stride: 2", 349, 175),
        ("kernel_size: 2 stride: 2", 44, 22),
        ("kernel_size: 2 stride: 2 round_mode: FLOOR", 349, 174),
        ("kernel_size: 2 stride: 2 ceil_mode: false", 349, 174),
        ("kernel_size: 2 stride: 2 ceil_mode: true", 349, 175),
        ("kernel_size: 3 stride: 2 pad: 1 ceil_mode: false", 6, 3),
        ("kernel_size: 3 stride: 2 round_mode: FLOOR ceil_mode: false", 8, 3),
        ("kernel_size: 3 stride: 2", 173, 86),
        ("kernel_size: 3 stride: 2", 2, 1),  # the window is clipped to the image
        ("kernel_size: 3 stride: 2 pad: 1", 6, 4),
        ("kernel_size: 2 stride: 2 pad: 1", 6, 4),
        ("kernel_size: 2 stride: 2 pad: 1", 5, 3),  # a fourth window would begin beyond the image
        ("kernel_size: 1 stride: 2", 6, 4),  # its last window holds no pixel, but Caffe counts it
        ("global_pooling: true", 17, 1),
    ],
)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_sizes_round_up_and_are_clipped(fields, size, out, method):
    layer = build(POOL.format(f"pool: {method} {fields}"), (1, 2, 9, 9))
    (y,) = layer.forward([normal(1, 2, size, size)])
    assert layer.infer([(1, 2, size, size)]) == [y.shape] == [(1, 2, out, out)]


def test_sizes_of_every_geometry_agree_with_counting_windows():
    for size, kernel, stride, pad in np.ndindex(12, 5, 4, 3):
        kernel, stride = kernel + 1, stride + 1
        if pad >= kernel or size + 2 * pad < kernel:
            continue
        last = -(-(size + 2 * pad - kernel) // stride)  # windows 0 .. last
        if pad and last * stride >= size + pad:
            last -= 1
        layer = build(POOL.format(f"kernel_size: {kernel} stride: {stride} pad: {pad}"), (1, 1, 20, 20))
        assert layer.infer([(1, 1, size, size)]) == [(1, 1, last + 1, last + 1)]


def test_the_mask_holds_places_within_the_plane():
    layer = build(
        "type: 'Pooling' bottom: 'x' top: 'y' top: 'mask' pooling_param { kernel_size: 2 stride: 2 }", (1, 1, 4, 4)
    )
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 1, 2] = 1
    y, mask = layer.forward([x])
    np.testing.assert_array_equal(mask[0, 0], [[0, 6], [8, 10]])
    assert mask.dtype == x.dtype and layer.backward([None, np.ones_like(mask)], [True]) == [None]


def test_not_a_number_never_wins(be):
    x = np.arange(16, dtype="f").reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = x[0, 0, 3, 3] = np.nan
    y, index = be.max_pool_forward(be.asarray(x), PoolGeometry((2, 2), (2, 2), (0, 0), (2, 2)))
    assert be.to_host(y).ravel().tolist() == [4, 7, 13, 14] == be.to_host(index).ravel().tolist()


def test_windows_outside_the_image_give_0_and_pass_no_gradient(be):
    geometry, outside = PoolGeometry((1, 1), (2, 2), (0, 0), (3, 2)), np.s_[:, :, 2]
    x, dy = be.asarray(np.full((1, 2, 4, 3), -5, "f")), be.asarray(np.ones((1, 2, 3, 2), "f"))
    y, index = be.max_pool_forward(x, geometry)
    dx = be.to_host(be.max_pool_backward(dy, index, geometry, (4, 3)))
    mean, spread = be.ave_pool_forward(x, geometry), be.to_host(be.ave_pool_backward(dy, geometry, (4, 3)))
    for top, gradient in ((be.to_host(y), dx), (be.to_host(mean), spread)):
        assert (top[outside] == 0).all() and (top[:, :, :2] == -5).all() and gradient.sum() == 8


def test_stochastic_pooling_in_test_is_differentiable_at_zero():
    layer = build(POOL.format("pool: STOCHASTIC kernel_size: 2 stride: 2"), (1, 1, 4, 4), phase=TEST)
    (y,) = layer.forward([np.zeros((1, 1, 4, 4))])
    assert not y.any() and not layer.backward([np.ones_like(y)], [True])[0].any()


def test_coordinates():
    assert build(POOL.format("kernel_size: 2 stride: 2"), (1, 1, 4, 4)).coords() == (2, (0.5, 0.5), (-0.25, -0.25))
    assert build(POOL.format("global_pooling: true"), (1, 1, 4, 4)).coords() is None


@pytest.mark.parametrize(
    "fields, shape, words",
    [
        ("stride: 2", (1, 3, 8, 8), "kernel_size is missing"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", (1, 3, 8, 8), "kernel_size and kernel_h are both given"),
        ("kernel_h: 2", (1, 3, 8, 8), "kernel_h is given alone"),
        ("kernel_size: 2 stride: 2 stride_w: 2", (1, 3, 8, 8), "stride and stride_w are both given"),
        ("kernel_size: 2 pad: 2", (1, 3, 8, 8), "must be smaller than the kernel"),
        ("kernel_size: 2 stride: 0", (1, 3, 8, 8), "at least 1"),
        ("kernel_size: 0", (1, 3, 8, 8), "at least 1"),
        ("kernel_size: 9", (1, 3, 8, 8), "9x9 does not fit into the bottom's 8x8"),
        ("kernel_size: 20 stride: 2", (1, 3, 8, 8), "20x20 does not fit"),
        ("kernel_size: 2 global_pooling: true", (1, 3, 8, 8), "leave out the kernel"),
        ("stride: 2 global_pooling: true", (1, 3, 8, 8), "leave out pad and stride"),
        ("kernel_size: 2", (1, 3, 8), "takes 4 axes"),
        ("kernel_size: 3 pad: 1 pool: STOCHASTIC", (1, 3, 8, 8), "STOCHASTIC has no pad"),
    ],
)
def test_geometry_that_cannot_be_is_refused(fields, shape, words):
    with pytest.raises(NetError, match=words):
        build(POOL.format(fields), shape)


def test_a_mask_exists_for_max_only():
    with pytest.raises(NetError, match="MAX only"):
        build("type: 'Pooling' bottom: 'x' top: 'y' top: 'm' pooling_param { pool: AVE kernel_size: 2 }", (1, 1, 4, 4))


def test_an_image_that_has_become_too_small_is_refused():
    layer = build(POOL.format("kernel_size: 4"), (1, 1, 8, 8))
    with pytest.raises(ShapeFault, match="4x4 does not fit into the bottom's 3x8"):
        layer.infer([(1, 1, 3, 8)])


@pytest.mark.parametrize("fields", ["round_mode: FLOOR ceil_mode: true", "round_mode: CEIL ceil_mode: false"])
def test_the_two_words_for_rounding_may_not_contradict(fields):
    with pytest.raises(SchemaFault, match="round_mode and ceil_mode contradict each other: leave one of them out"):
        build(POOL.format(f"pool: MAX kernel_size: 2 {fields}"), (1, 2, 9, 9))


@pytest.mark.parametrize("method, reduce", [("MAX", np.max), ("AVE", np.mean)])
def test_boxes_are_pooled_as_their_windows(method, reduce):
    text = f"type: 'Pooling' bottom: 'x' top: 'y' pooling_param {{ pool: {method} "
    layer = build(
        text + "kernel_shape { dim: 2 dim: 3 dim: 2 } stride_shape { dim: 2 dim: 1 dim: 2 } }", (1, 2, 4, 5, 6)
    )
    x = normal(1, 2, 4, 5, 6)
    (y,) = layer.forward([x])
    assert y.shape == (1, 2, 2, 3, 3)
    for c, d, h, w in np.ndindex(y.shape[1:]):
        box = x[0, c, 2 * d : 2 * d + 2, h : h + 3, 2 * w : 2 * w + 2]
        np.testing.assert_allclose(y[0, c, d, h, w], reduce(box))


def test_windows_of_darknet_begin_at_the_last_pixels_too():
    x = normal(1, 2, 4, 3)
    (y,) = build(POOL.format("kernel_size: 2 darknet: true"), x.shape).forward([x])
    wide = np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=-np.inf)
    assert np.array_equal(y, np.lib.stride_tricks.sliding_window_view(wide, (2, 2), (2, 3)).max((4, 5)))
    layer = build(POOL.format("kernel_size: 2 stride: 1 pad: 0"), x.shape)
    assert layer.infer([x.shape]) == [(1, 2, 3, 2)]
    with pytest.raises(SchemaFault, match="leave it out"):
        build(POOL.format("kernel_size: 3 darknet: true"), x.shape)
