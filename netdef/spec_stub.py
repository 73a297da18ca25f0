"""Writes layer_calls.pyi: every layer type and field of `L`, and the enum values of `P`, for editors and checkers.

    python -m demitasse.netdef.spec_stub        after a layer type or a field of the schema has been added

`L` and `P` (netdef/spec.py) look names up while they run; what they would find is written down here from the schema.
"""

from __future__ import annotations

import keyword
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor

from demitasse.layers.layer import layer_class, layer_types
from demitasse.netdef.fields import own_fields
from demitasse.proto import messages
from demitasse.proto.messages import LayerParameter, is_repeated

STUB = Path(__file__).with_name("layer_calls.pyi")
HEAD = '''"""Written by netdef/spec_stub.py from the schema: what L and P of netdef/spec.py take."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from typing_extensions import Unpack

from demitasse.netdef.spec import Top

'''
KINDS = {
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "float",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "str",
    FieldDescriptor.TYPE_BYTES: "bytes",
}  # all others are whole numbers
NOT_WRITTEN = ("type", "bottom", "top", "blobs")  # fields of a layer that follow from how it is called


def annotation(field: FieldDescriptor) -> str:
    """The type hint of a message's field: what `netdef.fields.assign` takes for it."""
    if field.message_type:
        kind = "Mapping[str, Any]"
    elif field.enum_type:
        kind = "int | str"
    else:
        kind = KINDS.get(field.type, "int")
    return f"{kind} | Sequence[{kind}]" if is_repeated(field) else kind


def layer_fields() -> list[str]:
    """The lines of LayerFields, the fields that every layer has."""
    fields = [field for field in LayerParameter.DESCRIPTOR.fields if field.name not in NOT_WRITTEN]
    return [
        "class LayerFields(TypedDict, total=False):",
        *(f"    {field.name}: {annotation(field)}" for field in fields),
        "    ntop: int  # how many tops it makes",
        "    in_place: bool  # its top is its bottom",
    ]


def call(type_name: str) -> str:
    """The line of one layer type's method."""
    homes = [LayerParameter.DESCRIPTOR.fields_by_name[own].message_type for own in own_fields(layer_class(type_name))]
    fields = {field.name: field for home in reversed(homes) for field in home.fields}
    own = [f"{name}: {annotation(field)} = ..." for name, field in fields.items() if not keyword.iskeyword(name)]
    clash = any(name in LayerParameter.DESCRIPTOR.fields_by_name for name in fields)
    others = "**fields: Any" if clash else "**fields: Unpack[LayerFields]"
    return f"    def {type_name}({', '.join(['self', '*bottoms: Top', *own, others])}) -> Any: ..."


def enums() -> list[str]:
    """The lines of P: a class of enum values for each message that has any."""
    classes, attributes = [], []
    for name in sorted(vars(messages)):
        descriptor = getattr(getattr(messages, name), "DESCRIPTOR", None)
        values = getattr(descriptor, "enum_values_by_name", None)
        if name.endswith("Parameter") and values:
            short = name.removesuffix("Parameter")
            classes += ["", f"class _{short}:", *(f"    {value}: int" for value in values)]
            attributes.append(f"    {short}: _{short}")
    return [*classes, "", "class Params:", '    """P: the enum values of the layers\' messages."""', "", *attributes]


def stub() -> str:
    """The text of layer_calls.pyi."""
    calls = [call(type_name) for type_name in layer_types() if type_name.isidentifier()]
    layers = [
        "",
        "class Layers:",
        '    """L: a method for each layer type; it gives the layer\'s top, or its `ntop` tops."""',
        "",
    ]
    return HEAD + "\n".join([*layer_fields(), *layers, *calls, *enums(), ""])


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(f"wrote {STUB}")
