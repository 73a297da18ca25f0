"""What a report of a run is made of: its files, its curves, the best and the worst of its images."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np

from demitasse.models.evaluate import Example
from demitasse.models.palette import beside, colour, legend, overlay
from demitasse.proto.errors import DataFault, WeightsFault
from demitasse.proto.text import read_solver
from demitasse.solver import score
from demitasse.solver.identity import run_of_log, run_of_snapshot
from demitasse.solver.path_lookup import Finder


class Extremes:
    """The best and the worst `count` examples by mean IU (of their first head), and the first ones."""

    def __init__(self, count: int):
        self.count = count
        self.first: list[tuple[float, Example]] = []
        self.ranked: list[tuple[float, Example]] = []

    def add(self, example: Example) -> None:
        """Take an example, if it has a labelled pixel."""
        matrix = next(iter(example.matrices.values()))
        if not matrix.any():
            return  # no labelled pixel: nothing to rank by
        entry = (score.scores(matrix).mean_iu, example)
        if len(self.first) < self.count:
            self.first.append(entry)
        self.ranked.append(entry)
        self.ranked.sort(key=lambda pair: -pair[0])
        if len(self.ranked) > 2 * self.count:  # the middle is nobody's
            del self.ranked[self.count]

    @property
    def best(self) -> list[tuple[float, Example]]:
        """(mean IU, example) of the best, the best first."""
        return self.ranked[: self.count]

    @property
    def worst(self) -> list[tuple[float, Example]]:
        """(mean IU, example) of the worst, the worst first."""
        return self.ranked[self.count :][::-1]


def find_file(folder: Path, endings: tuple[str, ...]) -> Path:
    """The one file of a folder whose name ends so (trainval is for training); DataFault for none or several."""
    found = sorted(
        path for path in folder.iterdir() if path.name.endswith(endings) and not path.name.endswith("trainval.prototxt")
    )
    if len(found) == 1:
        return found[0]
    raise DataFault(
        f"{folder}: {len(found) or 'no'} files end in {' or '.join(endings)}"
        f"{': ' + ', '.join(path.name for path in found) if found else ''}; there must be one "
        "(a single net is given as NET.prototxt with --weights)"
    )


def newest_weights(folder: Path, run: Path) -> Path:
    """The latest snapshot's weights: where the folder's solver writes them, or in the run's folder."""
    candidates = [run]
    prefix = None
    try:
        solver = find_file(folder, ("solver.prototxt",))
    except DataFault:
        solver = None
    if solver:
        param, _ = read_solver(str(solver))
        prefix = Path(Finder(str(solver)).for_writing(param.snapshot_prefix or "snapshot"))
        candidates.insert(0, prefix.parent)
    for home in candidates:
        start = prefix.name if prefix and home == prefix.parent else ""
        found = {}
        for path in home.glob("*.caffemodel*") if home.is_dir() else ():
            iteration = re.fullmatch(re.escape(start) + r".*_iter_(\d+)\.caffemodel(\.h5)?", path.name)
            if iteration:
                found[int(iteration[1])] = path
        if found:
            return found[max(found)]
    raise WeightsFault(
        f"no snapshot's weights in {' or '.join(map(str, dict.fromkeys(candidates)))}: "
        "train first, or give --weights FILE"
    )


def read_log(path: Path) -> list[dict]:
    """The events of a .jsonl log; one that stopped in the middle of a line is read up to there."""
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def log_of(weights: str | Path, path: Path) -> list[dict]:
    """The events of a log, if it is of the run that the weights are of; else none, and a line says so."""
    events = read_log(path)
    if not events:
        return events
    trained, logged = run_of_snapshot(str(weights).split(",")[-1].strip()), run_of_log(path)
    if (trained and trained.id) == (logged and logged.id):
        return events
    print(
        f"the page has no curve: {path} is of {logged or 'a run that left no identity'}, but {weights} of "
        f"{trained or 'a run that left no identity'}; give the --log of that run",
        file=sys.stderr,
    )
    return []


def curves(events: list[dict]) -> dict[str, list[tuple[int, float]]]:
    """{name: [(iteration, value)]}: the training loss, and every test output that is one number.

    Where a run was resumed, the later record of an iteration holds.
    """
    points: dict[str, dict[int, float]] = {}
    for event in events:
        iteration, loss = event.get("iteration"), event.get("loss")
        if event.get("event") == "train" and isinstance(loss, (int, float)):
            points.setdefault("training loss", {})[iteration] = loss
        elif event.get("event") == "test":
            for name, value in event.get("outputs", {}).items():
                value = value[0] if isinstance(value, list) and len(value) == 1 else value
                if isinstance(value, (int, float)):
                    points.setdefault(f"test {name}", {})[iteration] = value
        elif event.get("event") == "scores" and isinstance(event.get("mean_iu"), (int, float)):
            points.setdefault(f"mean IU of {event.get('head')}", {})[iteration] = event["mean_iu"]
    return {name: sorted(values.items()) for name, values in points.items()}


def run_lines(events: list[dict]) -> dict[str, str]:
    """What a log says of its run, and how far it went: {"run": ..., "begun": ..., ...}; as little as it knows."""
    runs = [event["run"] for event in events if event.get("event") == "run" and isinstance(event.get("run"), dict)]
    about = {{"id": "run"}.get(key, key): str(value) for key, value in (runs[-1] if runs else {}).items()}
    iterations = [event["iteration"] for event in events if isinstance(event.get("iteration"), int)]
    return {**about, "iterations": str(max(iterations))} if iterations else about


def panels(example: Example, head: str) -> list[np.ndarray]:
    """Image, truth and prediction of an example; 255 is shown white in the truth, and as the image elsewhere."""
    truth, predicted = example.truth[head], example.predicted[head]
    shown = colour(truth)
    shown[truth == 255] = 255
    picture = example.picture
    return [picture, shown, colour(predicted), overlay(picture, predicted)]


def sheet(examples: list[Example], head: str, names: list[str]) -> np.ndarray:
    """Rows of panels, and below them the legend of the classes that occur."""
    rows = []
    for example in examples:
        times = max(1, 256 // max(example.data.shape[1:]))  # small images are shown larger
        rows.append(beside(panels(example, head)).repeat(times, axis=0).repeat(times, axis=1))
    seen = set()
    for example in examples:
        seen |= set(np.unique(example.truth[head])) | set(np.unique(example.predicted[head]))
    classes = sorted(int(c) for c in seen - {255})
    columns = max(1, min(len(classes), rows[0].shape[1] // 160))
    key = beside([np.asarray(legend(part.tolist(), names)) for part in np.array_split(classes, columns)], gap=20)
    width = max(part.shape[1] for part in [*rows, key])
    parts = []
    for part in [*rows, key]:
        padded = np.full((part.shape[0] + 4, width, 3), 255, np.uint8)
        padded[: part.shape[0], : part.shape[1]] = part
        parts.append(padded)
    return np.concatenate(parts)
