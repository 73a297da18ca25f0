"""Nets that torch.onnx writes, with random weights, come in as Caffe nets of the same numbers."""

from importlib.util import find_spec

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file
from tests.test_onnx.peers import differences

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
TOLERANCE = 1e-4
DECLARED = []  # a library of torch, which lives as long as somebody holds it


def unet():
    nn = torch.nn

    def block(a, b):
        return nn.Sequential(
            *(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()),
            *(nn.Conv2d(b, b, 3, padding=1), nn.LeakyReLU(0.1)),
        )

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList([block(3, 8), block(8, 16), block(16, 32)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.Upsample(scale_factor=2, mode="bilinear")])
            self.join, self.pool = nn.ModuleList([block(32, 16), block(24, 8)]), nn.MaxPool2d(2)
            self.score = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            fine = self.down[0](x)
            middle = self.down[1](self.pool(fine))
            deep = self.down[2](self.pool(middle))
            y = self.join[0](torch.cat([self.up[0](deep), middle], 1))
            y = self.join[1](torch.cat([self.up[1](y), fine], 1))
            return torch.softmax(self.score(y), 1)

    return UNet()


def torchvision_models():
    """torchvision's nets.  Where its library is made for another torch, the operators that its import asks for, which
    these nets do not use, are declared in their place."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        from torchvision import models
    except RuntimeError:
        DECLARED.append(torch.library.Library("torchvision", "DEF"))
        DECLARED[0].define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        DECLARED[0].define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        from torchvision import models
    return models


def of_torchvision(name):
    def make():
        models = torchvision_models()
        if name == "fcn_resnet50":
            return models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=False)
        return getattr(models, name)(weights=None)

    return make


NETS = {
    "unet": (unet, 64),
    "resnet18": (of_torchvision("resnet18"), 96),
    "mobilenet_v2": (of_torchvision("mobilenet_v2"), 96),
    "fcn_resnet50": (of_torchvision("fcn_resnet50"), 96),
}
OPSETS = [("script", opset) for opset in range(9, 21)] + [("dynamo", opset) for opset in range(18, 22)]
QUICK = [("unet", "script", 9), ("unet", "script", 13)]


@pytest.mark.parametrize(
    "name, exporter, opset",
    QUICK
    + [
        pytest.param(name, *way, marks=pytest.mark.full) for name in NETS for way in OPSETS if (name, *way) not in QUICK
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_net_of_torch_comes_in(name, exporter, opset, tmp_path):
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    make, size = NETS[name]
    torch.manual_seed(0)
    module = make().eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        expected = module(image)
    expected = expected["out"] if isinstance(expected, dict) else expected
    torch.onnx.export(module, (image,), str(tmp_path / "net.onnx"), dynamo=exporter == "dynamo", opset_version=opset)
    import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    net = Net(tmp_path / "out/net.prototxt", weights=str(tmp_path / "out/net.caffemodel"))
    ((blob, top),) = net.forward({net.inputs[0]: image.numpy()}).items()
    assert differences({blob: np.array(top)}, {blob: expected.numpy()}, TOLERANCE) == []
