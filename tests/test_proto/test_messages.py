"""The schema: every message, field, number, type and default of Caffe's, and classes like generated ones."""

import hashlib
import json
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from demitasse.proto import messages, schema

SCHEMA = json.loads((Path(__file__).resolve().parents[1] / "golden" / "proto_schema.json").read_text())
LABELS = {"opt": (False, False), "rep": (True, False), "req": (False, True)}


def type_name(field):
    if field.message_type or field.enum_type:
        return (field.message_type or field.enum_type).name
    return {
        field.TYPE_DOUBLE: "double",
        field.TYPE_FLOAT: "float",
        field.TYPE_INT64: "int64",
        field.TYPE_INT32: "int32",
        field.TYPE_UINT32: "uint32",
        field.TYPE_BOOL: "bool",
        field.TYPE_STRING: "string",
        field.TYPE_BYTES: "bytes",
    }[field.type]


def default(field):
    """As the listing spells it: a Python value of the kind that JSON has."""
    if field.enum_type:
        return field.enum_type.values_by_number[field.default_value].name
    return field.default_value


@pytest.mark.parametrize("name", SCHEMA["messages"])
def test_message_has_caffes_fields(name):
    fields = getattr(messages, name).DESCRIPTOR.fields_by_name
    for field_name, (label, kind, number, options) in SCHEMA["messages"][name].items():
        field = fields[field_name]
        assert (field.number, type_name(field)) == (number, kind), field_name
        assert (messages.is_repeated(field), messages.is_required(field)) == LABELS[label], field_name
        assert field.GetOptions().packed == ("packed" in options), field_name
        has_default, _, value = options.partition("default = ")
        if not value:
            assert not field.has_default_value, field_name
        elif kind in ("float", "double"):
            assert default(field) == pytest.approx(float(value), rel=1e-6), field_name
        elif kind == "bool":
            assert default(field) == (value == "true"), field_name
        else:
            assert str(default(field)) == value.strip("\"'"), field_name


# Values of forks' enums, where Caffe's have no such number.
FORKS = {
    "Phase": {"RUN": 2},
    "LossParameter.NormalizationMode": {"PRE_FIXED": 2003},
    "DataParameter.DB": {"IMAGEDB": 2},
    "V1LayerParameter.LayerType": {
        value.name: value.number
        for value in messages.V1LayerParameter.LayerType.DESCRIPTOR.values
        if value.number > 2000
    },
}


@pytest.mark.parametrize("name", SCHEMA["enums"])
def test_enum_has_caffes_values(name):
    outer, _, inner = name.rpartition(".")
    scope = (
        getattr(messages, outer).DESCRIPTOR.enum_types_by_name
        if outer
        else messages.pool.FindFileByName("caffe.proto").enum_types_by_name
    )
    values = {value.name: value.number for value in scope[inner or name].values}
    assert values == SCHEMA["enums"][name] | FORKS.get(name, {})


def test_enum_values_are_where_generated_modules_have_them():
    assert (messages.TRAIN, messages.TEST) == (0, 1)
    assert messages.Phase.Value("TEST") == 1 and messages.Phase.Name(0) == "TRAIN"
    assert messages.PoolingParameter.AVE == messages.PoolingParameter.PoolMethod.Value("AVE") == 1
    assert messages.V1LayerParameter.SOFTMAX_LOSS == 21


def test_a_message_goes_through_the_binary_form():
    net = messages.NetParameter(name="tiny")
    net.layer.add(name="score", type="Convolution").convolution_param.kernel_size.append(3)
    assert messages.NetParameter.FromString(net.SerializeToString()) == net


def test_no_field_number_or_name_is_used_twice():
    for name in SCHEMA["messages"]:
        fields = getattr(messages, name).DESCRIPTOR.fields
        assert len({field.number for field in fields}) == len({field.name for field in fields}) == len(fields)


@pytest.mark.parametrize(
    "text, says",
    [
        ("message A { optional Missing x = 1; }", "caffe.A.x: unknown type 'Missing'"),
        ('message A { optional int32 x = 1 [json_name = "y"]; }', "field x: unknown option 'json_name'"),
        ("message A { oneof x { } }", "message A: unexpected 'oneof'"),
        ("message A %", "caffe.proto:1: cannot read '%'"),
    ],
)
def test_a_mistake_in_the_schema_file_is_named(text, says):
    with pytest.raises(ValueError, match="caffe.proto") as caught:
        schema._SchemaParser("package caffe;" + text).parse()
    assert says in str(caught.value)


def test_the_kept_descriptor_is_of_the_schema_file(tmp_path, monkeypatch):
    kept, text = schema.KEPT.read_bytes(), schema.SCHEMA.read_bytes()
    assert kept[: schema.DIGEST] == hashlib.sha256(text).digest(), "python -m demitasse.proto.schema"
    monkeypatch.setattr(schema, "KEPT", tmp_path / "caffe.descriptor")
    assert schema.descriptor() == kept[schema.DIGEST :]  # without one
    schema.keep()
    assert schema.KEPT.read_bytes() == kept
    monkeypatch.setattr(schema, "SCHEMA", tmp_path / "caffe.proto")
    schema.SCHEMA.write_bytes(text + b"message Another { optional int32 x = 1; }")
    file = descriptor_pb2.FileDescriptorProto.FromString(schema.descriptor())
    assert file.message_type[-1].name == "Another"
