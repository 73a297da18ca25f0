"""Mistakes in a user's Python layer: each is told where it is made, with what to do."""

import sys

import numpy as np
import pytest

import caffe
from demitasse.proto.errors import NetError, ShapeFault
from demitasse.solver.__main__ import main
from tests.test_caffe.nets import INPUTS, build, write

HEAD = "import caffe\n\n\nclass Mine(caffe.Layer):\n"
SETUP = "    def setup(self, bottom, top):\n        {}\n"
RESHAPE = "    def reshape(self, bottom, top):\n        {}\n"
FORWARD = "    def forward(self, bottom, top):\n        {}\n"
SIZED = "top[0].reshape(*bottom[0].shape)"
LAYERS = """layer {{ name: "mine" type: "Python" bottom: "data" top: "{}"
    python_param {{ module: "{}" layer: "Mine" }} }}
layer {{ name: "conv" type: "Convolution" bottom: "{}" top: "z"
    convolution_param {{ num_output: 1 kernel_size: 3 }} }}"""


def layer(setup="pass", reshape=SIZED, forward="top[0].data[...] = bottom[0].data"):
    return HEAD + SETUP.format(setup) + RESHAPE.format(reshape) + FORWARD.format(forward)


@pytest.fixture
def net_of(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(tmp_path)
    module = "layer_of_" + "".join(c if c.isalnum() else "_" for c in request.node.name)

    def net_of(code, top="y"):
        (tmp_path / f"{module}.py").write_text(code)
        return INPUTS + LAYERS.format(top, module, top)

    yield net_of
    sys.modules.pop(module, None)


def message(error) -> str:
    return str(error) if isinstance(error, NetError) else error.remedy


@pytest.mark.parametrize(
    "code, kind, words",
    [
        (HEAD + SETUP.format('print "ready"'), SyntaxError, ["Python 2", "2to3", "print"]),
        (HEAD + SETUP.format("raise ValueError, 'no'"), SyntaxError, ["Python 2", "2to3"]),
        ("import cPickle\n" + layer(), ModuleNotFoundError, ["cPickle is pickle now", "2to3"]),
        ("import Queue\n" + layer(), ModuleNotFoundError, ["Queue is queue now"]),
        ("from itertools import izip\n" + layer(), ImportError, ["izip is zip now"]),
        (layer(setup="xrange(3)"), NameError, ["xrange is range now", "2to3"]),
        (layer(setup="unicode('x')"), NameError, ["unicode is str now"]),
        (layer(setup="dict(a=1).iteritems()"), AttributeError, [".iteritems() is .items() now"]),
        (layer(setup="dict(a=1).has_key('a')"), AttributeError, ["`key in d` now"]),
        (layer(setup="iter([1]).next()"), AttributeError, ["`next(iterator)`"]),
        (layer(setup="range(bottom[0].num / 2)"), TypeError, ["//"]),
    ],
    ids="print raise cPickle Queue izip xrange unicode iteritems has_key next division".split(),
)
def test_python_2(net_of, tmp_path, code, kind, words):
    with pytest.raises(kind) as caught:
        build(tmp_path, net_of(code))
    assert all(word in message(caught.value) for word in words)


@pytest.mark.parametrize(
    "setup, kind", [("nothing_of_ours", NameError), ("1 / 0", ZeroDivisionError), ("{}.x", AttributeError)]
)
def test_other_errors_are_no_python_2(net_of, tmp_path, setup, kind):
    with pytest.raises(kind) as caught:
        build(tmp_path, net_of(layer(setup=setup)))
    assert caught.value.remedy == ""


def test_a_command_tells_it_too(net_of, tmp_path, capsys):
    assert main(["time", write(tmp_path, net_of(layer(setup="xrange(3)")))]) == 2
    last = capsys.readouterr().err.rstrip().splitlines()[-1]
    assert "layer 'mine' (Python)" in last and "name 'xrange' is not defined" in last and "2to3" in last


def test_writing_to_a_bottom(net_of, tmp_path):
    net = build(tmp_path, net_of(layer(forward="bottom[0].data[...] = 0")))
    with pytest.raises(ValueError, match="read-only") as caught:
        net.forward()
    assert "bottom[i].data.copy()" in message(caught.value)


@pytest.mark.parametrize("setup, reshape", [("pass", "pass"), ("pass", "self.shape = bottom[0].shape")])
def test_a_reshape_that_says_nothing_blames_itself(net_of, tmp_path, setup, reshape):
    with pytest.raises(
        ShapeFault, match=r"layer 'mine' \(Python\): .*size of top\[0\] \('y'\): call top\[0\]\.reshape"
    ):
        build(tmp_path, net_of(layer(setup, reshape)))


def test_setup_may_say_the_size_for_good(net_of, tmp_path):
    net = build(tmp_path, net_of(layer(setup=SIZED, reshape="pass")))
    assert net.forward(data=np.ones((2, 3, 8, 8))).keys() == {"z"} and net.blobs["y"].shape == (2, 3, 8, 8)


def test_a_layer_in_place_has_its_bottoms_size(net_of, tmp_path):
    net = build(tmp_path, net_of(layer(reshape="pass", forward="top[0].data[...] += 1"), top="data"))
    assert net.blobs["data"].shape == (2, 3, 8, 8)
    net.forward(data=np.ones((2, 3, 8, 8)))
    assert (net.blobs["data"].data == 2).all()


def test_a_single_number_is_a_size(net_of, tmp_path):
    text = net_of(layer(reshape="top[0].reshape()", forward="top[0].data[...] = 3"))
    net = caffe.Net(write(tmp_path, text[: text.index('layer { name: "conv"')]), caffe.TEST)
    assert net.forward()["y"] == 3 and net.blobs["y"].shape == ()
