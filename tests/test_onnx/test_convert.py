"""`convert` with an .onnx file on either side."""

import numpy as np
import pytest

from demitasse.netdef.__main__ import main
from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import net_of
from demitasse.proto import onnx_file
from tests.test_onnx.peers import differences, made_up, run
from tests.test_onnx.test_back import SMALL

onnx = pytest.importorskip("onnx")
SIZES = (1, 3, 12, 14)


@pytest.fixture
def small(tmp_path):
    (tmp_path / "net.prototxt").write_text(SMALL)
    net = Net(tmp_path / "net.prototxt")
    made_up(net)
    net.save(tmp_path / "net.caffemodel")
    return net


def convert(tmp_path, *words):
    return main(["convert", *(str(tmp_path / word) if word[0] != "-" and "=" not in word else word for word in words)])


def test_there_and_back(small, tmp_path, capsys):
    assert convert(tmp_path, "net.prototxt", "net.onnx", "--weights", "net.caffemodel") == 0
    assert "inputs data batchx3x12x14" in capsys.readouterr().out
    image = np.random.default_rng(0).standard_normal((1, 3, 12, 14)).astype(np.float32)
    expected = {blob: np.array(array) for blob, array in small.forward({"data": image}).items()}
    assert differences(run(tmp_path / "net.onnx", {"data": image}), expected, 1e-4) == []
    assert convert(tmp_path, "net.onnx", "out") == 0
    back = Net(tmp_path / "out/net.prototxt", weights=str(tmp_path / "out/net.caffemodel"))
    assert differences(back.forward({"data": image}), expected) == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["net.prototxt", "x.onnx", "--mean=104,117"], "2 means, and no input has as many channels: data batchx3x"),
        (["net.prototxt", "x.onnx", "--preprocess", "--mean=104,117"], "2 means, and no input"),
        (["net.onnx", "out", "--input", "data=1x3x12"], "--input data=1x3x12: the file's 'data' has 4 axes, batchx3x"),
        (["net.onnx", "out", "--input", "dat=1x3x12x14"], "has no input 'dat', its inputs are data"),
        (["net.onnx", "x.npz"], "give a folder"),
        (["net.onnx", "out", "--fold", "--scale=2"], "--fold, --scale are for writing a net as an .onnx file, and"),
        (["net.prototxt", "x.onnx", "--weights=net.onnx"], "net.onnx: an ONNX file: convert it to a folder"),
        (
            ["net.prototxt", "x.onnx", "--outputs=polo"],
            "--outputs polo: the net has no blob 'polo' (did you mean 'pool'?)",
        ),
        (["net.onnx", "x.onnx"], "x.onnx: give a folder"),
        (["net.prototxt", "x.onnx", "--outputs=data"], "'data' is an input of the net; name what layers make"),
    ],
)
def test_what_cannot_be_meant_is_said(small, words, said, tmp_path, capsys):
    small.to_onnx(tmp_path / "net.onnx")
    if words[0] == "net.prototxt":
        words = [words[0], words[1], "--weights", str(tmp_path / "net.caffemodel"), *words[2:]]
    words = [word.replace("--weights=", f"--weights={tmp_path}/") for word in words]
    assert convert(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_file_ends_where_it_is_told(small, tmp_path):
    words = ["--weights", "net.caffemodel", "--outputs=pool,bn"]
    assert convert(tmp_path, "net.prototxt", "net.onnx", *words) == 0
    model = onnx_file.read(tmp_path / "net.onnx")
    assert [node.op for node in model.nodes] == ["Conv", "BatchNormalization", "Relu", "MaxPool"]
    image = np.random.default_rng(0).standard_normal(SIZES).astype(np.float32)
    kept = Net(SMALL, weights=str(tmp_path / "net.caffemodel"), keep="all")
    kept.forward({"data": image})
    expected = {blob: np.array(kept.blobs[blob].data) for blob in ("bn", "pool")}
    assert differences(run(tmp_path / "net.onnx", {"data": image}), expected) == []
    assert convert(tmp_path, "net.onnx", "out") == 0
    back = Net(tmp_path / "out/net.prototxt", weights=str(tmp_path / "out/net.caffemodel"))
    assert back.outputs == ["pool"] and differences(back.forward({"data": image}), {"pool": expected["pool"]}) == []


def test_what_was_written_here_comes_back_in_other_sizes(tmp_path):
    net = Net(SMALL.replace("Input", "DummyData").replace("input_param", "dummy_data_param"), inputs={"data": SIZES})
    net.to_onnx(tmp_path / "net.onnx")
    message, _ = net_of(onnx_file.read(tmp_path / "net.onnx"), {"data": (2, 3, 12, 14)})
    assert Net(message).shapes["up"] == (2, 4, 12, 14)
    assert [layer.type for layer in message.layer] == [layer.type for layer in net.plan.message.layer]


def test_classes_that_are_no_scores_are_told(small, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.warns(UserWarning, match="2 classes are named, and the net gives 5 scores"):
        convert(tmp_path, "net.prototxt", "net.onnx", "--weights", "net.caffemodel", "--classes", "classes.txt")


TRAINED = """
layer { name: "d" type: "Data" top: "x" top: "label" data_param { source: "gone" batch_size: 4 } }
layer { name: "score" type: "InnerProduct" bottom: "x" top: "score" inner_product_param { num_output: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def test_labels_of_items_take_the_place_of_data(tmp_path):
    (tmp_path / "net.prototxt").write_text(TRAINED)
    Net(TRAINED, inputs={"x": (1, 3, 4, 5), "label": (1,)}).save(tmp_path / "net.caffemodel")
    words = ["--weights", "net.caffemodel", "--input", "x=1x3x4x5"]
    assert convert(tmp_path, "net.prototxt", "net.onnx", *words) == 0
    assert onnx_file.read(tmp_path / "net.onnx").inputs["label"][1] == ["batch"]
    assert convert(tmp_path, "net.prototxt", "net.onnx", *words, "--outputs=score") == 0
    assert list(onnx_file.read(tmp_path / "net.onnx").inputs) == ["x"]


def test_refusals_are_one_line(small, tmp_path, capsys):
    with pytest.raises(SystemExit):
        convert(tmp_path, "net.prototxt", "net.onnx", "--outputs=pool,")
    assert "'pool,' is not a name, or several joined by commas" in capsys.readouterr().err
    assert convert(tmp_path, "net.prototxt", "net.onnx") == 2
    assert "give what they have learned as --weights" in capsys.readouterr().err
    assert convert(tmp_path, "net.prototxt", "net.onnx", "--weights", "net.caffemodel", "--scale=0") == 2
    assert "--scale 0: the net would see nothing but zeros" in capsys.readouterr().err
    text = 'layer { name: "d" type: "MemoryData" top: "x" top: "l" memory_data_param { batch_size: 1 channels: 1 '
    text += 'height: 4 width: 4 } }\nlayer { name: "s" type: "Softmax" bottom: "x" top: "y" }\n'
    (tmp_path / "data.prototxt").write_text(text)
    assert convert(tmp_path, "data.prototxt", "net.onnx") == 2
    error = capsys.readouterr().err
    assert "layer 'd' (MemoryData): MemoryData has no translation to ONNX" in error and "--input x=" in error
    assert error.count("\n") == 1 and not (tmp_path / "net.onnx").exists()
    assert convert(tmp_path, "net.prototxt", "whole.onnx", "--weights", "net.caffemodel") == 0
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07\xff\xff")
    assert convert(tmp_path, "bad.onnx", "out") == 2
    assert "bad.onnx: not an ONNX file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda graph: graph.node[0].ClearField("output"), "an operator has no output"),
        (lambda graph: graph.ClearField("output"), "the graph has no output"),
        (
            lambda graph: graph.output[0].MergeFrom(onnx.ValueInfoProto(name="gone")),
            "no operator makes the output 'gone'",
        ),
        (lambda graph: graph.node[1].input.__setitem__(0, "gone"), "reads 'gone', which is no input, no constant"),
    ],
)
def test_a_damaged_graph_is_refused(small, change, said, tmp_path, capsys):
    small.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    change(model.graph)
    onnx.save(model, tmp_path / "net.onnx")
    assert convert(tmp_path, "net.onnx", "out", "--input", "data=1x3x12x14") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_arrays_that_lie_elsewhere_are_missed(small, tmp_path, capsys):
    small.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=10)
    (tmp_path / "net.data").unlink()
    assert convert(tmp_path, "net.onnx", "out") == 2
    assert "lies in 'net.data', which is not beside the file: copy it too" in capsys.readouterr().err
