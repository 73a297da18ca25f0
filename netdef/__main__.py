"""python -m netdef show | draw | upgrade | convert | diff | types: look at nets and weights, and change their form."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from demitasse.proto.cli import run_command


def main(arguments: Sequence[str] | None = None, program: str = "python -m netdef") -> int:
    """Run one command; 0: done, 1: `diff` found differences, 2: a mistake, told in one line on stderr, 130: Ctrl-C.

    program: how it was called, for its messages.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int:
        from demitasse.netdef import cli  # here, so that a Ctrl-C while it loads is quiet too

        return cli.run(given, program)

    return run_command(run, "--traceback" in given)


if __name__ == "__main__":
    sys.exit(main())
