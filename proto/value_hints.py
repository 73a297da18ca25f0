"""Numbers and words as people write them elsewhere (3x3, 1/2, yes, 1e–4, 100k), and what is written here for them.

`as_meant` says it of a prototxt, `number` and `truth` of any text (the value of a command's option).
"""

from __future__ import annotations

import ast
import math
import operator
import re
import unicodedata

from google.protobuf.descriptor import FieldDescriptor

from demitasse.proto.errors import NetError, SchemaFault
from demitasse.proto.messages import is_repeated
from demitasse.proto.tokens import SourceText, shortened

# A value, as far as it may reach; one in braces is none, but numbers are put into them elsewhere.
_WRITTEN = re.compile(r"(?:\{[^\n#{}]*\}|[^\n#{}]*?)(?=\s+[A-Za-z_]\w*\s*[:{<]|[\n#{}]|$)")
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_WORDS = {"true": True, "yes": True, "on": True, "y": True, "enable": True, "enabled": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "n": False, "disable": False, "disabled": False, "0": False}
_NOTHING = ("none", "null", "nil", "off", "never", "default", "no", "false")
_BY_SIDE = {"kernel_size": "kernel", "pad": "pad", "stride": "stride"}  # fields with an _h and a _w
_THOUSANDS = {"": 1, "k": 1000, "m": 1000000}
_SIGNS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def as_meant(fault: NetError, value_at: tuple | None, source: SourceText) -> NetError:
    """The fault, or where it lies in a value that is written as elsewhere, the one that says what to write instead.

    value_at: (descriptor, offset) of the scalar that was read last.
    """
    if not value_at or not fault.where:
        return fault
    field, offset = value_at
    if source.text[:offset].rstrip().endswith(","):  # in a list: what belongs to it begins before
        return fault
    found, where = _WRITTEN.match(source.text, offset), source.where(offset)
    written = found[0].strip(" \t,;[]") if found else ""
    inside = 0 <= fault.where.column - where.column <= len(written) + 1 and fault.where.line == where.line
    what = remedy(field, written) if inside else ""
    if not what or what.endswith(f" {field.name}: {written}"):  # it is well written, but wrong
        return fault
    kinds = {field.CPPTYPE_BOOL: "true or false", field.CPPTYPE_STRING: "text in quotes"}
    kinds |= {field.CPPTYPE_FLOAT: "a number", field.CPPTYPE_DOUBLE: "a number"}
    takes = kinds.get(field.cpp_type, "an integer")
    return SchemaFault(f"{field.name} takes {takes}, not {shortened(written)}: {what}", where)


def remedy(field: FieldDescriptor, written: str) -> str:
    """What to write in place of `written`, the text after the colon, for a field's descriptor: "why: write field: 3".

    Empty where it cannot be told.
    """
    if field.cpp_type == field.CPPTYPE_STRING:
        is_path = re.fullmatch(r"(?:[A-Za-z]:)?[\w.~/\\-]*[./~\\-][\w.~/\\-]*", written)
        return f'write {field.name}: "{written}"'.replace("\\", "/") if is_path else ""
    if field.cpp_type == field.CPPTYPE_ENUM:
        return ""
    if field.cpp_type == field.CPPTYPE_BOOL and (word := truth(written)) is not None:
        return f"write {field.name}: {str(word).lower()}"
    if written.lower() in _NOTHING and (is_repeated(field) or field.has_default_value):
        default = str(field.default_value).lower()
        return f"leave {field.name} out" + ("" if is_repeated(field) else f", which stands for {default}")
    if field.cpp_type == field.CPPTYPE_BOOL:
        return ""
    whole = field.cpp_type not in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE)
    if whole and (special := _sides(field, normalized(written)) or _of_pixels(field, normalized(written))):
        return special
    if several := _listed(field, normalized(written)):
        return several
    why, meant = number(written, whole)
    return ": ".join(filter(None, (why, f"write {field.name}: {meant}" if meant else "")))


def truth(written: str) -> bool | None:
    """What a word for yes or no means; None for any other."""
    return _WORDS.get(normalized(written).lower())


