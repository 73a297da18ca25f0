"""Python layers through `import caffe`: params that learn, exceptions, the phase, the user's own object."""

import numpy as np
import pytest

import caffe
from tests.test_caffe.nets import INPUTS, build

MODULE = '''
import caffe


class Scale(caffe.Layer):
    """Multiplies by a learned number."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = float(self.param_str or 10)
        self.calls = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.calls += 1
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] = (top[0].diff * bottom[0].data).sum()
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Phase(Scale):
    def forward(self, bottom, top):
        top[0].data[...] = self.phase


class Broken(Scale):
    def forward(self, bottom, top):
        raise RuntimeError("out of coffee")
'''


@pytest.fixture
def make(tmp_path, monkeypatch):
    (tmp_path / "facade_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, phase=caffe.TEST, param_str=""):
        return build(
            tmp_path,
            INPUTS
            + f"""layer {{ name: "mine" type: "Python" bottom: "data" top: "y"
            python_param {{ module: "facade_layers" layer: "{name}" param_str: "{param_str}" }} }}""",
            phase,
        )

    return make


def test_a_learned_blob(make, tmp_path):
    net = make("Scale", param_str="4")
    assert (net.forward(data=np.ones((2, 3, 8, 8)))["y"] == 4).all()
    net.params["mine"][0].data[0] = 5
    assert (net.forward()["y"] == 5).all()
    net.blobs["y"].diff[...] = 1
    assert (net.backward()["data"] == 5).all() and net.params["mine"][0].diff[0] == 2 * 3 * 8 * 8
    net.save(tmp_path / "w.caffemodel")
    again = make("Scale")
    again.copy_from(tmp_path / "w.caffemodel")
    assert again.layers[1].blobs[0].data[0] == 5


def test_layers_holds_the_users_object(make):
    net = make("Scale")
    net.forward()
    net.forward()
    assert net.layers[1].calls == 2 and net.layer_dict["mine"].type == "Python"


def test_phase_and_exceptions(make):
    for phase in (caffe.TRAIN, caffe.TEST):
        assert (make("Phase", phase).forward()["y"] == phase).all()
    with pytest.raises(RuntimeError, match="out of coffee"):
        make("Broken").forward()
