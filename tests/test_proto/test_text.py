"""Prototxt to messages and back: values, places, and a helpful fault for every way to get it wrong."""

import os
from pathlib import Path

import pytest
from google.protobuf import text_format

from demitasse.proto import messages, text, text_files
from demitasse.proto.errors import NetError, SchemaFault, SyntaxFault

SHARED = Path(__file__).resolve().parents[2].parent / "shared"

NET = """\
# a comment, with "quotes" and { braces
name: 'two' " words"
layer {
  name: "data" type: "Input" top: "data"
  input_param: { shape < dim: [1, 3] dim: 0x10, dim: 020; > }
}
layer {
  name: "conv"  type: "Convolution"
  bottom: "data"
  top: "conv"; top: "more",
  loss_weight: [ .5, -2., 1e-3, inf, nan, 3f ]
  include { phase: TRAIN } include: { phase: 1 stage: "a\\tb\\'c\\"\\\\\\x41\\101\\u00e9" }
  param: [ { lr_mult: 1 }, < lr_mult: 2 decay_mult: 0 > ]
  convolution_param {
    bias_term: false
    kernel_size: 3
    kernel_size: 5
  }
}
"""


def parse_net(source):
    return text.parse(source, messages.NetParameter, "n.prototxt")


def test_values():
    net, _ = parse_net(NET)
    data, conv = net.layer
    assert net.name == "two words"
    assert list(data.input_param.shape[0].dim) == [1, 3, 16, 16]
    assert list(conv.top) == ["conv", "more"]
    assert list(conv.loss_weight) == pytest.approx([0.5, -2, 1e-3, float("inf"), float("nan"), 3], nan_ok=True)
    assert [rule.phase for rule in conv.include] == [messages.TRAIN, messages.TEST]
    assert conv.include[1].stage == ["a\tb'c\"\\AA\u00e9"]
    assert [(param.lr_mult, param.decay_mult) for param in conv.param] == [(1, 1), (2, 0)]
    assert list(conv.convolution_param.kernel_size) == [3, 5] and not conv.convolution_param.bias_term


def test_places():
    _, marks = parse_net(NET)
    place = {path: (where.line, where.column) for path, where in marks.items()}
    assert place["name"] == (2, 1)
    assert place["layer[1]"] == (7, 1)
    assert place["layer[1].convolution_param"] == (14, 3)
    assert place["layer[1].convolution_param.kernel_size"] == (16, 5)
    assert place["layer[1].convolution_param.kernel_size[1]"] == (17, 18)
    assert place["layer[1].param[1].decay_mult"] == (13, 41)
    assert place["layer[1].top[1]"] == (10, 21)
    assert str(marks["layer[0].type"]) == "n.prototxt:4:16"


def test_places_of_layers():
    net, wheres = text.read_net(NET, "n.prototxt")
    assert len(wheres) == len(net.layer) == 2
    assert str(wheres[1]) == "n.prototxt:7:1"
    assert wheres[1].fields["convolution_param.bias_term"].line == 15
    assert wheres[0].fields["input_param.shape[0].dim[2]"].line == 5


def test_a_message_is_read_and_left_as_it_is():
    old = messages.NetParameter(input=["data"], input_dim=[1, 3, 4, 4])
    net, wheres = text.read_net(old)
    assert net.layer[0].type == "Input" and not old.layer and len(wheres) == 1


def test_printed_form():
    net, _ = parse_net(NET)
    printed = text.format(net)
    assert printed.startswith('name: "two words"\nlayer {\n  name: "data"\n  type: "Input"\n')
    assert "  loss_weight: 0.5\n  loss_weight: -2\n  loss_weight: 0.001\n  loss_weight: inf\n" in printed
    assert '    phase: TEST\n    stage: "a\\tb\\\'c\\"\\\\AA\u00e9"\n' in printed
    assert "    bias_term: false\n    kernel_size: 3\n" in printed
    assert parse_net(printed)[0].SerializeToString() == net.SerializeToString()
    assert text_format.Parse(printed, messages.NetParameter()).SerializeToString() == net.SerializeToString()


