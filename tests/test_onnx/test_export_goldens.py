"""Every golden case of a layer, exported and run in ONNX Runtime: real Caffe's numbers, from files of free and of
fixed sizes; and at sizes that the file wasn't made for, the engine's own."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers import golden
from tests.test_onnx.peers import differences, golden_net, run

# The TRAIN phase takes the statistics of the batch here, the file holds the TEST phase; and a net without outputs.
OTHER_IN_TEST = {
    "batchnorm_2d",
    "batchnorm_n1",
    "batchnorm_train",
    "batchnorm_train_fresh",
    "batchnorm_train_maf",
    "silence",
}
CASES = [name for name in golden.case_names() if name not in OTHER_IN_TEST]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*coeff is ignored", "ignore:.*without effect", "ignore:.*look exchanged"
)


@pytest.mark.parametrize("name", CASES)
def test_runs_as_caffe_did(name, tmp_path):
    case = golden.case(name)
    net, inputs = golden_net(case)
    expected = {blob: case.arrays[f"top_{index}"] for index, blob in enumerate(case.tops)}
    for fixed in (False, True):
        net.to_onnx(tmp_path / "net.onnx", fixed=fixed)
        got = run(tmp_path / "net.onnx", inputs)
        assert differences(got, expected, holes=name in golden.EMPTY_WINDOWS) == []


def free_images(name):
    """Whether the case is a layer of images alone."""
    shapes = [layer.input_param.shape[0].dim for layer in golden.case(name).net.layer if layer.type == "Input"]
    return shapes and all(len(shape) == 4 for shape in shapes)


@pytest.mark.parametrize("longer", [(1, 3, 5), (0, 4, 4)])
@pytest.mark.parametrize("name", [name for name in CASES if free_images(name)])
def test_other_sizes_run_as_the_engine_does(name, longer, tmp_path):
    net, inputs = golden_net(golden.case(name))
    net.to_onnx(tmp_path / "net.onnx")
    random = np.random.default_rng(1)
    labels = {spec.bottom[1] for spec in net.specs if len(spec.bottom) > 1 and net.layers[0] and "Loss" in spec.type}
    others = {}
    for blob, array in inputs.items():
        shape = (array.shape[0] + longer[0], array.shape[1], array.shape[2] + longer[1], array.shape[3] + longer[2])
        values = random.permuted(np.resize(array, shape).reshape(-1)).reshape(shape)
        others[blob] = np.ascontiguousarray(np.abs(np.trunc(values)) % 3 if blob in labels else values, np.float32)
    try:
        expected = {blob: np.array(array) for blob, array in net.forward(others).items()}
    except NetError:
        pytest.skip("the net has these sizes only")
    assert differences(run(tmp_path / "net.onnx", others), expected) == []
