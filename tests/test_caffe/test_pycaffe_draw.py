"""caffe.draw: nets whose data are not there, names that would steer a terminal; caffe.log of such names."""

import xml.dom.minidom

import pytest

import caffe
from caffe.proto import caffe_pb2
from demitasse.proto.errors import NetError
from demitasse.proto.text import read_net
from tests.test_caffe.nets import SMALL, TRUNK, write

SOURCES = {
    "Data": 'type: "Data" data_param { source: "nowhere_lmdb" batch_size: 1 backend: LMDB }',
    "ImageData": 'top: "label" type: "ImageData" image_data_param { source: "nowhere.txt" batch_size: 1 }',
    "HDF5Data": 'type: "HDF5Data" hdf5_data_param { source: "nowhere.txt" batch_size: 1 }',
    "no module": 'type: "Python" python_param { module: "nowhere_layers" layer: "Mine" }',
    "failing": 'type: "Python" python_param { module: "failing_layers" layer: "Mine" }',
}
FAILING = "import caffe\n\nclass Mine(caffe.Layer):\n    def setup(self, bottom, top):\n        open('nowhere')\n"


def texts(path):
    return [node.firstChild.data for node in xml.dom.minidom.parse(str(path)).getElementsByTagName("text")]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_net_whose_data_are_absent(tmp_path, monkeypatch, source):
    (tmp_path / "failing_layers.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    net = write(tmp_path, f'layer {{ name: "in" top: "data" {source} }}' + TRUNK)
    caffe.draw.draw_net_to_file(net, tmp_path / "net.svg")
    drawn = texts(tmp_path / "net.svg")
    assert {"in", "conv1", "pool1", "conv2", "sum"} <= set(drawn)
    assert any(text.startswith("Convolution + ReLU") for text in drawn)
    message = caffe_pb2.NetParameter()
    message.CopyFrom(read_net(net)[0])
    assert caffe.draw.draw_net(message, "LR").startswith(b"\x89PNG")


def test_other_faults_are_told(tmp_path):
    with pytest.raises(NetError, match="kernel"):
        caffe.draw.draw_net(write(tmp_path, SMALL.replace("kernel_size: 2 ", "")))
    with pytest.raises(NetError, match="'nothing'"):
        absent = f'layer {{ name: "in" top: "data" {SOURCES["Data"]} }}'
        caffe.draw.draw_net(write(tmp_path, absent + TRUNK.replace('bottom: "pool1"', 'bottom: "nothing"')))


def test_names_that_would_steer_a_terminal(tmp_path, capfd):
    net = SMALL.replace('"pool1"', r'"pool\033[31m1\007"')
    caffe.draw.draw_net_to_file(write(tmp_path, net), tmp_path / "net.svg")
    assert r"pool\x1b[31m1\x07" in texts(tmp_path / "net.svg")
    caffe.draw.draw_net_to_file(write(tmp_path, net), tmp_path / "net.png")
    caffe.log("a\x1b[31mb\x07")
    assert capfd.readouterr().err.endswith("a\\x1b[31mb\\x07\n")
