"""The exceptions of the engine: one line that says where, what does not fit, and what to do.

The code that finds a fault raises it with *what* is wrong; `located` adds the file, the line and
the layer on the way up.  `python -m ...` prints the line and exits with status 2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Where:
    """A location in a text file: of a message, and of the fields set in it."""

    file: str = ""
    line: int = 0
    column: int = 0
    fields: dict = field(default_factory=dict, compare=False, repr=False)  # "kernel_size" -> Where

    def __str__(self) -> str:
        location = [self.file] if self.file else []
        if self.line:
            location += [str(self.line), str(self.column or 1)]
        return ":".join(location)


class NetError(Exception):
    """A mistake in what the user gave us; str(error) is one line: `file:line:col: layer 'x' (Type): what`."""

    def __init__(self, what: str, where: Where | None = None, layer: str | None = None):
        self.what, self.where, self.layer = what, where, layer
        super().__init__(what)

    def __str__(self) -> str:
        parts = [str(self.where) if self.where else "", f"layer {self.layer}" if self.layer else "", self.what]
        return ": ".join(part for part in parts if part)


class SyntaxFault(NetError):
    """The text is not a prototxt."""


class SchemaFault(NetError):
    """A field, value or layer type that the schema does not know, or a required one that is missing."""


class GraphFault(NetError):
    """Layers that do not connect: unknown bottoms, tops produced twice, bad sharing."""


class ShapeFault(NetError):
    """Sizes that do not fit each other."""


class LabelFault(NetError):
    """A label outside the classes of a loss or a metric.  label: which, where the layer can ignore it."""

    label: int | None = None


class WeightsFault(NetError):
    """A weights or state file that is unreadable, or does not fit the net."""


class SolverFault(NetError):
    """Solver settings that cannot work, or a run that has gone wrong."""


class DataFault(NetError):
    """A data set, image or label file that is missing or unreadable."""


def foreign(error: Exception, code: str, remedy: str = "") -> Exception:
    """The error, marked as raised by the user's own code ("MyLayer.forward"), which the caller has just called.

    Scripts catch it as what it is; a command shows it from the user's code on, without frames of ours, and with the
    remedy, if there is one to name.
    """
    if not isinstance(error, NetError):
        trace = error.__traceback__
        vars(error).update(raised_by=(code, trace and trace.tb_next), remedy=remedy)
        if remedy and hasattr(error, "add_note"):  # since Python 3.11
            error.add_note(remedy)
    return error


@contextlib.contextmanager
def located(where: Where | None, layer: str | None = None) -> Iterator[None]:
    """Add the location and the layer (as "'name' (Type)") to any NetError raised inside, where they are not set yet."""
    try:
        yield
    except NetError as error:
        if error.where is None:
            error.where = where
        if error.layer is None:
            error.layer = layer
        raise


def printable(text: str) -> str:
    r"""The text on one line, with what would steer a terminal or break a document (a name in a file may hold it:
    escapes, line breaks, marks that turn the direction of writing) spelled out: \x1b, \n, \u202e."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'Convolution'?)" for a near miss, else an empty string."""
    import difflib

    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    near = near or sorted((name for name in spelled if len(name) > 2 and word.lower().startswith(name)), key=len)[-1:]
    return f" (did you mean '{spelled[near[0]]}'?)" if near else ""