def number(written: str, whole: bool) -> tuple[str, str]:
    """(why it is no number here, or an empty text; the number) of a text that means one.  whole: only integers count.

    ("", "") where it cannot be told.
    """
    text, mark = normalized(written), "digits are written without marks between them"
    if re.fullmatch("[1-9][0-9]{0,2}(?:[ ,'_][0-9]{3})+|[0-9]+(?:_[0-9]+)+|[0-9]{1,3}(?:\\.[0-9]{3}){2,}", text):
        return mark, re.sub("[^0-9]", "", text)
    if re.fullmatch("[0-9]{1,3}(?:\\.[0-9]{3})+,[0-9]+", text):
        return mark, text.replace(".", "").replace(",", ".")
    if whole and re.fullmatch("[1-9][0-9]{0,2}\\.[0-9]{3}", text):
        return "a point stands before fractions", text.replace(".", "")
    if re.search("epochs?$", text):
        return "training is counted in iterations, of which an epoch has its images by the batch", ""
    text = re.sub("(?<=[0-9]) ?(px|pixels|iterations|iters)$", "", text)
    if thousands := re.fullmatch(f"({_NUMBER}) ?([kKmM])", text):
        text = f"{float(thousands[1]) * _THOUSANDS[thousands[2].lower()]:.15g}"
    elif percent := re.fullmatch(f"({_NUMBER}) ?%", text):
        text = f"{float(percent[1]) / 100:.9g}"
    if not whole:
        return _real(written, text)
    if _is_number(text) and abs(float(text)) <= 2**53 and float(text).is_integer():
        return "", str(int(float(text)))
    return _computed(text, whole)


def _real(written: str, text: str) -> tuple[str, str]:
    """`number` of one that may have a fraction; text: `written` in plain characters."""
    if _DASHES.search(written) and _is_number(text):
        return "its dash is another character than the minus sign", text
    if re.fullmatch("-?([0-9.]+) ?[eEdD] ?[-+]? ?[0-9]+", text) and not _is_number(text):
        return "powers of ten are written in one word with an e", re.sub("[dD]", "e", text.replace(" ", ""))
    if re.fullmatch("0[xX][0-9a-fA-F]+", text):
        return "", str(int(text, 16))
    if text != written.strip() and _is_number(text):
        return "numbers stand without quotes and in plain digits", text
    return _computed(text, whole=False)


def normalized(written: str) -> str:
    """Without quotes, with plain digits and minus signs."""
    text = unicodedata.normalize("NFKC", _DASHES.sub("-", written)).strip()
    return text[1:-1].strip() if len(text) > 2 and text[0] in "\"'\u201c\u201d" else text


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(f"[-+]?{_NUMBER}", text))


def _computed(text: str, whole: bool) -> tuple[str, str]:
    """`number` of a sum, product, power or root."""
    text = re.sub(r"(?<=[0-9)]) ?[xX\u00d7\u00b7\u22c5] ?(?=[0-9(])", "*", text).replace("^", "**")
    if len(text) > 60 or not re.search("[-+*/(]", text[1:]):
        return "", ""
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError, TypeError):
        return "", ""
    if whole and not value.is_integer():
        return f"{value:.9g} is no whole number", ""
    return "nothing is computed here", f"{value:.9g}" if abs(value) < 1e9 or not whole else str(int(value))


def _value(node: ast.expr) -> float:
    """Of an expression of numbers; ValueError for all else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sqrt" and len(node.args) == 1:
        return math.sqrt(_value(node.args[0]))
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        return float(_SIGNS[type(node.op)](_value(node.left), _value(node.right)))
    raise ValueError


def _sides(field, text: str) -> str:
    """Of 3x5, and of (3, 5) where there is a field for each side."""
    sign = "[xX*\u00d7]" if field.name not in _BY_SIDE or is_repeated(field) else "[xX*\u00d7, ]"
    sides = re.fullmatch(f"[(]?([0-9]+) ?{sign} ?([0-9]+)[)]?", text)
    if not sides:
        return ""
    height, width = sides.groups()
    if height == width:
        return f"one number is for both sides: write {field.name}: {height}"
    if stem := _BY_SIDE.get(field.name):
        return f"each side has a field: write {stem}_h: {height} {stem}_w: {width}"
    return f"each side has a number: write {field.name}: [{height}, {width}]" if is_repeated(field) else ""


def _of_pixels(field, text: str) -> str:
    """Of the words for paddings."""
    if field.name != "pad" or text.lower() not in ("same", "valid", "half", "full"):
        return ""
    return "pad is a number of pixels: write " + (
        "pad: 0" if text.lower() == "valid" else "half of kernel_size - 1, say pad: 1 for kernel_size: 3"
    )


def _listed(field, text: str) -> str:
    """Of several numbers where a field takes several."""
    words = re.split("[ ,;]+", text.strip("(){} "))
    if not is_repeated(field) or len(words) + (text[:1] in "({") < 2:
        return ""
    whole = field.cpp_type not in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE)
    meant = [word if re.fullmatch(f"-?{_NUMBER}", word) else number(word, whole)[1] for word in words]
    return f"several values stand in brackets: write {field.name}: [{', '.join(meant)}]" if all(meant) else ""
