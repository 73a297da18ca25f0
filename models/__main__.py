"""python -m models: write the FCN nets, prepare weights and data, train, score, segment, report."""

from __future__ import annotations

import argparse
import sys
import warnings

from proto.errors import NetError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__.partition(": ")[2])
    parser.add_argument("--traceback", action="store_true", help="show where in the code a fault was found")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _command_modules():
        module.add_to(commands)
    for command in commands.choices.values():         # after the command, too
        command.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # What Pillow can read it reads; odd notes in a file are nothing that its user could act on.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        return options.run(options) or 0
    except BrokenPipeError:                               # `... | head`
        sys.stderr.close()
        return 0
    except (NetError, OSError) as error:
        if options.traceback:
            raise
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _command_modules():
    from models import check, evaluate, imageset, prepare, report, segment, train, write
    return write, prepare, check, train, evaluate, segment, report, imageset


if __name__ == "__main__":
    sys.exit(main())
