"""Messages as prototxt, spelled as Caffe and protobuf spell it."""

from __future__ import annotations

import struct

from google.protobuf.message import Message

from demitasse.proto.messages import is_repeated

_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("'"): "\\'", ord("\\"): "\\\\"}


def format(message: Message) -> str:
    """The text form: fields by their numbers, two spaces per level, one value per line."""
    return "".join(_lines(message, ""))


def _lines(message, indent: str):
    for field, value in message.ListFields():
        for item in value if is_repeated(field) else (value,):
            if field.message_type:
                yield f"{indent}{field.name} {{\n"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}\n"
            else:
                yield f"{indent}{field.name}: {_scalar(field, item)}\n"


def _scalar(field, value) -> str:
    if field.cpp_type == field.CPPTYPE_STRING:
        return f'"{_quoted(value)}"'
    if field.cpp_type == field.CPPTYPE_BOOL:
        return "true" if value else "false"
    if field.cpp_type == field.CPPTYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    if field.cpp_type == field.CPPTYPE_FLOAT:
        return _float(value)
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return f"{value:.15g}" if float(f"{value:.15g}") == value else repr(value)
    return str(value)


def _float(value: float) -> str:
    """The shortest of 6 to 9 digits that reads back as the same float32."""
    for digits in (6, 7, 8, 9):
        text = f"{value:.{digits}g}"
        if _float32(float(text)) == value:
            break
    return text


def _float32(value: float) -> float:
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:  # rounded up past the largest float
        return float("inf")


def _quoted(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return "".join(_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in value)
    return "".join(
        _ESCAPES.get(ord(char)) or (f"\\{ord(char):03o}" if ord(char) < 32 or ord(char) == 127 else char)
        for char in value
    )
