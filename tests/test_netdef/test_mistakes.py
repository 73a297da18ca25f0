"""What users get wrong, as golden/caffe_errors.json has collected it: each gives one line that helps."""

import numpy as np
import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from tests.test_netdef import goldens
from tests.test_netdef.texts import build

MISTAKES = goldens.table("net_mistakes")
# What Caffe aborts on, or accepts, and we take for good.
SANE = {"duplicate_layer_name_is_allowed", "softmaxloss_two_tops", "legacy_input_fields", "legacy_V1_layers"}
WITHOUT_LAYER = {
    "malformed_prototxt_brace",
    "malformed_prototxt_token",
    "unknown_field",
    "unknown_field_in_param",
    "wrong_value_type",
    "negative_pad",
    "bad_enum",
    "empty_prototxt",
}  # the text is no net yet
BUILD = [name for name, case in MISTAKES.items() if not case["python"] and name not in SANE]


@pytest.mark.parametrize("name", BUILD)
def test_a_net_that_cannot_be_built(name, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(MISTAKES[name]["text"])
    with pytest.raises(NetError) as caught:
        build(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:")
    if name not in WITHOUT_LAYER:
        assert ": layer '" in message


@pytest.mark.parametrize("name", sorted(SANE))
def test_what_is_no_mistake_here(name):
    net = build(MISTAKES[name]["text"] + "\n")
    net.forward()


def two_convolutions():
    return build(MISTAKES["unknown_end_layer"]["text"])


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda net: net.forward({"dd": np.zeros((1, 3, 8, 8))}), r"no input 'dd' \(did you mean 'd'\?\)"),
        (lambda net: net.forward({"d": np.zeros((1, 3, 2, 8))}), r"layer 'c' \(Convolution\): a kernel .*3x3"),
        (lambda net: net.forward({"d": np.zeros((1, 3, 3, 3))}), r"layer 'c2' \(Convolution\): a kernel .*3x3"),
        (lambda net: net.reshape({"d": (1, 4, 8, 8)}), "4 channels, but the weights are for 3"),
        (lambda net: net.blobs["nope"], "no blob 'nope'"),
        (lambda net: net.forward(end="nope"), "no layer 'nope'"),
        (lambda net: net.load("no_such.caffemodel"), "Could not open file no_such.caffemodel"),
        (lambda net: build("no_such.prototxt"), "Could not open file no_such.prototxt"),
        (lambda net: build(MISTAKES["unknown_end_layer"]["text"], weights="no_such.caffemodel"), "no_such.caffemodel"),
    ],
)
def test_mistakes_with_a_net(act, message):
    with pytest.raises(NetError, match=message) as caught:
        act(two_convolutions())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "label, name", [(21, "softmaxloss_label_out_of_range_21"), (255, "softmaxloss_label_255_no_ignore")]
)
def test_labels_out_of_range(label, name):
    net = build(MISTAKES[name]["text"])
    with pytest.raises(NetError, match=rf"layer 'loss' \(SoftmaxWithLoss\): .*{label}"):
        net.forward({"l": np.full((1, 1, 8, 8), label)})


def test_a_file_without_layers_is_named(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text('name: "x"\n')
    with pytest.raises(NetError, match=f"^{path}: the net has no layer"):
        build(str(path))


def test_a_filler_is_checked_without_computing(tmp_path):
    with pytest.raises(NetError, match=r"layer 'c' \(Convolution\): unknown filler 'glorot': choose one of constant"):
        Plan(MISTAKES["unknown_filler"]["text"] + "\n")


@pytest.mark.parametrize("label", [np.nan, np.inf, 1e12])
def test_labels_that_are_no_classes(label):
    net = build(MISTAKES["softmaxloss_label_out_of_range_21"]["text"])
    with np.errstate(invalid="ignore"), pytest.raises(NetError, match=r"layer 'loss' .* is NaN, or too large for a"):
        net.forward({"l": np.full((1, 1, 8, 8), label)})
