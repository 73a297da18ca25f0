"""ONNX Runtime on files that are written here."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.proto import onnx_file
from tests.test_layers import golden

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
ERRORS_ONLY = 3


def run(path, inputs):
    """{output: array} of an .onnx file for {input: array}; inputs that it has not are passed over."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    fed = {value.name: inputs[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, fed), strict=True))


def run_in_opencv(path, inputs):
    """The same in OpenCV 5."""
    cv2 = pytest.importorskip("cv2", minversion="5")
    net, graph = cv2.dnn.readNetFromONNX(str(path)), onnx_file.read(path)
    for name in graph.inputs:
        net.setInput(inputs[name], name)
    return {name: net.forward(name) for name in graph.outputs}


def differences(got, expected, tolerance=1e-5, holes=False):
    """The outputs that differ from {blob: array} by more than the tolerance of the largest, each as a sentence.

    The top of an in-place layer is called after its blob and, since an input has that name, its layer.
    """
    found = {name.split("/")[0]: array for name, array in got.items()} | got
    faults = {name: golden.difference(found[name], array, tolerance, holes) for name, array in expected.items()}
    return [f"{name}: {fault}" for name, fault in faults.items() if fault]


def golden_net(case):
    """(the case's net in the TEST phase with its learned arrays, its inputs)."""
    net = Net(case.net, "TEST", seed=1)
    for index, name in enumerate(case.params):
        layer, number = name.rstrip("]").split("[")
        param = net.params[layer][int(number)]
        net.plan.shared.get(param, param).data[...] = case.arrays[f"param_{index}"]
    return net, {name: case.arrays[f"bottom_{index}"] for index, name in enumerate(net.inputs)}


def made_up(net, seed=0):
    """Gives a net's learned arrays values that tell mistakes apart; above zero, as some are variances."""
    random = np.random.default_rng(seed)
    for param in net.learnable:
        values = np.abs(random.standard_normal(param.shape)).astype(np.float32) + np.float32(0.1)
        param.data[...] = net.backend.asarray(values / np.sqrt(max(np.prod(param.shape[1:]), 1)))