@pytest.mark.parametrize(
    "value, printed",
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-10, "1e-10"),
        (1e8, "1e+08"),
        (16777216.0, "16777216"),
        (3.3e38, "3.3e+38"),
        (1e-45, "1.4013e-45"),
        (float("-inf"), "-inf"),
        (1 / 3, "0.33333334"),
    ],
)
def test_floats_print_short_and_exact(value, printed):
    message = messages.ReLUParameter(negative_slope=value)
    assert text.format(message) == f"negative_slope: {printed}\n"
    assert text.parse(text.format(message), messages.ReLUParameter)[0] == message


def test_bytes_and_control_characters():
    datum = messages.Datum(data=bytes(range(256)))
    assert text.parse(text.format(datum), messages.Datum)[0] == datum
    layer = messages.LayerParameter(name="a\x01\x7f\nb")
    assert text.format(layer) == 'name: "a\\001\\177\\nb"\n'
    assert text.parse(text.format(layer), messages.LayerParameter)[0] == layer


def layer(inside):
    return f'layer {{ name: "x" {inside} }}'


MISTAKES = [
    # what is typed, which fault, what it says
    ('layer { name: "r" type: "ReLU"', SyntaxFault, "1:7: the file ends, but the '{' of layer (line 1) is not closed"),
    ("layer { } }", SyntaxFault, "1:11: there is one '}' too many"),
    ("layer { relu_param < } >", SyntaxFault, "1:22: '}' cannot close the '<' of relu_param (line 1)"),
    (
        "layer { relu_param { negative_slope: 1 name: 'x' } }",
        SchemaFault,
        "1:40: ReLUParameter has no field 'name': is the '{' of relu_param (line 1) not closed?",
    ),
    (layer("name: 'y'"), SyntaxFault, "1:19: name is given twice, here and at line 1, but takes one value"),
    (layer("relu_param { } relu_param { }"), SyntaxFault, "1:34: relu_param is given twice"),
    (layer("type: ReLU"), SchemaFault, '1:25: type takes text in quotes ("ReLU"), not ReLU'),
    (layer("relu_parm { }"), SchemaFault, "LayerParameter has no field 'relu_parm' (did you mean 'relu_param'?)"),
    (
        layer("convolution_param { kernel_sizes: 3 }"),
        SchemaFault,
        "1:39: ConvolutionParameter has no field 'kernel_sizes' (did you mean 'kernel_size'?)",
    ),
    (layer("kernel_size: 3"), SchemaFault, "it belongs in convolution_param { } or pooling_param { }"),
    ("convolution_param { }", SchemaFault, "it belongs in layer { } or layers { }"),
    ("base_lr: 0.1", SchemaFault, "is this the solver's file instead of the net's?"),
    (layer('convolution_param { num_output: "two" }'), SchemaFault, 'num_output takes an integer, not "two"'),
    (layer("convolution_param { num_output: 2.0 }"), SchemaFault, "num_output takes an integer, not 2.0"),
    (layer("convolution_param { pad: -1 }"), SchemaFault, "pad takes an integer from 0, not -1"),
    (layer("convolution_param { pad: 4294967296 }"), SchemaFault, "an integer up to 4294967295, not 4294967296"),
    (layer("convolution_param { pad: 09 }"), SchemaFault, "pad takes an integer, not 09"),
    (layer("crop_param { axis: 2147483648 }"), SchemaFault, "axis takes an integer up to 2147483647"),
    (layer("crop_param { axis: -2147483649 }"), SchemaFault, "axis takes an integer from -2147483648"),
    (layer("loss_weight: 1e39"), SchemaFault, "loss_weight takes a number up to 3.4e38, not 1e39"),
    (layer("loss_weight: one"), SchemaFault, "loss_weight takes a number, not one"),
    (layer("loss_weight: 0x10"), SchemaFault, "loss_weight takes a number, not 0x10"),
    (layer("propagate_down: yes"), SchemaFault, "propagate_down takes true or false, not yes"),
    (layer("pooling_param { pool: MAXX }"), SchemaFault, "one of MAX, AVE, STOCHASTIC (did you mean 'MAX'?), not MAXX"),
    (layer("pooling_param { pool: 7 }"), SchemaFault, "pool takes one of MAX, AVE, STOCHASTIC, not 7"),
    (layer('include { phase: "TEST" }'), SchemaFault, 'TRAIN, TEST, RUN, without quotes, not "TEST"'),
    ("layers { type: CONVOLUTOIN }", SchemaFault, "(did you mean 'CONVOLUTION'?), not CONVOLUTOIN"),
    ("layers { type: 'ReLU6' }", SchemaFault, "(with a type in quotes it is today's form: write `layer {`, not `lay"),
    (layer("clip_param { min: 0 }"), SchemaFault, "1:19: clip_param has no max, which it needs"),
    ('layer { name: "r', SyntaxFault, '1:15: the string that begins here has no closing " on its line'),
    ("layer { name: 'C:\\data' }", SyntaxFault, "1:18: unknown escape \\d in a string"),
    ("layer { name: '\\400' }", SyntaxFault, "unknown escape \\400"),
    ("layer { name: '\\377' }", SyntaxFault, "1:15: the text of name is not UTF-8"),
    ("layer { name: }", SyntaxFault, "1:15: name has no value before '}'"),
    ("layer { name 'x' }", SyntaxFault, "1:9: ':' expected after name, not 'x'"),
    ("layer: 3", SyntaxFault, "1:8: '{' expected after layer, not '3'"),
    ("layer", SyntaxFault, "'{' expected after layer, not the end of the file"),
    ("{ }", SyntaxFault, "1:1: a field of NetParameter expected, not '{'"),
    ("input_dim: [1, 2 3]", SyntaxFault, "1:18: ',' or ']' expected in a list, not '3'"),
    ("input_dim: [[1]]", SyntaxFault, "input_dim has no value before '['"),
    ("layer: [ { }", SyntaxFault, "',' or ']' expected in a list, not the end of the file"),
    ("input_dim: 3abc", SyntaxFault, "1:12: '3abc' is neither a number nor a name"),
    ("name: 'x type: 'ReLU' top: 'x'", SyntaxFault, "1:30: the string that begins here has no closing ' on its line"),
    ("input_dim: 3\ntop: 'x'\nname: 'x", SchemaFault, "2:1: NetParameter has no field 'top'"),
    ("input_dim: " + "7" * 5000, SchemaFault, "input_dim takes an integer, not 777777777777777777777777777777777777"),
    ("a" * 5000 + ": 1", SchemaFault, "NetParameter has no field 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("name: @", SyntaxFault, "1:7: unexpected character '@'"),
    ("layer {" * 100000, SchemaFault, "1:8: LayerParameter has no field 'layer'"),
    ("input_dim: [" + "[" * 100000, SyntaxFault, "input_dim has no value before '['"),
    ("layer { } layers { layer { } }", SchemaFault, "1:11: the net has `layer` of today and `layers` of 2013"),
    ("# nothing but a comment", SyntaxFault, "the file is empty"),
]


@pytest.mark.parametrize("source, fault, says", MISTAKES, ids=[mistake[2][-40:] for mistake in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(source, fault, says):
    with pytest.raises(fault) as caught:
        text.read_net(source + "\n", "net.prototxt")
    said = f"{caught.value.where}: {caught.value.what}"
    assert type(caught.value) is fault and says in said and str(caught.value).endswith(caught.value.what)
    assert str(caught.value).startswith("net.prototxt:") and "\n" not in str(caught.value)


def test_a_solver_with_a_nets_field():
    with pytest.raises(SchemaFault, match="is this the net's file instead of the solver's"):
        text.read_solver("layer { }\n")


def test_solver_places_and_prefix(tmp_path):
    path = tmp_path / "lenet_solver.prototxt"
    path.write_text('net: "lenet.prototxt"\nbase_lr: 0.1\ntest_iter: 3\ntest_iter: 4\n')
    solver, where = text.read_solver(path)
    assert where.fields["base_lr"].line == 2 and where.fields["test_iter[1]"].line == 4
    assert where.fields["net"].file == str(path)
    assert solver.snapshot_prefix == str(tmp_path / "lenet_solver")
    path.write_text(f'net: "lenet.prototxt" snapshot_prefix: "{tmp_path}"')
    assert text.read_solver(path)[0].snapshot_prefix == str(tmp_path / "lenet_solver")
    path.write_text('net: "lenet.prototxt" snapshot_prefix: "runs/a"')
    assert text.read_solver(path)[0].snapshot_prefix == "runs/a"


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "the file is empty"),
        (b"\n\tlenet\x00\x01", "a binary file, not a prototxt"),
        ("name: 'x'".encode("utf-16"), "the text is UTF-16: save it as UTF-8"),
        ("name: 'x'".encode("utf-16-le"), "the text is UTF-16: save it as UTF-8"),
        ("name: 'x'".encode("utf-16-be"), "the text is UTF-16: save it as UTF-8"),
        ("name: 'x'".encode("utf-32"), "the text is UTF-32: save it as UTF-8"),
        (b"\n<!DOCTYPE html><html>", "a web page, not a prototxt: download the file itself"),
        (b"name: 'stra\xdfe'", "the text of name is not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_file_that_is_no_prototxt(tmp_path, content, says):
    path = tmp_path / "net.prototxt"
    path.write_bytes(content)
    with pytest.raises(SyntaxFault) as caught:
        text.read_net(path)
    assert str(caught.value).startswith(str(path)) and says in str(caught.value)


def test_comments_in_any_encoding_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\xef\xbb\xbf# stra\xdfe\r\nname: 'x'\r\n")
    assert text.read_net(path)[0].name == "x"


def test_a_text_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LARGEST", 1 << 20)
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(SyntaxFault, match=f"^{path}: more than 1 MB are no prototxt"):
        text.read_net(path)


def test_lists_of_any_length_have_the_places_of_their_first_values():
    net, marks = parse_net("input_dim: [" + "1," * 20000 + " 1]")
    assert len(net.input_dim) == 20001 and len(marks) == 1 + text.MARKED


def test_lines_that_end_as_on_old_macs(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# a comment\rname: 'x'\rlayer { }\r")
    net, wheres = text.read_net(path)
    assert net.name == "x" and wheres[0].line == 3


@pytest.mark.parametrize(
    "name, says",
    [
        ("train.protoxt", "no such file or directory (did you mean 'train.prototxt'?)"),
        (".", "is a directory"),
        ("a\0b", "zero byte"),
        ("nowhere/train.prototxt", "no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_opened(tmp_path, name, says):
    (tmp_path / "train.prototxt").write_text("name: 'x'")
    with pytest.raises(NetError) as caught:
        text.read_net(os.path.join(tmp_path, name))
    assert "Could not open file" in str(caught.value) and says in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="published nets are not here")
def test_published_nets_read_as_protobuf_reads_them():
    paths = sorted((SHARED / "reference-nets").rglob("*.prototxt")) + sorted(
        path
        for name in ("lenet-v1", "cifar10-quick-v1", "squeezenet", "wechat-sr")
        for path in (SHARED / "weights" / name).glob("*.prototxt")
    )
    assert len(paths) > 50
    for path in paths:
        kind = messages.SolverParameter if "solver" in path.name else messages.NetParameter
        source = path.read_text()
        message, _ = text.parse(source, kind, str(path))
        assert message == text_format.Parse(source, kind()), path
        assert text.parse(text.format(message), kind)[0] == message, path
        if kind is messages.NetParameter:
            net, wheres = text.read_net(path)
            lines = source.splitlines()
            assert len(wheres) == len(net.layer)
            assert all(lines[where.line - 1].split()[0].startswith(("layer", "input")) for where in wheres), path
