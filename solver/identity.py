"""Which run a file is of: an id made when training begins, kept by whoever resumes it.

A run's snapshots (in their side file), its log and its JSON log carry it.  So one run's files are neither mixed with
another's nor replaced by them, unless that is asked for.

A copied run stays the same run: its log, snapshots and weights are one history, and a moved folder cannot be told from
a copied one.  Two copies that are trained on do not meet, since each writes where it lies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shlex
import sys
import time
from pathlib import Path

from demitasse.proto.errors import SolverFault

MAX_READ = 1 << 16  # bytes of a JSON log that are looked at: its first line says of which run it is


@dataclasses.dataclass(frozen=True)
class Run:
    """id: eight hex digits.  begun: local time.  command: what was typed."""

    id: str
    begun: str
    command: str

    def __str__(self) -> str:
        return f"run {self.id}, begun {self.begun} by `{self.command}`"

    def as_json(self) -> dict[str, str]:
        """{"id": ..., "begun": ..., "command": ...}, which `run_of` reads."""
        return dataclasses.asdict(self)


def _typed() -> list[str]:
    """The words of this process's command line, programs by name alone."""
    words = getattr(sys, "orig_argv", sys.argv)
    if len(words) > 1 and os.path.basename(words[1]) in ("demitasse", "caffe"):  # a script that Python runs
        words = words[1:]
    return [os.path.basename(words[0]), *words[1:]] if words else []


def resuming_command(solver_file: str) -> str:
    """What to type to go on with this run: what was typed, but from its newest snapshot."""
    words, starts = _typed(), ("--weights", "--snapshot", "--bilinear", "--overwrite", "--resume")
    if "train" not in words:  # called from Python
        return shlex.join(["demitasse", "train", solver_file, "--resume"])
    kept: list[str] = []
    skip = False
    for word in words:
        name, _, value = f"-{word.lstrip('-')}".partition("=") if word.startswith("-") else ("", "", "")
        start = f"-{name}" in starts
        if not start and not skip:
            kept.append(word)
        skip = start and not value and name in ("-weights", "-snapshot")
    return shlex.join([*kept, "--resume"])


def new_run() -> Run:
    """The identity of a run that begins now."""
    command = shlex.join(_typed())
    return Run(secrets.token_hex(4), time.strftime("%Y-%m-%d %H:%M:%S"), command[:500])


def run_of(record: object) -> Run | None:
    """The run in a side file's or a log's JSON object; None where there is none (a file of an older version)."""
    entry = record.get("run") if isinstance(record, dict) else None
    fields = [entry.get(field.name) for field in dataclasses.fields(Run)] if isinstance(entry, dict) else [None]
    return Run(*fields) if all(isinstance(value, str) for value in fields) else None


def run_of_snapshot(path: str | os.PathLike) -> Run | None:
    """The run that a snapshot's file (any of the three) is of; None where no side file tells."""
    match = re.fullmatch(r"(.*)\.(?:caffemodel|solverstate)(\.h5)?(?:\.json)?", os.fspath(path), re.DOTALL)
    if match is None:
        return None
    try:
        return run_of(json.loads(Path(f"{match[1]}.solverstate{match[2] or ''}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def run_of_log(path: str | os.PathLike) -> Run | None:
    """The run whose events a JSON log holds (the last one, of several); None where it does not tell.  OSError."""
    run = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if '"event": "run"' in line:
                with contextlib.suppress(ValueError, RecursionError):
                    run = run_of(json.loads(line)) or run
    return run


# -- the snapshots that are there already ---------------------------------------------------------------


def snapshots_at(prefix: str) -> dict[int, list[str]]:
    """{iteration: its files} of the snapshots at a prefix, the newest first."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r"_iter_(\d+)\.(?:caffemodel|solverstate)(?:\.h5)?(?:\.json)?")
    found: dict[int, list[str]] = {}
    with contextlib.suppress(OSError):  # no such folder
        for entry in sorted(os.listdir(folder or "."), reverse=True):
            if match := pattern.fullmatch(entry):
                found.setdefault(int(match[1]), []).append(os.path.join(folder, entry))
    return dict(sorted(found.items(), reverse=True))


def snapshots_of_others(prefix: str, ours: set[str | None]) -> dict[str, Run | None]:
    """{path: its run} of the snapshots' files at a prefix that are not ours, the newest first.

    ours: ids; with None among them, what has no identity is ours too.
    """
    runs = {path: run_of_snapshot(path) for paths in snapshots_at(prefix).values() for path in paths}
    return {path: run for path, run in runs.items() if (run and run.id) not in ours}


def newest_whole(prefix: str) -> str:
    """The newest state at a prefix that has its weights and side file; SolverFault where there is none, or where runs
    are mixed there."""
    whole = [
        (state, run_of_snapshot(state))
        for paths in snapshots_at(prefix).values()
        for state in paths
        if state.endswith((".solverstate", ".solverstate.h5"))
        and {f"{state}.json", state.replace(".solverstate", ".caffemodel")} <= set(paths)
    ]
    if not whole:
        raise SolverFault(f"--resume: there is no whole snapshot at {prefix}_iter_*: leave --resume out to begin")
    runs = {run for _, run in whole if run}
    if len(runs) > 1:
        raise SolverFault(
            f"--resume: {prefix} holds snapshots of {' and of '.join(sorted(map(str, runs)))}: say which one goes on "
            "with --snapshot STATE"
        )
    return whole[0][0]


def others_text(others: dict[str, Run | None]) -> str:
    """ "6 files of run 3f2a9c1e, ..., the newest x_iter_20.solverstate": what `snapshots_of_others` has found."""
    runs = list({other.id if other else "": other for other in others.values()}.values())
    of = " and of ".join(str(other) if other else "a run that left no identity (Caffe's, or of old)" for other in runs)
    count = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"{count} of {of}, the newest {os.path.basename(_newest(others))}"


def _newest(others) -> str:
    states = [path for path in others if path.endswith((".solverstate", ".solverstate.h5"))]
    return (states or list(others))[0]


def require_free(prefix: str, others: dict[str, Run | None]) -> None:
    """SolverFault where a prefix holds files of other runs; it says whose they are and what can be done."""
    if others:
        newest = _newest(others)
        go_on = f"go on from it with --snapshot {newest}, " * newest.endswith((".solverstate", ".solverstate.h5"))
        raise SolverFault(
            f"snapshot_prefix: {prefix} holds {others_text(others)}: {go_on}set another snapshot_prefix, or replace "
            "them with --overwrite"
        )


# -- the JSON log ---------------------------------------------------------------------------------------


def log_is_ours(path: str | os.PathLike, ours: set[str | None]) -> bool:
    """Whether the events in a JSON log are of one of these runs (None: of an unknown one), or there are none yet.

    SolverFault for a file of another kind, which is nobody's to write into.  OSError.
    """
    if not os.path.isfile(path) or not os.path.getsize(path):
        return True
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline(MAX_READ)
    try:
        event = json.loads(first)
    except (ValueError, RecursionError):
        event = None
    if not (isinstance(event, dict) and "event" in event):
        raise SolverFault(f"the log {path} is a file of another kind, and stays as it is: give another --log")
    run = run_of_log(path)
    return (run and run.id) in ours


def log_taken(path: str | os.PathLike) -> SolverFault:
    """The fault for a log that holds another run's events.  OSError."""
    whose = run_of_log(path) or "a run that left no identity in it"
    return SolverFault(
        f"the log {path} holds the events of {whose}: give another --log, or replace it with --overwrite"
    )
