"""Include and exclude rules."""

import pytest

from demitasse.netdef.phase import filter_net, phase_number
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault, SchemaFault
from demitasse.proto.text import read_net
from tests.test_netdef.texts import blob, layer


def names(rules, phase="TEST", level=0, stages=(), state=""):
    text = f"{state}\n" + "".join(layer("ReLU", name, "x", more=rule) for name, rule in rules.items())
    net, wheres = filter_net(*read_net(text), phase, level, stages)
    assert len(net.layer) == len(wheres)
    return "".join(kept.name for kept in net.layer)


def test_without_rules_a_layer_is_always_there():
    assert names({"a": ""}, "TRAIN") == names({"a": ""}, "TEST") == "a"


def test_phases():
    rules = {"a": "include { phase: TRAIN }", "b": "include { phase: TEST }", "c": "exclude { phase: TEST }"}
    assert names(rules, "TRAIN") == "ac"
    assert names(rules, "TEST") == "b"
    assert names(rules, 0) == "ac"
    assert names(rules, "test") == "b"


def test_one_of_several_rules_is_enough():
    assert names({"a": "include { phase: TRAIN } include { min_level: 2 }"}, "TEST", level=2) == "a"
    assert names({"a": "exclude { phase: TRAIN } exclude { min_level: 2 }"}, "TEST", level=2) == ""


def test_levels():
    rules = {
        "a": "include { min_level: 1 }",
        "b": "include { max_level: 1 }",
        "c": "include { min_level: 1 max_level: 1 }",
    }
    assert [names(rules, level=level) for level in (0, 1, 2)] == ["b", "abc", "a"]


def test_all_stages_of_a_rule_must_be_present():
    rules = {"a": 'include { stage: "x" stage: "y" }', "b": 'include { not_stage: "x" }', "c": 'exclude { stage: "y" }'}
    assert names(rules) == "bc"
    assert names(rules, stages=["x"]) == "c"
    assert names(rules, stages=["x", "y"]) == "a"
    assert names(rules, stages=["y"]) == "b"


def test_the_nets_own_state_counts_too():
    rules = {"a": 'include { stage: "deploy" min_level: 3 }'}
    assert names(rules, state='state { stage: "deploy" level: 3 }') == "a"
    assert names(rules, state='state { stage: "deploy" level: 3 }', level=1) == ""


def test_both_kinds_of_rules():
    with pytest.raises(GraphFault, match="one kind or the other"):
        names({"a": "include { phase: TEST } exclude { phase: TRAIN }"})


def test_phase_names():
    assert phase_number("train") == 0
    with pytest.raises(SchemaFault, match="TRAIN or TEST, not 'TESTING'"):
        phase_number("TESTING")
    with pytest.raises(SchemaFault, match="stages is a list"):
        names({"a": ""}, stages="deploy")


def test_a_bottom_from_another_phase_is_named():
    text = (
        blob("data")
        + layer("Input", "label", more="include { phase: TRAIN } input_param { shape { dim: 1 } }")
        + layer("SoftmaxWithLoss", "loss", "data label")
    )
    with pytest.raises(GraphFault, match=r"only layer 'label' \(Input\) at 2:1 makes.* not part of the TEST net"):
        Plan(text, "TEST")


def test_a_phase_without_layers():
    with pytest.raises(SchemaFault, match="no layer in the TEST phase"):
        Plan(layer("Input", "data", more="include { phase: TRAIN } input_param { shape { dim: 1 } }"))
