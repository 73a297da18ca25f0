"""What a GPU day has found: one JSON file and one table, rewritten whole after every item."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

DEVICE_LOST = 3  # exit status of a step whose device answers no more: a new process goes on after the item
TRACEBACKS = 12  # kept of a step, the first ones
LINES, WIDTH = 30, 400  # of a traceback; characters of a line in the table


def load(folder: Path) -> dict:
    """{"steps": {step: {"status", "seconds", "items": {item: result}, ...}}} as far as there is one."""
    try:
        return json.loads((folder / "gpu_day.json").read_text())
    except FileNotFoundError:
        return {"steps": {}}


def save(folder: Path, report: dict) -> None:
    """Both files, each replaced at once."""
    for name, text in (("gpu_day.md", table(report)), ("gpu_day.json", json.dumps(report, indent=1, default=str))):
        scratch = folder / f".{name}.part"
        scratch.write_text(text + "\n")
        os.replace(scratch, folder / name)


class Record:
    """What one step has found.  seconds: after so many it begins no new item.

    lost: asked after an exception; True where the device answers no more.  silence: an item that takes most of so many
    seconds says on stderr where it is.
    """

    def __init__(
        self,
        folder: Path,
        step: str,
        seconds: float = 1e9,
        lost: Callable[[], bool] = lambda: False,
        silence: float | None = None,
    ):
        self.folder, self.lost, self.end, self.silence = folder, lost, time.monotonic() + seconds, silence
        self.report = load(folder)
        self.step = self.report["steps"].setdefault(step, {})
        self.items = self.step.setdefault("items", {})

    @property
    def left(self) -> float:
        """Seconds until no new item begins."""
        return self.end - time.monotonic()

    def attempt(self, items: Iterable[str], find: Callable[[str], object]) -> None:
        """Find every item's result (JSON values) that is not known yet; an exception is a result too."""
        for item in items:
            if item in self.items:
                continue
            if self.left <= 0:
                self.step.setdefault("left out, no time", []).append(item)
                self.save()
                continue
            self.step["running"] = item
            self.save()
            lost = False
            if self.silence is not None:
                faulthandler.dump_traceback_later(0.8 * self.silence)
            try:
                result = find(item)
            except Exception as error:  # noqa: BLE001 (each is told; the next item may do)
                result, lost = self._fault(error), self.lost()
            faulthandler.cancel_dump_traceback_later()
            self.items[item] = result
            self.step.pop("running")
            self.save()
            if lost:
                raise SystemExit(DEVICE_LOST)

    def _fault(self, error: Exception) -> dict:
        fault = {"fault": f"{type(error).__name__}: {' '.join(str(error).split())[:WIDTH]}"}
        if sum(isinstance(r, dict) and "traceback" in r for r in self.items.values()) < TRACEBACKS:
            lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()
            fault["traceback"] = [line[:WIDTH] for line in lines[-LINES:]]
        return fault

    def save(self) -> None:
        save(self.folder, self.report)


def table(report: dict) -> str:
    """Markdown: a row for each item that says something, those that are just right counted in one."""
    lines = [f"# GPU day, {report.get('date', '')}", "", "| step | item | result |", "|---|---|---|"]
    for name, step in report["steps"].items():
        items = step.get("items", {})
        right = sum(result == "ok" for result in items.values())
        notes = [step.get("status", "running"), f"{step.get('seconds', 0):.0f} s of {step.get('limit', 0):.0f}"]
        notes += [f"{right} ok"] * bool(right)
        notes += [f"{len(left)} left out for want of time" for left in [step.get("left out, no time")] if left]
        lines.append(f"| **{name}** | {len(items)} items | {', '.join(notes)} |")
        lines += [f"| {name} | {item} | {_words(result)} |" for item, result in items.items() if result != "ok"]
    parts = [
        f"\n{name}, {item}:\n\n```\n" + "\n".join(result["traceback"]) + "\n```"
        for name, step in report["steps"].items()
        for item, result in step.get("items", {}).items()
        if isinstance(result, dict) and result.get("traceback")
    ]
    return "\n".join([*lines, *parts])


def _words(result) -> str:
    """A result in one cell."""
    if isinstance(result, dict):
        pairs = [(key, value) for key, value in result.items() if key != "traceback"]
        result = "; ".join(f"{key} {_words(value)}" for key, value in pairs)
    elif isinstance(result, float):
        result = f"{result:.4g}"
    elif isinstance(result, list):
        result = ", ".join(map(_words, result))
    return str(result).replace("|", "/").replace("\n", " ")[: 4 * WIDTH]


@contextlib.contextmanager
def closing(thing):
    """The thing; its close() is called whatever happens, so that the next one finds the memory."""
    try:
        yield thing
    finally:
        thing.close()
