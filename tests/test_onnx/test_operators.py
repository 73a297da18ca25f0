"""ONNX's operators one by one as Caffe's layers: ONNX Runtime's numbers."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import net_of
from demitasse.proto import onnx_file
from tests.test_onnx.peers import differences, run

onnx = pytest.importorskip("onnx")
I64 = np.int64
KERNEL = np.random.default_rng(1).standard_normal((4, 6, 3, 3)).astype(np.float32)
ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric"}
PAIR, BIAS, NONE = np.float32([1, 2, 3, 4]), np.arange(6, dtype=np.float32), np.zeros(0, "f4")
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
    "twice": ("Resize", [np.zeros(0, "f4"), np.array([1, 1, 2, 2], "f4")], {"nearest_mode": "floor", **ASYMMETRIC}, 13),
    "channels_alike": ("Mul", [np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)], {}, 13),
    "mean_without_pad": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 1]}, 13),
    "mean_uneven": ("AveragePool", [], {"kernel_shape": [3, 2], "pads": [0, 1, 1, 0], "count_include_pad": 1}, 13),
    "mean_up": ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 13),
    "largest_uneven": ("MaxPool", [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 13),
    "mirrored": ("Pad", [np.array([0, 0, 2, 0, 0, 0, 1, 3], I64)], {"mode": "reflect"}, 13),
    "edges": ("Pad", [np.array([0, 1, 2, -1, 0, 0, 1, 3], I64)], {"mode": "edge"}, 13),
    "every_second": ("Slice", [*(np.array(n, I64) for n in ([1, 6], [6, 0], [2, 3], [2, -2]))], {}, 13),
    "some_channels": ("Gather", [np.array([2, 0, -1], I64)], {"axis": 1}, 13),
    "points": ("GatherND", [np.array([[0, 1, 2], [0, -1, 0], [0, 3, 5]], I64)], {}, 13),
    "masked": ("Where", [np.arange(8) > 2, np.arange(4, dtype="f4").reshape(4, 1, 1), "x"], {}, 13),
    "masked_twice": ("Where", [np.ones((2, 1, 1, 1), bool), "x", "x"], {}, 13),
    "one_row": ("Gather", [np.array(3, I64)], {"axis": 2}, 13),
    "cubic": ("Resize", [NONE, NONE, np.array([1, 4, 9, 5], I64)], {"mode": "cubic"}, 13),
    "smaller": ("Resize", [NONE, NONE, np.array([1, 4, 4, 11], I64)], {"mode": "linear"}, 13),
    "nearest": ("Resize", [NONE, np.array([1, 1, 1.7, 0.6], "f4")], {}, 13),
    "over_eight": ("Div", [np.float32(8)], {}, 13),
    "eight_over": ("Div", [np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1), "x"], {}, 13),
    "less": ("Sub", [np.float32(2), "x"], {}, 13),
    "with_lines": ("Add", [np.arange(32, dtype=np.float32).reshape(4, 1, 8)], {}, 13),
    "larger": ("Mul", [np.arange(8, dtype=np.float32).reshape(2, 1, 4, 1, 1)], {}, 13),
    "at_most": ("Min", [np.float32(0.3)], {}, 13),
    "largest_of_channels": ("ReduceMax", [], {"axes": [1]}, 13),
    "least_of_all": ("ReduceMin", [], {"keepdims": 0}, 13),
    "length": ("ReduceL2", [], {"axes": [1], "keepdims": 0}, 13),
    "where_largest": ("ArgMax", [], {"axis": 1, "keepdims": 0}, 13),
    "instance": ("InstanceNormalization", [PAIR, PAIR[::-1].copy()], {}, 13),
    "layer": ("LayerNormalization", [np.arange(8, dtype=np.float32), np.ones(8, np.float32)], {}, 17),
    "group": ("GroupNormalization", [PAIR, PAIR[::-1].copy()], {"num_groups": 2}, 21),
    "tiles": ("Tile", [np.array([1, 2, 1, 3], I64)], {}, 13),
    "expanded": ("Expand", [np.array([2, 1, 4, 6, 8], I64)], {}, 13),
    "parts": ("Concat", [np.ones((1, 2, 6, 8), np.float32)], {"axis": 1}, 13),
    "selu": ("Selu", [], {}, 13),
    "celu": ("Celu", [], {"alpha": 0.7}, 13),
    "mish": ("Mish", [], {}, 18),
    "erf": ("Erf", [], {}, 13),
    "gelu": ("Gelu", [], {}, 20),
    "gelu_by_tanh": ("Gelu", [], {"approximate": "tanh"}, 20),
    "softmax_of_old": ("Softmax", [], {}, 11),
    "log_softmax_of_old": ("LogSoftmax", [], {"axis": 2}, 11),
    "bilinear_of_old": ("Upsample", [], {"mode": "linear", "scales": [1.0, 1.0, 2.0, 2.0]}, 7),
    "times_a_matrix": ("MatMul", [KERNEL[:1, :1, 0].repeat(8, 1).reshape(1, 8, 3)], {}, 13),
    "matrix_times": ("MatMul", [KERNEL[:, :, 0, 0], "x"], {}, 13),
    "same_size": ("ConvTranspose", [KERNEL], {"strides": [2, 3], "auto_pad": "SAME_LOWER"}, 13),
    "softsign": ("Softsign", [], {}, 13),
    "thresholded": ("ThresholdedRelu", [], {"alpha": 0.4}, 13),
    "dilated_uneven": ("Conv", [KERNEL.swapaxes(0, 1)], {"dilations": [2, 2], "pads": [1, 2, 2, 3]}, 13),
    "far_out": ("ConvTranspose", [KERNEL, BIAS], {"strides": [4, 4], "output_padding": [3, 2]}, 13),
    "of_a_size": ("ConvTranspose", [KERNEL, BIAS], {"strides": [2, 2], "output_shape": [12, 16]}, 13),
}


def written(path, case):
    op, constants, attrs, opset = CASES[case]
    constants = constants if any(isinstance(c, str) for c in constants) else ["x", *constants]
    names = [c if isinstance(c, str) else f"c{i}" if c.size else "" for i, c in enumerate(constants)]
    constants = {name: np.asarray(c) for name, c in zip(names, constants, strict=True) if name not in ("", "x")}
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attrs)],
        "one",
        [info("x", 1, [1, 4, 6, 8])],
        [info("y", onnx.TensorProto.INT64 if op == "ArgMax" else onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
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


def test_an_output_that_others_read(tmp_path):
    """It is an output of the Caffe net too, which has those that no layer reads."""
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Identity", ["b"], ["c"])]
    graph = onnx.helper.make_graph(
        nodes,
        "three",
        [info("x", 1, [1, 6, 5, 4])],
        [info(name, 1, None) for name in "abc"],
        [onnx.numpy_helper.from_array(KERNEL, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    message, weights = net_of(onnx_file.read(tmp_path / "net.onnx"), {})
    net = Net(message)
    net.load(weights)
    x = np.random.default_rng(0).standard_normal((1, 6, 5, 4)).astype(np.float32)
    assert net.outputs == ["a", "b", "c"]
    assert differences(net.forward({"x": x}), run(tmp_path / "net.onnx", {"x": x})) == []


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
