"""`python -m models compare RUN RUN ...`: what differs between runs, how they scored, their curves in one picture.

A run is its JSON log (`solver train --log FILE`) or a folder with a log.jsonl.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from demitasse.models.commands import arguments
from demitasse.models.report import curves, read_log, run_lines
from demitasse.proto.errors import DataFault
from demitasse.solver.plot import draw_curves


def add_to(commands) -> None:
    """The command `compare` and its options."""
    parser = arguments.add_command(commands, "compare", "what differs between runs: settings, scores, curves")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a log.jsonl, or a folder with one")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into FILE (.png)")
    parser.set_defaults(run=run)


def run(options) -> None:
    """Print the table, and draw the picture."""
    paths = [path / "log.jsonl" if path.is_dir() else path for path in options.runs]
    logs = [_events(path) for path in paths]
    names = _short([str(path) for path in paths])
    print(_table(["", *names], _rows(logs)))
    if options.plot:
        draw_curves(options.plot, _panels(names, logs))
        print(f"wrote {options.plot}")


def _events(path: Path) -> list[dict]:
    if not path.is_file():
        raise DataFault(f"{path}: no such log: train with --log {path}")
    events = read_log(path)
    if not any(event.get("event") in ("train", "test", "run") for event in events):
        raise DataFault(f"{path}: holds no events of a training: give the file of `train --log`")
    return events


def _short(paths: list[str]) -> list[str]:
    """The paths without what they begin and end with in common, where something is left of each."""
    if len(paths) < 2:
        return paths
    full = [os.path.abspath(path) for path in paths]
    start = len(os.path.commonpath(full))
    short = [path[start:].strip("/").removesuffix("/log.jsonl") for path in full]
    return short if all(short) and len({*short}) == len({*paths}) else paths


def _rows(logs: list[list[dict]]) -> list[list[str]]:
    about, settings = [run_lines(log) for log in logs], [_last(log, "settings") for log in logs]
    rows = [[key, *(one.get(key, "-") for one in about)] for key in ("run", "begun", "iterations")]
    rows.append(["trained for", *(_duration(log) for log in logs)])
    for part in ("values", "versions"):
        rows += _differing([one.get(part, {}) for one in settings])
    points = [curves(log) for log in logs]
    for name in _names(points):
        rows.append([f"{name}: last", *(f"{one[name][-1][1]:.4g}" if one.get(name) else "-" for one in points)])
        if name != "training loss":
            pick = min if "loss" in name else max
            rows.append([f"{name}: best", *(_best(one.get(name, []), pick) for one in points)])
    return rows


def _last(log: list[dict], kind: str) -> dict:
    return next((event for event in reversed(log) if event.get("event") == kind), {})


def _differing(found: list[dict]) -> list[list[str]]:
    """A row for each key whose values are not the same in all runs."""
    rows = [[key, *(str(one.get(key, "-")) for one in found)] for key in _names(found)]
    return [row for row in rows if len({*row[1:]}) > 1]


def _names(found: Iterable[dict]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one))


def _best(points: list[tuple[int, float]], pick) -> str:
    if not points:
        return "-"
    iteration, value = pick(points, key=lambda point: point[1])
    return f"{value:.4g} at {iteration}"


def _duration(log: list[dict]) -> str:
    """The time of all its sittings: each begins with an event "run", from which its seconds count."""
    total, latest = 0.0, 0.0
    for event in [*log, {"event": "run"}]:
        if event.get("event") == "run":
            total, latest = total + latest, 0.0
        latest = event.get("seconds", 0.0) if isinstance(event.get("seconds"), (int, float)) else latest
    minutes, seconds = divmod(round(total), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


def _panels(names: list[str], logs: list[list[dict]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """{quantity: {run: its points}}."""
    points = dict(zip(names, map(curves, logs), strict=True))
    return {
        quantity: {run: found[quantity] for run, found in points.items() if found.get(quantity)}
        for quantity in _names(points.values())
    }


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)
