"""python -m solver train | test | time | device_query: Caffe's command line."""

from __future__ import annotations

import sys
import time
import warnings

from proto.errors import NetError
from solver import flags
from solver.distributed import launched_ranks


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, 2 for a mistake in what was given (one line on stderr), 130 for Ctrl-C."""
    options = flags.parse(sys.argv[1:] if arguments is None else arguments)
    ranks = None
    try:
        ranks = launched_ranks()
        flags.finish(options, ranks.threads())
        return _run(options, ranks)
    except (NetError, OSError, MemoryError) as error:
        if options.traceback:
            raise
        if ranks is not None and ranks.rank:
            time.sleep(1)                      # the first rank says it, if it is the same mistake there
        print(_line(error), file=sys.stderr, flush=True)
        code = 2
    except KeyboardInterrupt:
        code = 130
    if ranks is not None:
        ranks.abort(code)                      # the other ranks would wait for this one for ever
    return code


def _run(options, ranks) -> int:
    from solver import commands, timing

    if options.command == "train":
        return commands.train(options, ranks)
    run = {"test": commands.test, "time": timing.time_net, "device_query": timing.device_query}
    return run[options.command](options)


def _line(error: BaseException) -> str:
    text = str(error) if isinstance(error, NetError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *place: f"warning: {message}\n"
    sys.exit(main())
