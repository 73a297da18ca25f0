"""python -m models: write the FCN nets, prepare weights and data, train, score, segment, report."""

from __future__ import annotations

import sys
import warnings
from argparse import SUPPRESS

from demitasse.proto.command import OneLineParser, carry_out

TRACEBACK = "show where in the code a fault was found"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, 1 where it says so, 2 for a mistake in what was given (one line on stderr), 130 for Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments

    def run() -> int | None:
        options = _options(given)
        # What Pillow can read it reads; odd notes in a file are nothing that its user could act on.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return options.run(options)

    return carry_out(run, "--traceback" in given)


def _options(given: list[str]):
    from demitasse.models.arguments import parse  # here, so that a Ctrl-C while it loads is quiet too

    parser = OneLineParser(
        prog="python -m models", description="Write FCN nets, prepare weights and data, train, score, segment, report."
    )
    parser.add_argument("--traceback", action="store_true", help=TRACEBACK)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for module in _command_modules():
        module.add_to(commands)
    for command in commands.choices.values():  # after the command, too
        command.add_argument("--traceback", action="store_true", default=SUPPRESS, help=TRACEBACK)
    return parse(parser, commands, given)


def _command_modules():
    from demitasse.models import check, evaluate, imageset, prepare, report, segment, train, write

    return write, prepare, check, train, evaluate, segment, report, imageset


if __name__ == "__main__":
    sys.exit(main())
