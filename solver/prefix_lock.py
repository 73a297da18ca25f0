"""One process at a time writes snapshots at a prefix: who comes second is told by whom it is being written to.

The lock is the operating system's, so that it goes with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from demitasse.proto.errors import SolverFault
from demitasse.solver.identity import Run, run_of


@contextlib.contextmanager
def writing(prefix: str, run: Run) -> Iterator[None]:
    """While this is entered, no other process's run may enter it; SolverFault where one has.

    Where files cannot be locked (not on POSIX, some network file systems), nothing is held.
    """
    folder, name = os.path.split(prefix)
    path = os.path.join(folder, f".{name}.writing")
    try:
        import fcntl

        file = open(path, "a+", encoding="utf-8")
    except (ImportError, OSError):
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            _require_own(prefix, file.read())
            yield
            return
        except OSError:
            yield
            return
        file.truncate(0)
        file.write(json.dumps({"run": run.as_json(), "pid": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _require_own(prefix: str, text: str) -> None:
    """SolverFault unless the lock is this process's own: a script may have several solvers."""
    try:
        holder = json.loads(text)
    except ValueError:
        holder = {}
    if holder.get("pid") != os.getpid():
        raise SolverFault(
            f"snapshot_prefix: {prefix} is being written to by {run_of(holder) or 'another run'} (process "
            f"{holder.get('pid', 'unknown')}): wait for its end, or set another snapshot_prefix"
        )
