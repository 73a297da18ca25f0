"""The way back: what we wrote, as the same net; what torch.onnx wrote, as a net of the same numbers."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file, net_of
from demitasse.netdef.tools import diff
from demitasse.proto.errors import NetError, SchemaFault
from demitasse.proto.onnx_file import read
from tests.test_layers import golden
from tests.test_onnx.peers import differences, golden_net, made_up
from tests.test_onnx.test_export_goldens import CASES

TOLERANCE = 1e-4


@pytest.mark.filterwarnings("ignore:.*coeff is ignored", "ignore:.*without effect", "ignore:.*look exchanged")
@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name, tmp_path):
    net, inputs = golden_net(golden.case(name))
    net.to_onnx(tmp_path / "net.onnx")
    import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    weights = str(tmp_path / "out/net.caffemodel") if net.params else None
    back = Net(tmp_path / "out/net.prototxt", weights=weights)
    expected = {blob: np.array(array) for blob, array in net.forward(inputs).items()}
    got = {blob: np.array(array) for blob, array in back.forward(inputs).items()}
    assert differences(got, expected, 1e-6) == []


SMALL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 14 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
        convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "up" bottom: "bn" top: "sum" }
layer { name: "score" type: "InnerProduct" bottom: "sum" top: "score" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""


def test_what_was_not_written_does_not_come_back(tmp_path):
    (tmp_path / "net.prototxt").write_text(SMALL)
    net = Net(tmp_path / "net.prototxt")
    net.to_onnx(tmp_path / "net.onnx")
    import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    assert diff(str(tmp_path / "net.prototxt"), str(tmp_path / "out/net.prototxt")) == []


def test_a_graph_that_was_changed_is_read_operator_by_operator(tmp_path):
    net = Net(SMALL)
    made_up(net)
    net.to_onnx(tmp_path / "net.onnx", fixed=True)
    model = read(tmp_path / "net.onnx")
    model.nodes[-1].attrs["axis"] = -1
    model.metadata = {}
    message, weights = net_of(model, {})
    image = np.random.default_rng(0).standard_normal((1, 3, 12, 14)).astype(np.float32)
    expected = {blob: np.array(array) for blob, array in net.forward({"data": image}).items()}
    assert differences(Net(message, weights=weights).forward({"data": image}), expected) == []


def test_what_has_no_layer_is_named(tmp_path):
    net = Net(SMALL)
    made_up(net)
    net.to_onnx(tmp_path / "net.onnx")
    model = read(tmp_path / "net.onnx")
    model.nodes[0].op = "ConvInteger"
    with pytest.raises(SchemaFault, match=r"sizes that a run brings \(batch\).*--input data=1x3x12x14"):
        net_of(model, {})
    with pytest.raises(SchemaFault, match="no Caffe layer for 1 operator: ConvInteger 'conv' .no layer computes it"):
        net_of(model, {"data": (1, 3, 12, 14)})


def test_data_outside_the_folder_are_not_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = Net(SMALL)
    made_up(net)
    (tmp_path / "in").mkdir()
    net.to_onnx(tmp_path / "in/net.onnx")
    (tmp_path / "secret").write_bytes(bytes(4096))
    for location, length, said in (
        ("../secret", 432, "outside the file's folder"),
        ("x", 432, "which is not beside the file"),
        ("net.onnx", 10**9, "claims"),
    ):
        message = onnx.load(tmp_path / "in/net.onnx")
        (weight,) = (tensor for tensor in message.graph.initializer if tensor.name == "conv.0")
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("length", str(length))):
            weight.external_data.add(key=key, value=value)
        (tmp_path / "in/other.onnx").write_bytes(message.SerializeToString())
        with pytest.raises(NetError, match=said):
            read(tmp_path / "in/other.onnx")
