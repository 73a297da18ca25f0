"""What MyCaffe writes into its files, which is no protobuf text."""

import pytest

from demitasse.layers.data.transform import OF_SOME_LAYERS, Transformer
from demitasse.proto import text
from demitasse.proto.errors import SchemaFault, SyntaxFault


def test_paths_of_mycaffe_keep_their_backslashes():
    net, _ = text.read_net("layer { name: '$ProgramData$\\new\\data' type: $Default$ }\n", "test.prototxt")
    assert net.layer[0].name == "$ProgramData$\\new\\data" and net.layer[0].type == "Default"
    with pytest.raises(SyntaxFault, match="names of variables are not replaced"):
        text.read_net("layer { name: ${NAME} }\n", "test.prototxt")


def test_paths_of_windows_and_names_of_output_have_no_quotes():
    saved = "save_output_param { output_directory: C:\\My\\out output_name_prefix: comp4_ output_format: VOC }"
    net, _ = text.read_net(f"layer {{ detection_output_param {{ {saved} }} }}\n", "test.prototxt")
    param = net.layer[0].detection_output_param.save_output_param
    assert (param.output_directory, param.output_name_prefix, param.output_format) == ("C:\\My\\out", "comp4_", "VOC")
    with pytest.raises(SchemaFault, match="num_output takes an integer, not C:"):
        text.read_net("layer { convolution_param { num_output: C:\\3 } }\n", "test.prototxt")
    with pytest.raises(SchemaFault, match="type takes text in quotes"):
        text.read_net("layer { type: ReLU }\n", "test.prototxt")


def test_words_of_a_solver_have_no_quotes():
    with pytest.warns(UserWarning, match="1:12: lr_policy: sigmoid has no quotes: MyCaffe reads and wr") as said:
        solver, _ = text.read_solver(
            "lr_policy: sigmoid\ntype: ADAMW snapshot_prefix: basic ap_version: integral\n", "s"
        )
    assert solver.ap_version == "Integral"
    assert (solver.lr_policy, solver.type, solver.snapshot_prefix) == ("sigmoid", "AdamW", "basic") and len(said) == 1
    with pytest.raises(SchemaFault, match="base_lr takes a number, not fast"):
        text.read_solver("base_lr: fast\n", "s")


def transform(fields):
    net, _ = text.read_net(f"layer {{ type: 'AnnotatedData' transform_param {{ {fields} }} }}\n", "test.prototxt")
    return net.layer[0].transform_param


@pytest.mark.parametrize(
    "switches, on",
    [
        ("", True),
        ("option { active: True }", True),
        ("option { active: False }", False),
        ("option { active: False } active: True", True),
        ("option { active: True } active: False", False),
    ],
)
def test_what_is_switched_off_is_not_there(switches, on):
    param = transform(f"resize_param {{ {switches} height: 3 }} distortion_param {{ {switches} contrast_prob: 0.5 }}")
    assert [each.height for each in param.resize_param] == [3] * on
    assert param.distort_param.contrast_prob == 0.5 * on and not param.HasField("distortion_param")
    assert "active" not in str(param)


def test_of_several_sizes_those_that_are_off_go():
    param = transform("".join(f"resize_param {{ height: {n} active: {n % 2 == 1} }} " for n in range(1, 6)))
    assert [each.height for each in param.resize_param] == [1, 3, 5]


def test_other_switches_of_a_transformation():
    off = "option { active: False }"
    param = transform(f"expansion_param {{ {off} prob: 1 }} emit_constraint {{ {off} }} mask_param {{ {off} }}")
    assert not param.ListFields()
    param = transform("expansion_param { prob: 0.5 max_expand_ratio: 4 } mask_param { boundary_left: 3 }")
    assert (param.expand_param.prob, param.expand_param.max_expand_ratio) == (0.5, 4)
    with pytest.raises(SchemaFault, match="does not read mask_param; remove it"):
        Transformer(param, train=True, others=OF_SOME_LAYERS)


@pytest.mark.parametrize("switches, there", [("", True), ("use_gpu: False", True), ("use_gpu: True", False)])
def test_suppression_can_be_off_on_a_gpu_and_in_the_loss_only(switches, there):
    nms = "nms_param { option { active: False } nms_threshold: 0.3 }"
    net, _ = text.read_net(
        f"layer {{ type: 'MultiBoxLoss' multiboxloss_param {{ {nms} {switches} }} }}\n"
        f"layer {{ type: 'DetectionOutput' detection_output_param {{ {nms} }} }}\n",
        "test.prototxt",
    )
    loss, output = net.layer[0].multibox_loss_param, net.layer[1].detection_output_param
    assert loss.HasField("nms_param") == there and not loss.HasField("use_gpu")
    assert abs(output.nms_param.nms_threshold - 0.3) < 1e-6 and not output.nms_param.HasField("option")


def test_normalization2_is_normalize():
    given = "normalization2_param { across_spatial: False esp: 1E-10 }"
    with pytest.warns(UserWarning, match="esp"):
        net, _ = text.read_net(f"layer {{ type: 'Normalization2' {given} }}\n", "test.prototxt")
    assert net.layer[0].type == "Normalize" and net.layer[0].norm_param.HasField("across_spatial")
