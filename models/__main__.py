"""python -m models: write the FCN nets, prepare weights and data, train, score, segment, report."""

from __future__ import annotations

import sys
import warnings
from argparse import SUPPRESS

from models.arguments import Parser, parse
from proto.errors import NetError

TRACEBACK = "show where in the code a fault was found"


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m models",
                    description="Write FCN nets, prepare weights and data, train, score, segment, report.")
    parser.add_argument("--traceback", action="store_true", help=TRACEBACK)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for module in _command_modules():
        module.add_to(commands)
    for command in commands.choices.values():         # after the command, too
        command.add_argument("--traceback", action="store_true", default=SUPPRESS, help=TRACEBACK)
    options = parse(parser, commands, arguments)
    # What Pillow can read it reads; odd notes in a file are nothing that its user could act on.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        return options.run(options) or 0
    except BrokenPipeError:                               # `... | head`
        sys.stderr.close()
        return 0
    except (NetError, OSError, MemoryError) as error:
        if options.traceback:
            raise
        print(error if str(error) else "out of memory", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _command_modules():
    from models import check, evaluate, imageset, prepare, report, segment, train, write
    return write, prepare, check, train, evaluate, segment, report, imageset


if __name__ == "__main__":
    sys.exit(main())
