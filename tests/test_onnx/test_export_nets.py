"""Whole nets in ONNX Runtime: FCNs from one file at three sizes, in few channels (all with DEMITASSE_FULL=1)."""

from pathlib import Path

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.proto.onnx_file import read
from demitasse.proto.text import read_net
from tests.test_netdef import goldens
from tests.test_onnx.conditioned import compare, condition
from tests.test_onnx.peers import differences, run, run_in_opencv

MODELS = Path(__file__).resolve().parents[2] / "models"
DEPLOYED = sorted(path.parent.name for path in MODELS.glob("*/deploy.prototxt"))
DETECTORS = [name for name in DEPLOYED if name.endswith("_demo")]
SEGMENTERS = [name for name in DEPLOYED if name not in DETECTORS]
SIZES = [(40, 56), (33, 47), (61, 48)]
UNET_SIZES = [(64, 96), (32, 48), (96, 80)]  # it halves its image four times
OTHER_SIZES = [(50, 73), (97, 64)]
SEVERAL = {"voc-fcn8s", "voc-fcn-alexnet", "nyud-fcn32s-color-d"}
TOLERANCE = 1e-4


def narrow(path, channels=16):
    """A net of as many layers with no more than so many channels, but for its classes."""
    message, _ = read_net(path)
    for layer in message.layer:
        if layer.type == "Convolution" and not layer.name.startswith("score"):
            layer.convolution_param.num_output = min(channels, layer.convolution_param.num_output)
    return message


@pytest.mark.parametrize(
    "name", [name if name in SEVERAL else pytest.param(name, marks=pytest.mark.full) for name in SEGMENTERS]
)
def test_one_file_for_all_sizes(name, tmp_path):
    net = Net(narrow(MODELS / name / "deploy.prototxt"))
    sizes = SIZES if name != "voc-unet" else UNET_SIZES
    random = np.random.default_rng(0)
    condition(net, {blob: random.standard_normal((1, net.shapes[blob][1], *sizes[0])) for blob in net.inputs})
    net.to_onnx(tmp_path / "net.onnx")
    channels = {blob: net.shapes[blob][1] for blob in net.inputs}
    free = {blob: ("float32", ["batch", count, "height", "width"]) for blob, count in channels.items()}
    assert read(tmp_path / "net.onnx").inputs == free
    for size in sizes:
        images = {
            blob: random.standard_normal((1, count, *size)).astype(np.float32) for blob, count in channels.items()
        }
        expected = net.forward(images)
        assert differences(run(tmp_path / "net.onnx", images), expected, TOLERANCE) == []


REPEATED = """
layer { name: "hint" type: "Input" top: "hint" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 1 } } }
layer { name: "map" type: "Input" top: "map" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 } } }
layer { name: "rep" type: "Python" bottom: "hint" bottom: "map" top: "rep"
        python_param { module: "caffe_traininglayers" layer: "SpatialRepLayer" } }
"""


def test_a_python_layer_says_what_it_computes(tmp_path):
    net = Net(REPEATED)
    net.to_onnx(tmp_path / "net.onnx")
    inputs = {"hint": np.float32([[[[3]], [[4]]]]), "map": np.zeros((1, 3, 2, 7), np.float32)}
    assert differences(run(tmp_path / "net.onnx", inputs), net.forward(inputs)) == []


CLUSTERED = """
layer { name: "coverage" type: "Input" top: "coverage" input_param { shape { dim: 1 dim: 2 dim: 9 dim: 12 } } }
layer { name: "boxes" type: "Input" top: "boxes" input_param { shape { dim: 1 dim: 4 dim: 9 dim: 12 } } }
layer { name: "cluster" type: "Python" bottom: "coverage" bottom: "boxes" top: "first" top: "second"
        python_param { module: "caffe.layers.detectnet.clustering" layer: "ClusterDetections"
                       param_str: "192, 144, 16, 0.6, VOTES, 0.1, 22, 2" } }
"""


