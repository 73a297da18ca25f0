"""A solver's fields given on the command line (--set base_lr=1e-4), and all of them as a run's log holds them."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from importlib import metadata

from demitasse import __version__
from demitasse.proto.errors import NetError, SolverFault, Where, did_you_mean
from demitasse.proto.messages import SolverParameter, is_repeated
from demitasse.proto.name_hints import other_field
from demitasse.proto.text import format, parse


def with_settings(param: SolverParameter, where: Where, assignments: Iterable[str]) -> tuple[SolverParameter, Where]:
    """A solver's message and locations with fields replaced: "base_lr=1e-4", "stepvalue=1000,2000" for a repeated one.

    Values are checked as in a prototxt; quotes may be left out.  SolverFault names the assignment.
    """
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        field = SolverParameter.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type or not equals:
            known = [field.name for field in SolverParameter.DESCRIPTOR.fields if not field.message_type]
            other = other_field(name, known)
            hint = f": {other}" if other else did_you_mean(name, known)
            wrong = (
                f"{name} is not one value: edit the solver's file" if field else f"a solver has no field '{name}'{hint}"
            )
            raise SolverFault(f"--set {assignment}: {wrong if equals else 'write FIELD=VALUE, as in base_lr=1e-4'}")
        values = value.split(",") if is_repeated(field) else [value]
        quote = _quoted if field.cpp_type == field.CPPTYPE_STRING else str
        text = "\n".join(f"{name}: {quote(one.strip())}" for one in values)
        try:
            given, _ = parse(text, SolverParameter)
        except NetError as fault:
            said, written, instead = fault.what.partition(f"write {name}: ")
            what = f"{said}write {name}={instead.strip('[]').replace(', ', ',')}" if written else said
            raise SolverFault(f"--set {assignment}: {what}") from None
        if len(given.ListFields()) != 1:
            raise SolverFault(f"--set {assignment}: that is more than one field: give each with a --set of its own")
        param.ClearField(name)
        param.MergeFrom(given)
        for mark in [mark for mark in where.fields if mark.partition("[")[0] == name]:
            del where.fields[mark]
        where.fields[f"{name}[0]" if is_repeated(field) else name] = Where(f"--set {assignment}")
    return param, where


def _quoted(value: str) -> str:
    return value if value[:1] in ("'", '"') else json.dumps(value)


def described(param: SolverParameter) -> dict[str, str]:
    """{field: its value as a prototxt has it} of the fields that are set; values of a repeated one joined by commas."""
    found: dict[str, str] = {}
    for line in format(param).splitlines():
        name, colon, value = line.partition(": ")
        if colon and not name.startswith(" "):  # of messages inside, nets among them, the log says nothing
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def versions() -> dict[str, str]:
    """{"demitasse", "python", "numpy", ...: version} of what computes."""
    found = {"demitasse": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "protobuf"):
        found[name] = metadata.version(name)
    return found
