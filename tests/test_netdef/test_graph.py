"""Wiring layers by values, and what is said where they do not join."""

import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault, SchemaFault
from tests.test_netdef.texts import blob, conv, layer


def test_a_bottom_reads_the_newest_value_of_its_name():
    plan = Plan(
        blob()
        + conv("c", "data")
        + layer("Pooling", "before", "c", more="pooling_param { kernel_size: 2 }")
        + layer("ReLU", "r", "c", "c")
        + layer("Split", "after", "c", "a b")
    )
    steps = plan.by_name
    assert steps["before"].bottoms == steps["r"].bottoms == steps["c"].tops
    assert steps["after"].bottoms == steps["r"].tops != steps["c"].tops
    assert [step.name for step in steps["c"].tops[0].readers] == ["before", "r"]
    assert plan.newest["c"] is steps["r"].tops[0]


def test_outputs_are_what_nobody_reads_in_alphabetical_order():
    plan = Plan(blob() + layer("Split", "s", "data", "z b a") + layer("ReLU", "r", "b", "b") + layer("ReLU", "q", "a"))
    assert plan.outputs == ["b", "q", "z"]
    assert list(plan.newest) == ["data", "z", "b", "a", "q"]
    assert list(plan.inputs) == ["data"]


def test_a_loss_without_tops_gets_one():
    plan = Plan(blob() + blob("label", (1, 1, 8, 8)) + layer("SoftmaxWithLoss", "loss", "data label", tops=""))
    assert plan.outputs == ["loss"]
    assert [value.loss_weight for value in plan.losses] == [1.0]


def test_the_automatic_top_avoids_names_that_are_taken():
    plan = Plan(
        blob("loss")
        + blob("label", (1, 1, 8, 8))
        + layer("SoftmaxWithLoss", "loss_2", "loss label", tops="")
        + layer("EuclideanLoss", "loss_3", "loss loss", tops="loss_4")
    )
    assert plan.outputs == ["loss_2", "loss_4"]


def test_loss_weights():
    plan = Plan(
        blob()
        + blob("label", (1, 1, 8, 8))
        + layer("ReLU", "r", "data", more="loss_weight: 0.5")
        + layer("SoftmaxWithLoss", "loss", "data label", "loss prob")
        + layer("SoftmaxWithLoss", "other", "data label", more="loss_weight: 0")
    )
    assert {value.name: value.loss_weight for value in plan.values if value.loss_weight} == {"r": 0.5, "loss": 1.0}


def test_layers_without_a_name_are_named():
    plan = Plan(blob() + layer("ReLU", "", "data", "x") + layer("ReLU", "", "x", "x") + layer("Silence", "", "x", ""))
    assert [step.name for step in plan.steps] == ["data", "x", "x_2", "silence"]


@pytest.mark.parametrize(
    "text, fault, message",
    [
        (
            layer("ReLU", "r", "dta"),
            GraphFault,
            r"^2:40: layer 'r' \(ReLU\): bottom 0 reads 'dta', which no layer makes \(did you mean 'data'\?\)$",
        ),
        (layer("ReLU", "r", "other"), GraphFault, "which no layer makes; there are data$"),
        (layer("ReLU", "r", "r"), GraphFault, "bottom 'r' is made by this layer itself"),
        (
            layer("ReLU", "r", "x") + layer("ReLU", "x", "data"),
            GraphFault,
            "bottom 'x' is made by layer 'x' at 3:1, further down",
        ),
        (
            layer("Bias", "r", "data") + layer("PReLU", "r", "data", "t"),
            GraphFault,
            r"^3:1: layer 'r' \(PReLU\): the name 'r' is already that of the Bias layer at 2:1: .* needs its own",
        ),
        (
            layer("ReLU", "r", "data") + layer("TanH", "t", "data", "r"),
            GraphFault,
            "top 'r' is already made by layer 'r' at 2:1: give this one another name",
        ),
        (layer("Split", "s", "data", "a a"), GraphFault, "two tops called 'a'"),
        (
            conv("c", "data", tops="data"),
            GraphFault,
            r"top 'data' has the name of its bottom \(made by layer 'data' at 1:1\), "
            "but Convolution does not work in place: "
            'name the top differently, as top: "c"',
        ),
        (layer("Eltwise", "e", "data data", "data x"), GraphFault, "Eltwise makes 1 top, but here are 2: take out 1"),
        (layer("ReLU", "r", ""), GraphFault, 'ReLU reads 1 bottom, but here are none: add bottom: "..."'),
        (layer("Concat", "c", ""), GraphFault, "at least 1 bottom, but here are none"),
        (layer("Pooling", "p", "data", "a b c"), GraphFault, "makes 1 to 2 tops, but here are 3: take out 1"),
        (layer("Input", "i", "data"), GraphFault, "Input reads no bottoms, but here is 1: take out 1"),
        (
            layer("Convolution", "c", "data data", "x"),
            GraphFault,
            "one top for each bottom, but here are 2 bottoms and 1 top",
        ),
        (layer("ReLU", "r", "data", more="loss_weight: 1 loss_weight: 2"), GraphFault, "loss_weight twice for 1 top"),
        (
            layer("ReLU", "r", "data", more="propagate_down: true propagate_down: true"),
            GraphFault,
            "propagate_down twice for 1 bottom: give one for each bottom, or none",
        ),
        (layer("Relu", "r", "data"), SchemaFault, "unknown layer type 'Relu' .did you mean 'ReLU'"),
        (
            conv("c", "data", more="param {} param {} param {}"),
            GraphFault,
            r"3 param entries, but has 2 learned arrays \(4x3x3x3, 4\)",
        ),
        (
            layer("EuclideanLoss", "l", "data data", more="loss_weight: 1")
            + blob("y", (1, 1, 8, 8))
            + layer("SoftmaxWithLoss", "s", "data y", more="propagate_down: false propagate_down: true"),
            GraphFault,
            r"propagate_down: true for bottom 1 \('y'\), but SoftmaxWithLoss has no gradient there",
        ),
    ],
)
def test_mistakes(text, fault, message):
    with pytest.raises(fault, match=message) as caught:
        Plan(blob(shape=(1, 3, 8, 8)) + text)
    assert "\n" not in str(caught.value)


def test_places_are_those_of_the_file(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(blob() + '\nlayer {\n  name: "r"\n  type: "ReLU"\n  bottom: "x"\n  top: "r"\n}\n')
    with pytest.raises(GraphFault) as caught:
        Plan(path)
    assert str(caught.value).startswith(f"{path}:6:11: layer 'r' (ReLU): ")


def test_a_message_that_the_type_does_not_read_is_said():
    relu = layer("ReLU", "r", "data", more="pooling_param { kernel_size: 2 }")
    line = r"^2:1: layer 'r' \(ReLU\): pooling_param without effect: it reads relu_param$"
    with pytest.warns(UserWarning, match=line):
        Plan(blob() + relu)
    loss = layer("EuclideanLoss", "loss", "data data", more="loss_param { normalization: FULL }")
    with pytest.warns(UserWarning, match="loss_param without effect: it reads no such field"):
        Plan(blob() + loss)


@pytest.mark.filterwarnings("error")
def test_messages_that_count_are_not():
    Plan(
        blob()
        + conv("c", "data", param="engine: CAFFE force_nd_im2col: true")
        + layer("Sigmoid", "s", "c")
        + layer("Deconvolution", "d", "s", more="convolution_param { num_output: 2 kernel_size: 2 }")
    )
