"""What all commands share: every mistake is one line on stderr, and what the exit status says.

0    done
2    a mistake in what was given, or what the machine refuses (a disk that is full)
130  Ctrl-C
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from demitasse import environment
from demitasse.proto.errors import NetError, did_you_mean, printable
from demitasse.proto.option_values import thread_count

ENGINE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(ENGINE, folder, "") for folder in ("caffe", "layers", "netdef"))
IMPORTING = ("<frozen importlib", os.path.join("importlib", "__init__.py"))


class OneLineParser(argparse.ArgumentParser):
    """Options are written out in full; mistakes in them are one line and exit status 2, like all others."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """The options; for one that is unknown, the nearest that the command (options.command) knows."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = getattr(options, "command", None)
            option = unknown[0].split("=")[0]
            nearest = solver_option(option) if command == "train" else ""
            nearest = nearest or did_you_mean(option, list(_option_names(self, command)))
            self.error(f"{command or 'it'} knows no {unknown[0]}{nearest}")
        return options

    def error(self, message: str) -> NoReturn:
        wrong = re.match(r"argument ([A-Z]+): invalid choice: '(.*)' \(choose from (.*)\)$", message)
        if wrong:
            kind, word, known = wrong[1].lower(), wrong[2], re.findall(r"[\w-]+", wrong[3])
            message = f"unknown {kind} '{word}'{did_you_mean(word, known)}; known: {', '.join(known)}"
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def solver_option(option: str) -> str:
    """ ": ..." for an option of `train` that is a field of the solver, by Caffe's name or another; may be empty."""
    from demitasse.proto.messages import SolverParameter  # here: reading the schema takes a while
    from demitasse.proto.name_hints import other_field

    name = option.lstrip("-").replace("-", "_")
    known = SolverParameter.DESCRIPTOR.fields_by_name
    if name in known:
        return f": it is a field of the solver, --set {name}=VALUE"
    if not (other := other_field(name, known)):
        return ""
    return f": {other}" + (f", --set {other.split()[-1]}=VALUE" if other.startswith("Caffe's word") else "")


def _option_names(parser: argparse.ArgumentParser, command: str | None) -> Iterator[str]:
    """The options of one of a parser's commands, and of all tasks below that."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                if command in (None, name):
                    yield from _option_names(below, None)


def add_device_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """--device, --threads, --exact and --precision, which layers.backend.options takes; default: the device."""
    chosen = default or "what the solver says, else cpu"
    parser.add_argument("--device", default=default, metavar="D", help=f"cpu, gpu or gpu:N (default: {chosen})")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--exact", action="store_true", help="convolve directly, without transforms that round more")
    parser.add_argument(
        "--precision",
        default="tf32",
        choices=("fp32", "tf32", "fp16"),
        help="of convolutions on the GPU (default: tf32)",
    )


def progress(items: Iterable, total: int | None = None, unit: str = "image") -> Iterable:
    """The items, with a progress bar on stderr where that is a terminal.  total: how many, where they have no len()."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True)


def run_command(run: Callable[[], int | None], with_traceback: bool = False) -> int:
    """The exit status of `run`; with_traceback: mistakes are raised on, to see where they were noticed."""
    _replace_closed_streams()
    format_before = warnings.formatwarning
    warnings.formatwarning = _warning_line  # type: ignore[assignment]  # it takes what it does not show
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to fail
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    unnamed, sys.stdout = sys.stdout, _Output(sys.stdout)  # type: ignore[assignment]  # it has what a stream has
    try:
        try:
            status = run() or 0
        except SystemExit:  # --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except Exception as error:
        return status_of(error, with_traceback)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C, while all is torn down, ends at once
        return 130
    finally:
        warnings.formatwarning, sys.stdout = format_before, unnamed
        for stream in (sys.stdout, sys.stderr):
            _empty(stream)


def _warning_line(message, *location) -> str:
    """A warning as commands show it: without the location in our code that it came from."""
    return f"warning: {printable(' '.join(str(message).split()))}\n"


class _Output:
    """Standard output, whose errors say that they are its own: a disk may be full for many files."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return self._named(self.stream.write, text)

    def flush(self) -> None:
        self._named(self.stream.flush)

    @staticmethod
    def _named(function, *words):
        try:
            return function(*words)
        except OSError as error:
            error.filename = error.filename or "standard output"
            raise


class _Closed(io.TextIOBase):
    """Stands for a standard output that the caller has closed: what is printed to it is an error, as elsewhere."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed: there is nowhere to write to")


def _replace_closed_streams() -> None:
    """Where a command is started without a standard stream (`>&-`), give it one: Python has None there, and the
    next file to be opened would get the number of the stream and what others write to it."""
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    sys.stdout = _Closed() if sys.stdout is None else sys.stdout
    sys.stderr = open(os.devnull, "w") if sys.stderr is None else sys.stderr  # noqa: SIM115 (it lives as long as we do)


def _empty(stream) -> None:
    """Drop what a stream cannot get rid of: Python tries once more at its exit, and complains with status 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()


def status_of(error: Exception, with_traceback: bool = False) -> int:
    """Tell a mistake and give the exit status; an error that is none (a bug of ours) is raised on."""
    if isinstance(error, BrokenPipeError) and not hasattr(error, "raised_by"):  # `... | head`
        return 0
    text = None if with_traceback else error_line(error)
    if text is None:
        raise error
    with contextlib.suppress(OSError):  # stderr takes nothing: the status tells
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)
    return 2


def error_line(error: Exception) -> str | None:
    """The line that tells a mistake, after the traceback of the user's own code where that failed; None for a bug."""
    if hasattr(error, "raised_by"):
        return _of_users_code(error)
    if isinstance(error, NetError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        files = [name for name in (error.filename, error.filename2) if name is not None]
        return " ".join(f"{' to '.join(map(str, files))}{': ' * bool(files)}{error.strerror or error}".split())
    if isinstance(error, MemoryError):
        return " ".join(f"not enough memory: {error}".rstrip(": ").split())
    if isinstance(error, ImportError) and error.name in environment.LATER:
        return environment.lack_of([error.name])
    return None


def _of_users_code(error: Exception) -> str:
    (code, trace), remedy = vars(error)["raised_by"], vars(error)["remedy"]
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith(OURS) and not any(word in frame.filename for word in IMPORTING)
    ]
    lines = ["Traceback (most recent call last):\n"] if frames else []
    lines += traceback.StackSummary.from_list(frames).format()
    vars(error)["__notes__"] = []  # the last line says where
    lines += traceback.format_exception_only(type(error), error)
    location = getattr(error, "layer_location", "")
    what = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    return f"{''.join(lines)}{location}{': ' * bool(location)}{code} raised {what}{'; ' * bool(remedy)}{remedy}"
