"""The value of a prototxt scalar by its field's type: range, spelling, enum names."""

from __future__ import annotations

import re

from google.protobuf.descriptor import FieldDescriptor

from demitasse.proto.errors import SchemaFault, SyntaxFault, did_you_mean
from demitasse.proto.tokens import SourceText, Token, shortened, unquote
from demitasse.proto.upgrade import todays_type
from demitasse.proto.warning import warn

_BOOLS = {"true": True, "t": True, "True": True, "1": True, "false": False, "f": False, "False": False, "0": False}
_LARGEST_FLOAT = 3.4028235677973366e38  # what still rounds to the largest float32
_BARE = ("SaveOutputParameter", "SolverParameter")  # messages whose text MyCaffe writes without quotes
_DECIMAL = re.compile(r"[0-9.]+([eE][+-]?[0-9]+)?")


def scalar(
    field: FieldDescriptor, minus: str, tokens: list[Token], source: SourceText
) -> str | bytes | int | float | bool:
    """The value of tokens (one; several for adjacent strings), a sign before them, for a field's descriptor."""
    read = {
        field.CPPTYPE_STRING: _string,
        field.CPPTYPE_BOOL: _bool,
        field.CPPTYPE_ENUM: _enum,
        field.CPPTYPE_FLOAT: _float,
        field.CPPTYPE_DOUBLE: _float,
    }.get(field.cpp_type, _integer)
    return read(field, minus, tokens, source)


def _refuse(field, expected: str, minus: str, tokens: list[Token], source: SourceText):
    raise SchemaFault(
        f"{field.name} takes {expected}, not {minus}{shortened(tokens[0].text)}", source.where(tokens[0].offset)
    )


def _string(field, minus, tokens, source):
    kinds = ("string", "path", "name" if field.containing_type.name in _BARE else "")
    if minus or tokens[0].kind not in kinds:
        _refuse(field, f'text in quotes ("{shortened(tokens[0].text)}")', minus, tokens, source)
    if tokens[0].kind == "name" and field.containing_type.name == "SolverParameter" and not source.told_of_words:
        source.told_of_words = True
        word = f"{source.where(tokens[0].offset)}: {field.name}: {tokens[0].text}"
        warn(f"{word} has no quotes: MyCaffe reads and writes words so, Caffe does not")
    value = b"".join(unquote(token, source) for token in tokens)
    if field.type == field.TYPE_BYTES:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SyntaxFault(
            f"the text of {field.name} is not UTF-8: save the file as UTF-8", source.where(tokens[0].offset)
        ) from None


def _bool(field, minus, tokens, source):
    if minus or tokens[0].text not in _BOOLS:
        _refuse(field, "true or false", minus, tokens, source)
    return _BOOLS[tokens[0].text]


def _enum(field, minus, tokens, source):
    token, enum = tokens[0], field.enum_type
    if token.kind == "number":
        number = _whole(token)
        value = enum.values_by_number.get(-number if minus and number else number)
    else:
        value = None if minus else enum.values_by_name.get(token.text)
    if value is None and token.kind == "string" and field.containing_type.name == "V1LayerParameter":
        value = _of_todays_name(enum, unquote(token, source).decode("utf-8", "replace"))
    if value is None:
        names = list(enum.values_by_name)
        word = token.text.strip("\"'").upper()
        choices = ", ".join(names) if len(names) <= 8 else f"{names[1]}, {names[2]}, ..."
        choices += ", without quotes" if token.kind == "string" and word in names else did_you_mean(word, names)
        todays = token.kind == "string" and field.containing_type.name == "V1LayerParameter"
        hint = " (with a type in quotes it is today's form: write `layer {`, not `layers {`)" if todays else ""
        _refuse(field, f"one of {choices}{hint}", minus, tokens, source)
    return value.number


def _of_todays_name(enum, name: str):
    """The value of a V1 layer type that is written as today, in quotes, which Caffe does not read; or None."""
    return next((value for value in enum.values if todays_type(value.name) == name), None)


def _whole(token: Token) -> int | None:
    """The integer that a number token spells (decimal, 0x1F, octal 017), or None."""
    text = token.text
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    if not text.isdigit() or (len(text) > 1 and text[0] == "0" and re.search("[89]", text)) or len(text) > 400:
        return None
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)


def _integer(field, minus, tokens, source):
    bits = 64 if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64) else 32
    unsigned = field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = _whole(tokens[0]) if tokens[0].kind == "number" else None
    if number is None:
        _refuse(field, "an integer", minus, tokens, source)
    if minus and (unsigned or -number < low):
        _refuse(field, f"an integer from {low}", minus, tokens, source)
    if number > high and not minus:
        _refuse(field, f"an integer up to {high}", minus, tokens, source)
    return -number if minus else number


def _float(field, minus, tokens, source):
    token = tokens[0]
    if token.kind == "name" and token.text.lower() in ("inf", "infinity", "nan"):
        value = float(token.text)
    elif token.kind == "number" and _DECIMAL.fullmatch(token.text.rstrip("fF")):
        value = float(token.text.rstrip("fF"))
        if value >= (_LARGEST_FLOAT if field.cpp_type == field.CPPTYPE_FLOAT else float("inf")):
            _refuse(field, "a number up to 3.4e38", minus, tokens, source)
    else:
        _refuse(field, "a number", minus, tokens, source)
    return -value if minus else value
