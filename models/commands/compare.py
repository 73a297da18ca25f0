"""`python -m models compare RUN RUN ...`: what differs between runs, how they scored, their curves in one picture.

A run is its JSON log (`solver train --log FILE`) or a folder with a log.jsonl.  With --page the same images stand side
by side, too, as the best snapshot of each run labels them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from demitasse.layers.backend.options import BackendOptions
from demitasse.models import compare_page
from demitasse.models.commands import arguments
from demitasse.models.run_log import RunLog
from demitasse.proto.cli import add_device_options
from demitasse.proto.errors import DataFault
from demitasse.proto.files import write_text
from demitasse.proto.option_values import whole_number
from demitasse.solver.curves import LOSS, RATE, Points
from demitasse.solver.plot import draw_curves


def add_to(commands) -> None:
    """The command `compare` and its options."""
    parser = arguments.add_command(commands, "compare", "what differs between runs: settings, scores, curves, pictures")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a log.jsonl, or a folder with one")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into FILE (.png)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page with curves and images (.html)")
    parser.add_argument(
        "--images",
        type=whole_number,
        default=6,
        metavar="N",
        help="how many of the first images, and of those that the runs differ most in, the page has (default: 6)",
    )
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> None:
    """Print the table, and draw the picture and the page."""
    paths = list(dict.fromkeys(path / "log.jsonl" if path.is_dir() else path for path in options.runs))
    names = _short([str(path) for path in paths])
    logs = dict(zip(names, map(_opened, paths), strict=True))
    settings, scores = setting_rows(logs.values()), score_rows(logs.values())
    print(_table(["", *names], [*settings, *scores]))
    if len(logs) < 2:
        print("one run: name another one, too, to see in which settings they differ")
    if options.plot:
        draw_curves(options.plot, {name: log.curves for name, log in logs.items()})
        print(f"wrote {options.plot}")
    if options.page:
        backend = BackendOptions.of(options).make()
        page = compare_page.page(logs, settings, scores, compare_page.pictures(logs, options.images, backend))
        write_text(options.page, page)
        print(f"wrote {options.page}")


def _opened(path: Path) -> RunLog:
    if not path.is_file():
        file = path if path.suffix else path / "log.jsonl"
        raise DataFault(f"{path}: no such log: train with --log {file}")
    log = RunLog(path)
    if not any(log.last(kind) for kind in ("train", "test", "run")):
        raise DataFault(f"{path}: holds no events of a training: give the file of `train --log`")
    return log


def _short(paths: list[str]) -> list[str]:
    """The paths without what they begin and end with in common, where something is left of each."""
    if len(paths) < 2:
        return paths
    full = [os.path.abspath(path) for path in paths]
    start = len(os.path.commonpath(full))
    short = [path[start:].strip("/").removesuffix("/log.jsonl") for path in full]
    return short if all(short) and len({*short}) == len({*paths}) else paths


def setting_rows(logs: Iterable[RunLog]) -> list[list[str]]:
    """What each run is, and where its settings, versions and data differ from the others'."""
    logs = list(logs)
    about = [log.about() for log in logs]
    rows = [[key, *(one.get(key, "-") for one in about)] for key in ("run", "begun", "iterations", "trained for")]
    for found in ([log.settings for log in logs], [log.versions for log in logs], [log.data for log in logs]):
        rows += _differing(found)
    return rows


def score_rows(logs: Iterable[RunLog]) -> list[list[str]]:
    """The last and the best value of every curve but the rate's."""
    curves, rows = [log.curves for log in logs], []
    for quantity in _names(curves):
        of_quantity = [one.get(quantity, {}) for one in curves]
        for line in _names(of_quantity) if quantity != RATE else ():
            points = [one.get(line, []) for one in of_quantity]
            rows.append([f"{line}: last", *(f"{one[-1][1]:.4g}" if one else "-" for one in points)])
            if line != "training loss":
                pick = min if quantity == LOSS else max
                rows.append([f"{line}: best", *(_best(one, pick) for one in points)])
    return rows


def _differing(found: list[dict]) -> list[list[str]]:
    """A row for each key whose values are not the same in all runs."""
    rows = [[key, *(str(one.get(key, "-")) for one in found)] for key in _names(found)]
    return [row for row in rows if len({*row[1:]}) > 1]


def _names(found: Iterable[dict]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one))


def _best(points: Points, pick) -> str:
    if not points:
        return "-"
    iteration, value = pick(points, key=lambda point: point[1])
    return f"{value:.4g} at {iteration}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)
