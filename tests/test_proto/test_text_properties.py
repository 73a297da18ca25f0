"""Any message is the same after it was written as prototxt and read again."""

import math

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from demitasse.proto import messages, text
from tests.properties import few

DEEPEST = 3
SKIPPED = {"layers", "hdf5_output_param_old"}  # V1 layers are brought to today's form when a net is read
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
REALS = {
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
}


def values(field):
    """Values of a scalar field."""
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=12)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    return {**INTEGERS, **REALS}[field.cpp_type]


@st.composite
def filled(draw, name, depth=0):
    """A message with some of its fields set."""
    message = getattr(messages, name)()
    fields = [
        field
        for field in message.DESCRIPTOR.fields
        if field.name not in SKIPPED and not (field.message_type and depth >= DEEPEST)
    ]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.name)) if fields else []
    needed = [field for field in message.DESCRIPTOR.fields if messages.is_required(field)]
    for field in [*chosen, *(field for field in needed if field not in chosen)]:
        several = draw(st.integers(1, 3)) if messages.is_repeated(field) else 1
        for _ in range(several):
            if field.message_type:
                inner = draw(filled(field.message_type.name, depth + 1))
                home = getattr(message, field.name)
                home.add().CopyFrom(inner) if messages.is_repeated(field) else home.CopyFrom(inner)
                if not messages.is_repeated(field):
                    home.SetInParent()
            elif messages.is_repeated(field):
                getattr(message, field.name).append(draw(values(field)))
            else:
                setattr(message, field.name, draw(values(field)))
    return message


def without_unwritable(message):
    """Infinite numbers have no agreed spelling in prototxt: they are finite here."""
    for field, value in message.ListFields():
        if field.message_type:
            for one in value if messages.is_repeated(field) else [value]:
                without_unwritable(one)
        elif field.cpp_type in REALS:
            items = list(value) if messages.is_repeated(field) else [value]
            finite = [one if math.isfinite(one) else 0.0 for one in items]
            if messages.is_repeated(field):
                value[:] = finite
            else:
                setattr(message, field.name, finite[0])
    return message


@few(150)
@given(st.sampled_from(["NetParameter", "SolverParameter", "LayerParameter", "BlobProto"]).flatmap(filled))
def test_written_and_read_again(message):
    message = without_unwritable(message)
    written = text.format(message)
    again, _ = text.parse(written, type(message), "net.prototxt")
    assert again == message, written
