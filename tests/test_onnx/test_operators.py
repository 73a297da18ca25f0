"""ONNX's operators one by one as Caffe's layers: ONNX Runtime's numbers."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import net_of
from demitasse.proto import onnx_file
from demitasse.proto.errors import SchemaFault
from tests.test_onnx.peers import differences, run

onnx = pytest.importorskip("onnx")
I64 = np.int64
KERNEL = np.random.default_rng(1).standard_normal((4, 6, 3, 3)).astype(np.float32)
CASES = {
    "pad": ("Pad", [np.array([0, 0, 1, 0, 0, 0, 2, 3], I64)], {}, 13),
    "slice": ("Slice", [np.array([1, -4], I64), np.array([3, 99], I64), np.array([1, 3], I64)], {}, 13),
    "depth_first": ("DepthToSpace", [], {"blocksize": 2}, 13),
    "channels_first": ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}, 13),
    "to_depth": ("SpaceToDepth", [], {"blocksize": 2}, 13),
    "hard_sigmoid": ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}, 13),
    "hard_swish": ("HardSwish", [], {}, 14),
    "log_softmax": ("LogSoftmax", [], {"axis": 1}, 13),
    "least": ("Clip", [np.float32(-0.5)], {}, 13),
    "slice_of_old": ("Slice", [], {"starts": [1, 1], "ends": [3, 4], "axes": [1, 3]}, 9),
    "square": ("Pow", [np.float32(2)], {}, 13),
    "negative": ("Neg", [], {}, 13),
    "sum_of_images": ("ReduceSum", [np.array([2, 3], I64)], {"keepdims": 0}, 13),
    "mean_of_rows": ("ReduceMean", [], {"axes": [3]}, 13),
    "lrn": ("LRN", [], {"size": 3, "alpha": 0.3, "bias": 2.0}, 13),
    "same_upper": ("Conv", [KERNEL.swapaxes(0, 1)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 13),
    "uneven": ("ConvTranspose", [KERNEL], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, 13),
    "twice": ("Resize", [np.zeros(0, "f4"), np.array([1, 1, 2, 2], "f4")], {"nearest_mode": "floor"}, 13),
    "channels_alike": ("Mul", [np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)], {}, 13),
}


def written(path, case):
    op, constants, attrs, opset = CASES[case]
    if op == "Resize":
        attrs = attrs | {"coordinate_transformation_mode": "asymmetric"}
    names = ["x"] + ["" if array.size == 0 else f"c{i}" for i, array in enumerate(constants)]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attrs)],
        "one",
        [info("x", 1, [1, 4, 6, 8])],
        [info("y", 1, None)],
        [onnx.numpy_helper.from_array(a, f"c{i}") for i, a in enumerate(map(np.asarray, constants)) if a.size],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=7)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("case", CASES)
def test_an_operator_comes_in(case, tmp_path):
    written(tmp_path / "net.onnx", case)
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 8)).astype(np.float32)
    message, weights = net_of(onnx_file.read(tmp_path / "net.onnx"), {})
    net = Net(message)
    if weights:
        net.load(weights)
    tops = net.forward({"x": x})
    assert differences({"y": np.array(tops["y"])}, run(tmp_path / "net.onnx", {"x": x})) == []


def test_softmax_of_old_over_all_axes_is_refused(tmp_path):
    CASES["old"] = ("Softmax", [], {}, 11)
    try:
        written(tmp_path / "net.onnx", "old")
    finally:
        del CASES["old"]
    with pytest.raises(SchemaFault, match="one softmax over all axes from 1 on"):
        net_of(onnx_file.read(tmp_path / "net.onnx"), {})


def test_sizes_that_an_old_graph_computes(tmp_path):
    """Slice took its bounds as attributes before opset 10."""
    node = onnx.helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape"], ["first"], starts=[0], ends=[2], axes=[0]),
        node("Constant", [], ["rest"], value=onnx.numpy_helper.from_array(np.array([-1], I64))),
        node("Concat", ["first", "rest"], ["sizes"], axis=0),
        node("Reshape", ["x", "sizes"], ["y"]),
    ]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "old", [info("x", 1, [2, 3, 4, 5])], [info("y", 1, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=4)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    message, _ = net_of(onnx_file.read(tmp_path / "net.onnx"), {})
    assert Net(message).shapes["y"] == (2, 3, 20)
