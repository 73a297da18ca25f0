"""What a file can be written with: folded, in half precision, with its preprocessing, with weights beside it."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx import back
from demitasse.netdef.onnx.preprocess import Preprocessing
from demitasse.proto import onnx_file
from demitasse.proto.errors import SchemaFault
from tests.test_onnx.peers import differences, made_up, run

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 20 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "drop" }
layer { name: "up" type: "Deconvolution" bottom: "drop" top: "up"
        convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "bias" type: "Scale" bottom: "up" top: "bias" }
layer { name: "prob" type: "Softmax" bottom: "bias" top: "prob" }
"""


@pytest.fixture
def net():
    net = Net(NET)
    made_up(net)
    return net


def image(height=24, width=20):
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.uint8)


def expected(net, pixels):
    return {blob: np.array(array) for blob, array in net.forward({"data": pixels.astype(np.float32)}).items()}


def test_folded(net, tmp_path):
    net.to_onnx(tmp_path / "net.onnx", fold=True)
    operators = [node.op for node in onnx_file.read(tmp_path / "net.onnx").nodes]
    assert operators == ["Conv", "Relu", "ConvTranspose", "Softmax"]
    pixels = np.random.default_rng(0).standard_normal((2, 3, 24, 28))
    assert differences(run(tmp_path / "net.onnx", {"data": pixels.astype(np.float32)}), expected(net, pixels)) == []


def test_half_precision(net, tmp_path):
    net.to_onnx(tmp_path / "net.onnx", fp16=True)
    model = onnx_file.read(tmp_path / "net.onnx")
    assert {str(array.dtype) for array in model.arrays.values()} <= {"float16", "int64"}
    pixels = np.random.default_rng(0).standard_normal((1, 3, 16, 20))
    got = run(tmp_path / "net.onnx", {"data": pixels.astype(np.float32)})
    assert differences(got, expected(net, pixels), 1e-2) == []


DETECTOR = """
layer { name: "loc" type: "Input" top: "loc" input_param { shape { dim: 1 dim: 32 } } }
layer { name: "conf" type: "Input" top: "conf" input_param { shape { dim: 1 dim: 16 } } }
layer { name: "prior" type: "Input" top: "prior" input_param { shape { dim: 1 dim: 2 dim: 32 } } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "found"
        detection_output_param { num_classes: 2 nms_param { nms_threshold: 0.4 } keep_top_k: 5 } }
"""


def test_detectors_in_half_precision(tmp_path):
    """Boxes are suppressed in float32, which is all that ONNX has for it."""
    net = Net(DETECTOR)
    net.to_onnx(tmp_path / "net.onnx", fp16=True)
    places = np.arange(8) * 0.1
    prior = np.stack([places, places, places + 0.12, places + 0.14], axis=1).reshape(-1)
    scores = np.float32([0.9, 0.2, 0.5, 0.8, 0.3, 0.6, 0.7, 0.4])
    inputs = {
        "loc": np.random.default_rng(0).normal(0, 0.3, (1, 32)).astype(np.float32),
        "conf": np.stack([1 - scores, scores], axis=1).reshape(1, -1),
        "prior": np.concatenate([prior, np.full(32, 0.1)]).reshape(1, 2, 32).astype(np.float32),
    }
    found = net.forward(inputs)
    assert found["found"].shape == (1, 1, 5, 7)
    assert differences(run(tmp_path / "net.onnx", inputs), found, 1e-2) == []


@pytest.mark.parametrize("rgb", [False, True])
def test_the_file_eats_an_image(net, rgb, tmp_path):
    way = Preprocessing(mean=[10, 20, 30], scale=0.017, rgb=rgb, classes=["a", "b"])
    net.to_onnx(tmp_path / "net.onnx", image=way, preprocess=True)
    model = onnx_file.read(tmp_path / "net.onnx")
    assert model.inputs == {"image": ("uint8", ["batch", "height", "width", 3])}
    assert model.metadata["classes"] == "a\nb" and model.metadata["mean"] == "10,20,30"
    ordered = image() if rgb else image()[..., ::-1]
    pixels = (ordered.astype(np.float32) - [10, 20, 30]).transpose(0, 3, 1, 2) * 0.017
    assert differences(run(tmp_path / "net.onnx", {"image": image()}), expected(net, pixels), 1e-4) == []


def test_a_mean_of_each_pixel_is_cut_to_the_image(net, tmp_path):
    mean = np.random.default_rng(1).uniform(90, 130, (3, 20, 21)).astype(np.float32)
    net.to_onnx(tmp_path / "net.onnx", image=Preprocessing(mean=mean), preprocess=True)
    model = onnx_file.read(tmp_path / "net.onnx")
    assert model.inputs == {"image": ("uint8", ["batch", 16, 20, 3])}
    pixels = image(16, 20)[..., ::-1].transpose(0, 3, 1, 2) - mean[:, 2:18, :20]
    assert differences(run(tmp_path / "net.onnx", {"image": image(16, 20)}), expected(net, pixels), 1e-4) == []
    with pytest.raises(SchemaFault, match="the mean image measures 20x19, and the net's images 16x20"):
        net.to_onnx(tmp_path / "net.onnx", image=Preprocessing(mean=mean[:, :, :19]), preprocess=True)


def test_the_file_resizes_an_image(net, tmp_path):
    net.to_onnx(tmp_path / "net.onnx", image=Preprocessing(resize=(32, 40)), preprocess=True)
    ordered = image(16, 20)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    twice = np.array(Net(TWICE).forward({"data": ordered})["data2"])
    inner = expected(net, twice)["prob"][..., 2:-2, 2:-2]
    got = run(tmp_path / "net.onnx", {"image": image(16, 20)})["prob"]
    assert got.shape == (1, 4, 32, 40)
    assert differences({"prob": got[..., 2:-2, 2:-2]}, {"prob": inner}, 1e-3) == []  # Deconvolution's border is darker


TWICE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 20 } } }
layer { name: "data2" type: "Deconvolution" bottom: "data" top: "data2" convolution_param {
        num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" } } }
"""


def test_large_weights_lie_beside_the_file(net, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 100)
    monkeypatch.setattr(onnx_file, "SMALL", 64)
    net.to_onnx(tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size >= 4 * (4 * 3 * 9 + 4 * 4 * 16)
    pixels = np.random.default_rng(0).standard_normal((1, 3, 16, 20))
    got = run(tmp_path / "net.onnx", {"data": pixels.astype(np.float32)})
    assert differences(got, expected(net, pixels)) == []
    assert onnx_file.read(tmp_path / "net.onnx").arrays["conv.0"].shape == (4, 3, 3, 3)


def test_large_weights_come_back_as_hdf5(net, tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    net.to_onnx(tmp_path / "net.onnx")
    monkeypatch.setattr(back, "LARGEST", 100)
    assert "net.prototxt and .caffemodel.h5" in back.import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    again = Net(tmp_path / "out/net.prototxt", weights=str(tmp_path / "out/net.caffemodel.h5"))
    assert np.array_equal(again.params["conv"][0].data, net.params["conv"][0].data)
