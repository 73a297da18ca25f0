"""Reorg: Darknet's order, pixel by pixel."""

import numpy as np
import pytest

from demitasse.proto.errors import ShapeFault
from tests.test_layers.building import build


def reorg(fields, x):
    return build(f"type: 'Reorg' bottom: 'x' top: 'y' reorg_param {{ {fields} }}", x.shape).forward([x])[0]


def by_pixels(x, stride):
    """The order told at the head of the layer's file, number by number, for one item."""
    channels, height, width = x.shape
    deep = channels // stride**2
    read, written = x.reshape(deep, stride * height, stride * width), np.empty_like(x)
    for a, b, c, i, j in np.ndindex(stride, stride, deep, height, width):
        written[(stride * a + b) * deep + c, i, j] = read[c, stride * i + a, stride * j + b]
    return written.reshape(channels * stride**2, height // stride, width // stride)


@pytest.mark.independent("Reorg")
@pytest.mark.parametrize("stride, shape", [(2, (8, 4, 6)), (3, (9, 3, 6))])
def test_order_is_darknet_s(stride, shape):
    x = np.arange(np.prod(shape), dtype="float64").reshape(1, *shape)
    assert np.array_equal(reorg(f"stride: {stride}", x)[0], by_pixels(x[0], stride))


def test_reverse_gives_back_the_numbers_where_the_sizes_allow():
    x = np.arange(2 * 16 * 4 * 4.0).reshape(2, 16, 4, 4)
    y = reorg("stride: 2 reverse: true", x)
    assert y.shape == (2, 4, 8, 8)
    assert sorted(y.ravel()) == sorted(x.ravel())
    layer = build("type: 'Reorg' bottom: 'x' top: 'y' reorg_param { reverse: true }", x.shape)
    layer.forward([x])
    assert np.array_equal(layer.backward([y], [True])[0], x)


def test_sizes_that_stride_does_not_divide_are_told():
    for shape, words in (((1, 6, 4, 4), "that stride.2, 4, divides"), ((1, 8, 5, 4), "must divide both sides")):
        with pytest.raises(ShapeFault, match=words):
            reorg("stride: 2", np.zeros(shape))
