"""The Python layer that ENet's prototxts name."""

import numpy as np

from demitasse.netdef.net import Net

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 50 dim: 2 dim: 3 } } }
layer { name: "drop" type: "Python" bottom: "x" top: "y"
        python_param { module: "spatial_dropout" layer: "SpatialDropoutLayer"
                       param_str: "{'phase': '%s', 'p': '0.5'}" } }
"""


def test_whole_channels_are_dropped_in_train():
    np.random.seed(0)
    net = Net(NET % "TRAIN", "TRAIN")
    x = np.ones((4, 50, 2, 3), np.float32)
    net.forward({"x": x})
    y = net.blobs["y"]
    assert set(np.unique(y)) == {0, 2} and np.array_equal(y.min((2, 3)), y.max((2, 3)))
    assert 60 < (y[:, :, 0, 0] > 0).sum() < 140


def test_nothing_is_dropped_in_test():
    net = Net(NET % "TEST", "TEST")
    x = np.arange(1200, dtype=np.float32).reshape(4, 50, 2, 3)
    net.forward({"x": x})
    assert np.array_equal(net.blobs["y"], x)
