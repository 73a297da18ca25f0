"""The sizes of a net: each image its own, given ones, those that do not fit, those that the data decide."""

import numpy as np
import pytest

from demitasse.proto.errors import ShapeFault
from tests.test_netdef.fcn_net import FEED
from tests.test_netdef.texts import SMALL, blob, build, layer

# -- sizes -------------------------------------------------------------------------------------------


def test_every_image_has_its_own_size():
    net = build(SMALL)
    small = net.forward(FEED)["loss"]
    net.forward({"data": np.zeros((2, 3, 9, 12)), "label": np.zeros((2, 1, 7, 10))})
    assert net.shapes["sum"] == (2, 4, 7, 10)
    np.testing.assert_array_equal(net.forward(FEED)["loss"], small)


def test_reshape_sizes_the_net_before_it_runs():
    net = build(SMALL)
    net.reshape({"data": (1, 3, 20, 10), "label": (1, 1, 18, 8)})
    assert net.shapes["c2"] == (1, 4, 18, 8)
    assert net.forward(end="c1")["c1"].shape == (1, 4, 18, 8)


def test_a_size_that_does_not_fit_leaves_the_net_as_it_was():
    net = build(SMALL)
    expected = net.forward(FEED)["loss"]
    with pytest.raises(ShapeFault, match=r"^3:1: layer 'c1' \(Convolution\): a kernel .* 3x3 .* 2x2"):
        net.forward({"data": np.zeros((1, 3, 2, 2))})
    with pytest.raises(ShapeFault, match="has 4 channels, but the weights are for 3"):
        net.reshape({"data": (1, 4, 8, 8)})
    with pytest.raises(ShapeFault, match="one label for each item or pixel"):
        net.reshape({"data": (1, 3, 9, 9)})
    np.testing.assert_array_equal(net.forward()["loss"], expected)


def test_sizes_that_depend_on_the_data():
    text = (
        blob("x", (4, 2)) + blob("which", (4,)) + layer("Filter", "f", "x which", "some") + layer("Power", "y", "some")
    )
    net = build(text)
    x = np.arange(8.0).reshape(4, 2)
    for chosen in ([0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]):
        y = net.forward({"x": x, "which": chosen})["y"]
        np.testing.assert_array_equal(y, x[np.array(chosen, bool)])
        assert net.shapes["y"] == y.shape


def test_a_layer_in_the_call_of_another_is_sized_anew_after_sizes_that_depended_on_the_data():
    text = (
        blob("x", (4, 2))
        + blob("which", (4,))
        + layer("Filter", "f", "x x which", "some same")
        + layer("InnerProduct", "ip", "some", "y", "inner_product_param { num_output: 2 }")
        + layer("ReLU", "relu", "y", "y")
        + layer("Eltwise", "sum", "y same", "sum")
    )
    net, x = build(text), np.arange(8.0).reshape(4, 2)
    for which in ([1, 0, 1, 0], [[1], [1], [1], [0]], [1, 0, 0, 0]):  # of another shape, so that all is sized again
        net.reshape({"which": np.shape(which)})
        assert net.forward({"x": x, "which": which})["sum"].shape == (np.sum(which), 2)


def test_shapes_given_at_the_start():
    net = build(SMALL, inputs={"data": (1, 3, 10, 10), "label": (1, 1, 8, 8)})
    assert net.shapes["sum"] == (1, 4, 8, 8)
