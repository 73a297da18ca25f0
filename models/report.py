"""What a report of a run is made of: its files, its curves, the best and the worst of its images."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from demitasse.models.evaluate import Example
from demitasse.models.palette import legend, written
from demitasse.models.run_log import RunLog
from demitasse.proto.errors import DataFault, WeightsFault
from demitasse.proto.text import read_solver
from demitasse.solver import score
from demitasse.solver.identity import run_of_log, run_of_snapshot
from demitasse.solver.path_lookup import Finder
from demitasse.solver.pictures import beside, colour, distinct_palette, outlined, overlay


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


def weights_of(folder: Path, run: Path, log: Path) -> Path:
    """The weights of the log's run, the best there are; else the latest snapshot's where the folder's solver writes
    them, or in the run's folder.  WeightsFault where there are none."""
    if logged := RunLog(log).weights():
        return logged
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


def log_of(weights: str | Path, path: Path) -> RunLog:
    """A log, if it is of the run that the weights are of; else one without events, and a line says so."""
    log = RunLog(path)
    if not log.events:
        return log
    trained, logged = run_of_snapshot(str(weights).split(",")[-1].strip()), run_of_log(path)
    if (trained and trained.id) == (logged and logged.id):
        return log
    print(
        f"the page has no curve: {path} is of {logged or 'a run that left no identity'}, but {weights} of "
        f"{trained or 'a run that left no identity'}; give the --log of that run",
        file=sys.stderr,
    )
    return RunLog("")


def panels(example: Example, head: str) -> dict[str, np.ndarray]:
    """{what it shows: picture (H, W, 3) uint8} of an example; 255 is white in the truth, and as the image elsewhere."""
    return {"image": example.picture, "truth": colour(example.truth[head]), **predicted(example, head)}


def predicted(example: Example, head: str, name: str = "prediction") -> dict[str, np.ndarray]:
    """{what it shows: picture (H, W, 3) uint8}: the prediction alone, and over the image with the borders of the
    truth."""
    labels = example.predicted[head]
    over = outlined(overlay(example.picture, labels), example.truth[head])
    return {name: colour(labels), f"{name}, true borders": over}


def sheet(examples: list[Example], head: str, names: list[str]) -> np.ndarray:
    """(H, W, 3) uint8: rows of panels under their heads, and below them the legend of the classes that occur."""
    rows, seen = [], set()
    for example in examples:
        pictures = panels(example, head)
        times = max(1, 256 // max(example.data.shape[1:]))  # small images are shown larger
        large = [picture.repeat(times, axis=0).repeat(times, axis=1) for picture in pictures.values()]
        heads = [written(name, picture.shape[1]) for name, picture in zip(pictures, large, strict=True)]
        rows += [*([beside(heads)] * (not rows)), beside(large)]
        seen |= set(np.unique(example.truth[head])) | set(np.unique(example.predicted[head]))
    classes = sorted(int(c) for c in seen - {255})
    columns = max(1, min(len(classes), rows[0].shape[1] // 160))
    parts = np.array_split(classes, columns)
    key = beside([np.asarray(legend(part.tolist(), names, distinct_palette())) for part in parts], gap=20)
    width = max(part.shape[1] for part in [*rows, key])
    parts = []
    for part in [*rows, key]:
        padded = np.full((part.shape[0] + 4, width, 3), 255, np.uint8)
        padded[: part.shape[0], : part.shape[1]] = part
        parts.append(padded)
    return np.concatenate(parts)