@pytest.mark.parametrize("votes", [0, 1, 3])
def test_cells_gather_their_boxes(votes, tmp_path):
    net, random = Net(CLUSTERED.replace("VOTES", str(votes))), np.random.default_rng(0)
    net.to_onnx(tmp_path / "net.onnx")
    objects = random.integers([0, 0, 30, 30], [90, 60, 100, 80], (5, 4))
    cells = np.stack(np.meshgrid(np.arange(9), np.arange(12), indexing="ij"))[::-1] * 16  # x, y
    for images, share in ((1, 0.9), (3, 0.5), (2, 0.0)):
        boxes = objects[random.integers(0, 5, (images, 9, 12))] + random.normal(0, 2, (images, 9, 12, 4))
        boxes = boxes.transpose(0, 3, 1, 2) - np.concatenate([cells, cells])
        coverage = random.uniform(0.61, 0.9, (images, 2, 9, 12)) * (random.random((images, 2, 9, 12)) < share)
        inputs = {"coverage": coverage.astype(np.float32), "boxes": boxes.astype(np.float32)}
        expected = net.forward(inputs)
        assert bool(share) == bool(expected["first"].any())
        assert differences(run(tmp_path / "net.onnx", inputs), expected) == []


PIECES = """
layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 1 dim: 20 dim: 4 dim: 5 } } }
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 20 dim: 4 dim: 5 } } }
layer { name: "info" type: "Input" top: "info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "pieces" type: "Python" bottom: "s" bottom: "d" bottom: "info" top: "rois" top: "scores"
        python_param { module: "layers.text_proposal_layer" layer: "ProposalLayer" param_str: "'feat_stride': 16" } }
"""


def test_pieces_of_lines_of_text(tmp_path):
    net, random = Net(PIECES), np.random.default_rng(0)
    net.to_onnx(tmp_path / "net.onnx")
    for size in ((4, 5), (3, 7)):
        maps = {name: random.standard_normal((1, 20, *size)).astype(np.float32) for name in "sd"}
        inputs = maps | {"info": np.float32([[16 * size[0], 16 * size[1], 1]])}
        assert differences(run(tmp_path / "net.onnx", inputs), net.forward(inputs)) == []


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_find_the_same_boxes(name, tmp_path):
    assert compare(MODELS / name / "deploy.prototxt", tmp_path) == ""


def test_opencv_finds_the_boxes_of_an_ssd(tmp_path):
    assert compare(MODELS / "ssd_demo" / "deploy.prototxt", tmp_path, run_in_opencv) == ""


@pytest.mark.parametrize("name", list(goldens.table("net_values")))
@pytest.mark.full
def test_golden_nets(name, tmp_path):
    """Real Caffe's scores, out of ONNX Runtime, at the places that the golden file has; the same file at two other
    sizes, as the engine runs it."""
    golden = goldens.table("net_values")[name]
    message, _ = read_net(golden["net"])
    net = Net(message)
    net.load(goldens.made_up_weights(net.plan.steps))
    net.to_onnx(tmp_path / "net.onnx")
    inputs = {blob: array.astype(np.float32) for blob, array in goldens.made_up_inputs(*golden["size"]).items()}
    got = run(tmp_path / "net.onnx", inputs)
    expected = goldens.arrays("net_values")
    for blob, array in got.items():
        if f"{name}:val:{blob}" in expected:
            there = expected[f"{name}:val:{blob}"]
            error = np.abs(goldens.sampled(blob, array, len(there)) - there).max()
            assert error <= TOLERANCE * golden["blobs"][blob], (blob, error)
    assert not golden["loss"] or float(got["loss"]) == pytest.approx(golden["loss"], rel=TOLERANCE)
    for size in OTHER_SIZES:
        inputs = {blob: goldens.made_up_inputs(*size)[blob].astype(np.float32) for blob in net.inputs}
        assert differences(run(tmp_path / "net.onnx", inputs), net.forward(inputs), TOLERANCE) == []
