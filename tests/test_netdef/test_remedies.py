"""Messages of nets that must name the right thing to do."""

import numpy as np
import pytest

import caffe
from demitasse.netdef.__main__ import main
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault, LabelFault, SchemaFault, ShapeFault, SyntaxFault
from tests.test_netdef.texts import blob, build, conv, layer


def only(text, rules):
    return text.replace(" }\n", f" {rules} }}\n")


@pytest.mark.parametrize(
    "type_name, remedy",
    [
        (
            "Accuracy",
            "raise num_output of the score layer, or mark such pixels or items with accuracy_param { ignore_label: 4 }",
        ),
        (
            "SoftmaxWithLoss",
            "num_output of the score layer, or mark such pixels or items with loss_param { ignore_label: 4 }",
        ),
        ("HingeLoss", "raise num_output of the score layer"),
        ("MultinomialLogisticLoss", "raise num_output of the score layer"),
    ],
)
def test_a_label_outside_the_classes(type_name, remedy):
    net = build(blob("x", (2, 4)) + blob("y", (2,)) + layer(type_name, "l", "x y"))
    with pytest.raises(LabelFault) as fault:
        net.forward({"x": np.ones((2, 4)), "y": [0, 4]})
        assert net.loss
    assert str(fault.value).endswith(remedy)


def test_what_only_layers_of_other_stages_make():
    one = only(conv("one", "data", tops="inner"), 'include { stage: "train" }')
    two = only(conv("two", "data", tops="inner"), 'include { phase: TEST stage: "val" }')
    relu = layer("ReLU", "act", "inner")
    with pytest.raises(GraphFault) as fault:
        Plan(blob() + one + two + relu, "TRAIN", stages=["deploy"])
    assert (
        "'inner', which only layers 'one' (Convolution) at 2:1 and 'two' (Convolution) at 3:1 make, none of which is "
        "part of the TRAIN net (stage 'deploy'): change their include" in str(fault.value)
    )
    with pytest.raises(GraphFault, match=r"only layer 'one' .* makes, .* TEST net \(no stage given\): .*test_state"):
        Plan(blob() + one + relu)
    Plan(blob() + one + two + relu, "TRAIN", stages=["train"])


DUMMY = "dummy_data_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }"


@pytest.mark.parametrize(
    "first, second, remedy",
    [
        ("", "include { phase: TEST }", "add include { phase: TRAIN } to 'train-data'"),
        ("include { phase: TRAIN }", "", "add include { phase: TEST } to 'val-data'"),
        ("", "", "add include { phase: TRAIN } to 'train-data' and include { phase: TEST } to 'val-data'"),
    ],
)
def test_data_layers_of_both_phases(first, second, remedy, tmp_path, capsys):
    text = layer("DummyData", "train-data", "", "data", f"{DUMMY} {first}")
    text += layer("DummyData", "val-data", "", "data", f"{DUMMY} {second}")
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    phase = "TRAIN" if "TRAIN" in first else "TEST"
    assert main(["show", "--phase", phase, str(path)]) == 2
    assert capsys.readouterr().err.strip().endswith(remedy)


def test_arrays_go_by_name(tmp_path):
    array = np.ones((1, 3, 8, 8))
    with pytest.raises(GraphFault, match=r"by the names of their blobs: net\.forward\(\{'data': array\}\)"):
        build(blob()).forward(array)
    (tmp_path / "net.prototxt").write_text(blob())
    with pytest.raises(TypeError, match=r"net\.forward\(data=array\)"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).forward(array)


def test_an_input_without_its_batch(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text(blob() + conv("c", "data"))
    assert main(["show", "--input", "data=3x50x60", str(path)]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("--input data=3x50x60 has three axes, without the batch: write data=1x3x50x60")
    )


@pytest.mark.parametrize("type_name", ["SoftmaxWithLoss", "Accuracy"])
def test_bottoms_exchanged(type_name):
    with pytest.raises(ShapeFault, match="are the bottoms exchanged. The scores come first$"):
        Plan(blob("x", (2, 4, 5, 5)) + blob("y", (2, 1, 5, 5)) + layer(type_name, "l", "y x"))


def test_bottoms_that_only_count_alike_are_not_called_exchanged():
    with pytest.raises(
        ShapeFault, match="one label for each item or pixel expected$"
    ):  # 4x3x16x16 values, 4x24x32 labels
        Plan(blob("x", (4, 3, 16, 16)) + blob("y", (4, 1, 24, 32)) + layer("SoftmaxWithLoss", "l", "x y"))


@pytest.mark.parametrize(
    "shape, how",
    [
        ((8, 9, 3), "a batch of this image is array.transpose(2, 0, 1)[None]"),
        ((3, 8, 9), "a batch of this image is array[None]"),
        ((1, 8, 9, 3), "channels come before height and width: array.transpose(0, 3, 1, 2)"),
    ],
)
def test_an_image_as_others_arrange_it(shape, how):
    net = build(blob() + conv("c", "data"))
    with pytest.raises(ShapeFault) as fault:
        net.forward({"data": np.ones(shape)})
    assert str(fault.value).endswith(how)


@pytest.mark.parametrize(
    "word, how",
    [("eval", "built for its phase"), ("cuda", "make_backend"), ("state_dict", "net.save"), ("predict", "forward")],
)
def test_what_nets_of_other_frameworks_can_do(tmp_path, word, how):
    (tmp_path / "net.prototxt").write_text(blob())
    for net in (build(blob()), caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)):
        with pytest.raises(AttributeError, match=f"a net has no '{word}': .*{how}"):
            getattr(net, word)
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            net.nonsense  # noqa: B018 (that it is missing is what is tested)


def test_weights_in_the_place_of_the_phase():
    with pytest.raises(SchemaFault, match="not 'w.caffemodel'; weights are given by name: weights='w.caffemodel'"):
        Plan(blob(), "w.caffemodel")


@pytest.mark.parametrize(
    "start, what",
    [(b"\x80\x02\0c", "a Python pickle"), (b"PK\x03\x04\0", "a zip archive"), (b"\xff\xd8\xff\0", "a JPEG image")],
)
def test_another_file_in_the_place_of_a_net(tmp_path, start, what):
    (tmp_path / "net").write_bytes(start)
    with pytest.raises(SyntaxFault, match=what):
        Plan(tmp_path / "net", "TEST")
