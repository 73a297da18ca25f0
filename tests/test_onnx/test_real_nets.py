"""Released nets in ONNX Runtime, from files of free sizes: our numbers.  Needs ../shared/weights."""

from pathlib import Path

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file
from tests.test_onnx.peers import differences, run, run_in_opencv

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is not there")
NETS = {
    "lenet-v1": ("lenet.prototxt", "lenet_iter_10000.caffemodel"),
    "cifar10-quick-h5": ("cifar10_quick.prototxt", "cifar10_quick_iter_5000.caffemodel.h5"),
    "squeezenet": ("SqueezeNet_deploy.prototxt", "squeezenet_v1.0_dc_decoded.caffemodel"),
    "fsrcnn": ("FSRCNN_mat.prototxt", "snapshot_iter_1000.caffemodel"),
    "wechat-sr": ("sr.prototxt", "sr.caffemodel"),
    "tusimple-lane-fcn": (
        "mobilenet_yolov3_lite_deploy.prototxt",
        "mobilenet_yolov3_lite_deploy_iter_50000.caffemodel",
    ),
    "enet-cityscapes": ("enet_deploy_final.prototxt", "cityscapes_weights.caffemodel"),
}
LARGE = {"enet-cityscapes", "tusimple-lane-fcn"}


@pytest.mark.parametrize("name", ["squeezenet", "wechat-sr"])
def test_opencv_reads_them(name, tmp_path):
    prototxt, weights = (str(WEIGHTS / name / file) for file in NETS[name])
    net = Net(prototxt, weights=weights)
    (blob,) = net.inputs
    image = np.random.default_rng(0).standard_normal(net.shapes[blob]).astype(np.float32) * 40
    net.to_onnx(tmp_path / "net.onnx")
    got = run_in_opencv(tmp_path / "net.onnx", {blob: image})
    assert differences(got, net.forward({blob: image}), 1e-4) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full) if name in LARGE else name for name in NETS]
)
def test_there_and_back(name, tmp_path):
    prototxt, weights = (str(WEIGHTS / name / file) for file in NETS[name])
    net = Net(prototxt, weights=weights)
    random = np.random.default_rng(0)
    inputs = {blob: random.standard_normal(net.shapes[blob]).astype(np.float32) * 40 for blob in net.inputs}
    expected = {blob: np.array(array) for blob, array in net.forward(inputs).items()}
    net.to_onnx(tmp_path / "net.onnx")
    assert differences(run(tmp_path / "net.onnx", inputs), expected, 1e-4) == []
    import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    back = Net(tmp_path / "out/net.prototxt", weights=str(tmp_path / "out/net.caffemodel"))
    assert differences(back.forward(inputs), expected, 1e-6) == []
