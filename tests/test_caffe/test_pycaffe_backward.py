"""backward as pycaffe has it: over blobs as they are, whether or not forward has run."""

import numpy as np
import pytest

import caffe
from tests.test_caffe.nets import INPUTS, LOSSY, SMALL, build

MODULE = """
import caffe


class Counted(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.forwards = self.backwards = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.forwards += 1

    def backward(self, top, propagate_down, bottom):
        self.backwards += 1
        self.blobs[0].diff[0] = 1
        bottom[0].diff[...] = 10 * top[0].diff
"""
PYTHON = (
    INPUTS
    + """layer { name: "mine" type: "Python" bottom: "data" top: "y"
  python_param { module: "counted_layer" layer: "Counted" } }
layer { name: "twice" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }"""
)


@pytest.fixture
def python_net(tmp_path, monkeypatch):
    (tmp_path / "counted_layer.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return build(tmp_path, PYTHON)


def test_part_of_a_net_before_any_forward(tmp_path):
    net, rng = build(tmp_path), np.random.default_rng(3)
    x, dy = (rng.standard_normal(net.blobs[name].shape).astype("f") for name in ("pool1", "conv2"))
    net.blobs["pool1"].data[...] = x
    net.blobs["conv2"].diff[...] = dy
    dx = net.backward(start="conv2", end="conv2")["pool1"].copy()
    grad = net.params["conv2"][0].diff.copy()
    assert not net.blobs["conv2"].data.any()  # its forward has not been run for the script

    net.clear_param_diffs()
    net.forward(start="conv2", end="conv2")
    net.blobs["conv2"].diff[...] = dy
    np.testing.assert_array_equal(net.backward(start="conv2", end="conv2")["pool1"], dx)
    np.testing.assert_array_equal(net.params["conv2"][0].diff, grad)
    assert dx.any() and grad.any()


def test_a_whole_net_before_any_forward(tmp_path):
    net = build(tmp_path, LOSSY, caffe.TRAIN)
    net.backward()  # over zeros, whose labels are class 0
    assert net.blobs["sum"].diff.any() and net.params["conv2"][1].diff.any()
    assert net.blobs["loss"].diff == 2 and not net.blobs["sum"].data.any()


def test_after_new_sizes(tmp_path):
    net = build(tmp_path, SMALL)
    net.forward()
    net.blobs["data"].reshape(1, 3, 12, 12)
    net.reshape()
    net.blobs["sum"].diff[...] = 1
    assert net.backward()["data"].shape == (1, 3, 12, 12)


def test_a_users_forward_is_not_run_for_backward(python_net):
    python_net.blobs["z"].diff[...] = 7
    assert (python_net.backward()["data"] == 140).all()
    layer = python_net.layer_dict["mine"]
    assert (layer.forwards, layer.backwards) == (0, 1)


def test_a_users_backward_is_called_where_nobody_has_written_a_diff(python_net):
    python_net.forward()
    python_net.backward()
    layer = python_net.layer_dict["mine"]
    assert (layer.forwards, layer.backwards) == (1, 1) and python_net.params["mine"][0].diff[0] == 1
    assert not python_net.blobs["data"].diff.any()
    python_net.backward(start="mine")
    assert layer.backwards == 2
