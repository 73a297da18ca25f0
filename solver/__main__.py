"""python -m solver train | test | time | device_query: Caffe's command line."""

from __future__ import annotations

import sys
import time
import traceback

from demitasse.proto.cli import run_command, status_of

FIRST_SAYS = 2  # seconds that the first rank has to tell a mistake and end all


def main(arguments: list[str] | None = None, program: str = "python -m solver") -> int:
    """Run a command; 0, 2 for a mistake in what was given (one line on stderr), 130 for Ctrl-C.

    program: how it was called, for its messages.
    """
    given = sys.argv[1:] if arguments is None else arguments
    with_traceback = "--traceback" in given

    def run() -> int:
        from demitasse.solver import flags  # here, so that a Ctrl-C while it loads is quiet too
        from demitasse.solver.distributed import launched_ranks

        options = flags.parse(given, program)
        ranks = launched_ranks()
        try:
            flags.finish(options, ranks.threads())
            return _run(options, ranks)
        except (Exception, KeyboardInterrupt) as error:
            if ranks.size > 1:
                return _end_all(ranks, error, with_traceback)
            raise

    return run_command(run, with_traceback)


def _end_all(ranks, error: BaseException, with_traceback: bool) -> int:
    """Tell the error and end every rank, since the others would wait for this one without end; the exit status, for MPI
    may take a moment to end this one too."""
    if ranks.rank:
        time.sleep(FIRST_SAYS)  # if it is the same mistake there, which ends this one meanwhile
    code = 130
    try:
        if isinstance(error, Exception):
            code = status_of(error, with_traceback)
    except Exception:
        traceback.print_exc()
        code = 1
    ranks.abort(code)
    return code


def _run(options, ranks) -> int:
    from demitasse.solver import commands, lr_range, timing

    if options.command == "train":
        return commands.train(options, ranks)
    run = {
        "lr_range": lr_range.run,
        "test": commands.test,
        "time": timing.time_net,
        "device_query": timing.device_query,
    }
    return run[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
