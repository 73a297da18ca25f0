"""python -m models: write the FCN nets, prepare weights and data, train, score, segment, report."""

from __future__ import annotations

import sys
import warnings
from argparse import SUPPRESS
from importlib import import_module

from demitasse.proto.cli import OneLineParser, run_command

MODULES = (
    "list_nets",
    "write",
    "prepare",
    "check",
    "recipe",
    "score",
    "segment",
    "detect",
    "report",
    "compare",
    "convert_imageset",
    "convert_annoset",
    "compute_image_mean",
    "extract_features",
)
TRACEBACK = "show where in the code a fault was found"


def main(arguments: list[str] | None = None, program: str = "python -m models") -> int:
    """Run a command; 0, 1 where it says so, 2 for a mistake in what was given (one line on stderr), 130 for Ctrl-C.

    program: how it was called, for its messages.
    """
    given = sys.argv[1:] if arguments is None else arguments

    def run() -> int | None:
        options = _options(given, program)
        # What Pillow can read it reads; odd notes in a file are nothing that its user could act on.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return options.run(options)

    return run_command(run, "--traceback" in given)


def _options(given: list[str], program: str):
    parser = OneLineParser(
        prog=program, description="Write FCN nets, prepare weights and data, train, score, segment, report."
    )
    parser.add_argument("--traceback", action="store_true", help=TRACEBACK)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    add_commands(commands)
    return parser.parse_args(given)


def add_commands(commands) -> None:
    """Add every command with its options to an argparse group of commands."""
    for name in MODULES:
        import_module(f"demitasse.models.commands.{name}").add_to(commands)
    for command in dict.fromkeys(commands.choices.values()):  # after the command, too; one may have two names
        command.add_argument("--traceback", action="store_true", default=SUPPRESS, help=TRACEBACK)


if __name__ == "__main__":
    sys.exit(main())
