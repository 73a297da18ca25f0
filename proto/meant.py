"""Numbers and words as people write them elsewhere (3x3, 1/2, yes, 1e–4, 100k), and what a prototxt has for them."""

from __future__ import annotations

import re
import unicodedata

from demitasse.proto.errors import NetError, SchemaFault
from demitasse.proto.messages import is_repeated
from demitasse.proto.tokens import Source, shortened

_WRITTEN = re.compile(r"[^\n#{}]*?(?=\s+[A-Za-z_]\w*\s*[:{<]|[\n#{}]|$)")  # a value, as far as it may reach
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_WORDS = {"true": "true", "yes": "true", "on": "true", "y": "true", "enable": "true", "enabled": "true"}
_WORDS |= {"false": "false", "no": "false", "off": "false", "n": "false", "disable": "false", "disabled": "false"}
_BY_SIDE = {"kernel_size": "kernel", "pad": "pad", "stride": "stride"}  # fields with an _h and a _w
_THOUSANDS = {"k": 1000, "m": 1000000}


def as_meant(fault: NetError, value_at: tuple | None, source: Source) -> NetError:
    """The fault, or where it lies in a value that is written as elsewhere, the one that says what to write instead.

    value_at: (descriptor, offset) of the scalar that was read last.
    """
    if not value_at or not fault.where:
        return fault
    field, offset = value_at
    found, where = _WRITTEN.match(source.text, offset), source.where(offset)
    written = found[0].strip(" \t,;") if found else ""
    inside = 0 <= fault.where.column - where.column <= len(written) and fault.where.line == where.line
    what = remedy(field, written) if inside else ""
    if not what or what.endswith(f" {field.name}: {written}"):  # it is well written, but wrong
        return fault
    kinds = {field.CPPTYPE_BOOL: "true or false", field.CPPTYPE_STRING: "text in quotes"}
    kinds |= {field.CPPTYPE_FLOAT: "a number", field.CPPTYPE_DOUBLE: "a number"}
    takes = kinds.get(field.cpp_type, "an integer")
    return SchemaFault(f"{field.name} takes {takes}, not {shortened(written)}: {what}", where)


def remedy(field, written: str) -> str:
    """What to write in place of `written`, the text after the colon, for a field's descriptor: "why: write field: 3".

    Empty where it cannot be told.
    """
    kinds = {field.CPPTYPE_BOOL: _bool, field.CPPTYPE_FLOAT: _float, field.CPPTYPE_DOUBLE: _float}
    if field.cpp_type == field.CPPTYPE_STRING:
        is_path = re.fullmatch(r"[\w.~/-]*[./~-][\w.~/-]*", written)
        return f'write {field.name}: "{written}"' if is_path else ""
    if field.cpp_type == field.CPPTYPE_ENUM:
        return ""
    return kinds.get(field.cpp_type, _whole)(field, written)


def _bool(field, written: str) -> str:
    word = _WORDS.get(written.strip("\"'").lower())
    return f"write {field.name}: {word}" if word else ""


def _whole(field, written: str) -> str:
    plain = _plain(written)
    if sides := re.fullmatch(r"([0-9]+) ?[xX*\u00d7] ?([0-9]+)", plain):
        if by_side := _sides(field, *sides.groups()):
            return by_side
    if field.name == "pad" and plain.lower() in ("same", "valid"):
        return "pad is a number of pixels: write " + (
            "pad: 0" if plain.lower() == "valid" else "half of kernel_size - 1, say pad: 1 for kernel_size: 3"
        )
    if re.fullmatch("[0-9]{1,3}(?:[ ,'_][0-9]{3})+|[0-9]+(?:_[0-9]+)+", plain):
        return f"digits are written without marks between them: write {field.name}: {re.sub('[^0-9]', '', plain)}"
    if thousands := re.fullmatch("([0-9.]+) ?([kKmM])", plain):
        return _exactly(field, thousands[1], _THOUSANDS[thousands[2].lower()])
    return _listed(field, plain) or _computed(field, plain) or _exactly(field, plain)


def _sides(field, height: str, width: str) -> str:
    """Of 3x5."""
    if height == width:
        return f"one number is for both sides: write {field.name}: {height}"
    if stem := _BY_SIDE.get(field.name):
        return f"each side has a field: write {stem}_h: {height} {stem}_w: {width}"
    return f"each side has a number: write {field.name}: [{height}, {width}]" if is_repeated(field) else ""


def _float(field, written: str) -> str:
    plain = _plain(written)
    if _DASHES.search(written) and _is_number(plain):
        return f"its dash is another character than the minus sign: write {field.name}: {plain}"
    if re.fullmatch(f"-?({_NUMBER}) ?[eEdD] ?[-+]? ?[0-9]+", plain):
        together = re.sub("[dD]", "e", plain.replace(" ", ""))
        return f"powers of ten are written in one word with an e: write {field.name}: {together}"
    if re.fullmatch("0[xX][0-9a-fA-F]+", plain):
        return f"write {field.name}: {int(plain, 16)}"
    if plain != written.strip() and _is_number(plain):
        return f"numbers stand without quotes and in plain digits: write {field.name}: {plain}"
    return _listed(field, plain) or _computed(field, plain)


def _plain(written: str) -> str:
    """Without quotes, with plain digits and minus signs."""
    text = unicodedata.normalize("NFKC", _DASHES.sub("-", written)).strip()
    return text[1:-1].strip() if len(text) > 2 and text[0] in "\"'\u201c\u201d" else text


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(f"[-+]?({_NUMBER})([eE][-+]?[0-9]{{1,3}})?", text))


def _exactly(field, text: str, times: int = 1) -> str:
    """Of something that is a whole number, but not written as one: 3.0, 1e5, '3'."""
    text = re.sub(r"(?<=[0-9]) ?(px|pixels|iterations|iters|epochs)$", "", text)
    if not _is_number(text) or not (abs(float(text) * times) <= 2**53 and (float(text) * times).is_integer()):
        return ""
    return f"write {field.name}: {int(float(text) * times)}"


def _computed(field, text: str) -> str:
    """Of a fraction, product or power of two numbers."""
    terms = re.fullmatch(rf"({_NUMBER}) ?(/|\*\*|\*|\^) ?(-?(?:{_NUMBER}))", text)
    if not terms:
        return ""
    first, sign, second = float(terms[1]), terms[2], float(terms[3])
    if (sign == "/" and not second) or (sign in ("**", "^") and (abs(second) > 60 or not first)):
        return ""
    value = first / second if sign == "/" else first * second if sign == "*" else first**second
    if field.cpp_type not in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) and not value.is_integer():
        return f"{value:.9g} is no whole number"
    return f"nothing is computed in a prototxt: write {field.name}: {value:.9g}"


def _listed(field, text: str) -> str:
    """Of several numbers where a field takes several."""
    numbers = re.split("[ ,;]+", text.strip("()"))
    if not is_repeated(field) or len(numbers) < 2 or not all(map(_is_number, numbers)):
        return ""
    return f"several values stand in brackets: write {field.name}: [{', '.join(numbers)}]"
