"""A run as its JSON log tells it: what it is, its settings, its curves, where its best weights are."""

from __future__ import annotations

import json
import math
import os
from functools import cached_property
from pathlib import Path

from demitasse.solver.curves import Curves, curves_of


class RunLog:
    """The events of a .jsonl log (`train --log FILE`); one that stopped in the middle of a line is read up to there.

    Paths in it are relative to its folder.  A file that is not there has no events.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.events: list[dict] = []
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict) and _well_made(event):
                self.events.append(event)

    def last(self, kind: str) -> dict:
        """The last event of a kind; {} where there is none."""
        return next((event for event in reversed(self.events) if event.get("event") == kind), {})

    @cached_property
    def curves(self) -> Curves:
        """The curves of its losses, scores and rate."""
        return curves_of(self.events)

    @property
    def settings(self) -> dict[str, str]:
        """{field: value} of its solver."""
        return self.last("settings").get("values") or {}

    @property
    def versions(self) -> dict[str, str]:
        """{package: version} of what has computed it."""
        return self.last("settings").get("versions") or {}

    @property
    def data(self) -> dict[str, str]:
        """{data layer: its fingerprint}."""
        return self.last("settings").get("data") or {}

    def about(self) -> dict[str, str]:
        """{"run": ..., "begun": ..., "trained for": ..., "command": ..., "iterations": ...}; as little as it knows."""
        run = self.last("run").get("run")
        found = {{"id": "run"}.get(key, key): str(value) for key, value in run.items()} if isinstance(run, dict) else {}
        iterations = [event["iteration"] for event in self.events if isinstance(event.get("iteration"), int)]
        if iterations:
            found |= {"iterations": str(max(iterations)), "trained for": self.duration()}
        return found

    def duration(self) -> str:
        """The time of all its sittings: each begins with an event "run", from which its seconds count."""
        total, latest = 0.0, 0.0
        for event in [*self.events, {"event": "run"}]:
            if event.get("event") == "run":
                total, latest = total + latest, 0.0
            latest = event["seconds"] if isinstance(event.get("seconds"), (int, float)) else latest
        minutes, seconds = divmod(round(total), 60)
        return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"

    def weights(self) -> Path | None:
        """The weights of its best snapshot, where there is a best, else of its newest; None where none is left."""
        best = self.last("best").get("iteration")
        snapshots = [event for event in self.events if event.get("event") == "snapshot" and event.get("weights")]
        snapshots.sort(key=lambda event: event.get("iteration") == best)  # the others stay in their order
        paths = [self.find(event["weights"]) for event in reversed(snapshots)]
        return next((path for path in paths if path.is_file()), None)

    def test_nets(self) -> list[Path]:
        """The files of its test nets that are still there."""
        return [path for name in self.last("settings").get("tests") or [] if (path := self.find(name)).is_file()]

    def find(self, name: str) -> Path:
        """A path that the log names."""
        return Path(os.path.normpath(self.path.parent / name))


def _well_made(event: dict) -> bool:
    """Whether an event holds numbers, texts and messages where it is read as holding them."""
    kinds = {int: ("iteration",), int | float: ("loss", "seconds", "mean_iu"), str: ("event", "weights")}
    kinds |= {dict: ("outputs", "run", "values", "versions", "data"), list: ("tests",)}
    counted = event.get("event") not in ("train", "test", "scores") or event.get("iteration") is not None
    fitting = all(
        isinstance(event[name], kind) for kind, names in kinds.items() for name in names if event.get(name) is not None
    )
    tests = all(isinstance(name, str) for name in event.get("tests") or ())
    return counted and fitting and tests and math.isfinite(event.get("seconds") or 0)
