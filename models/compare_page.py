"""The page of `python -m models compare`: settings, scores, curves, and the same images as each run labels them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from demitasse.models import pages
from demitasse.models.evaluate import Evaluation, Example
from demitasse.models.report import predicted
from demitasse.models.run_log import RunLog
from demitasse.proto.cli import progress
from demitasse.proto.errors import DataFault, GraphFault, NetError
from demitasse.solver import score
from demitasse.solver.pictures import colour

Seen = dict[str, Example]  # {run: an image, as that run labels it}


@dataclass
class Pictures:
    """The images that runs are compared by.

    first, apart: the first ones, and those whose mean IUs differ most.  missing: why there are none, for the page.
    """

    first: list[Seen] = field(default_factory=list)
    apart: list[Seen] = field(default_factory=list)
    names: Sequence[str] = ()  # of the classes
    results: dict[str, score.Scores] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    missing: str = ""


def pictures(logs: Mapping[str, RunLog], count: int, backend) -> Pictures:
    """Run each run's best weights over the images that its first test net reads."""
    try:
        return _looked_at(logs, count, backend)
    except NetError as fault:  # of nets that segment nothing, of files that have gone: the rest of the page stands
        print(f"the page has no images: {fault}", file=sys.stderr)
        return Pictures(missing=str(fault))


def _looked_at(logs: Mapping[str, RunLog], count: int, backend) -> Pictures:
    found = Pictures()
    with ExitStack() as stack:
        runs = {}
        for name, log in logs.items():
            evaluation = _evaluation(log, backend)
            found.weights[name] = str(log.weights())
            runs[name] = stack.enter_context(closing(evaluation))
        one = next(iter(runs.values()))
        found.names = one.names(one.heads[0])
        for examples in progress(zip(*runs.values(), strict=False), len(one)):
            if len({(example.name, example.data.shape) for example in examples}) > 1:
                raise DataFault(
                    f"the runs are tested on other images: {' and '.join(example.name for example in examples)}"
                )
            _keep(found, dict(zip(runs, examples, strict=True)), count)
        found.results = {name: next(iter(run.scores().values())) for name, run in runs.items()}
    return found


def _evaluation(log: RunLog, backend) -> Evaluation:
    nets, weights = log.test_nets(), log.weights()
    if not nets:
        raise GraphFault(f"{log.path}: names no test net that is still there: train with a test net and --log")
    if not weights:
        raise GraphFault(f"{log.path}: none of the snapshots that it names is left")
    batches = log.settings.get("test_iter", "").split(",")[0]
    evaluation = Evaluation(nets[0], weights, backend=backend, batches=int(batches) if batches.isdigit() else None)
    if evaluation.source:  # it tells how many images there are, and gives them one by one
        evaluation.batches = len(evaluation.source.indices)
    return evaluation


def _keep(found: Pictures, seen: Seen, count: int) -> None:
    if len(found.first) < count:
        found.first.append(seen)
    found.apart.append(seen)
    found.apart.sort(key=_spread, reverse=True)
    del found.apart[count:]


def _mean_iu(example: Example) -> float:
    return score.scores(next(iter(example.matrices.values()))).mean_iu


def _spread(seen: Seen) -> float:
    values = [_mean_iu(example) for example in seen.values()]
    return max(values) - min(values) if all(value == value for value in values) else -1.0


def page(logs: Mapping[str, RunLog], settings, scores, shown: Pictures) -> str:
    """settings, scores: rows of a table with a column for each run."""
    head = ["", *logs]
    rows = [["weights", *(shown.weights[name] for name in logs)]] if shown.weights and shown.results else []
    rows += [
        [name, *(pages.number(getattr(shown.results[run], key)) for run in logs)]
        for key, name in (("mean_iu", "mean IU, all images"), ("pixel_accuracy", "pixel accuracy, all images"))
        if shown.results
    ]
    parts = [
        "<h2>What differs</h2>",
        pages.grid(head, settings),
        "<h2>Scores</h2>",
        pages.grid(head, [*rows, *scores]),
        pages.curves({name: log.curves for name, log in logs.items()}),
    ]
    if shown.missing:
        parts.append(f"<h2>Images</h2><p>There are none: {pages.html.escape(shown.missing)}</p>")
    for word, examples in (("Images that the runs differ most in", shown.apart), ("First images", shown.first)):
        if examples and shown.results:
            parts += [f"<h2>{word}</h2>", pages.legend(range(len(shown.names)), shown.names)]
            parts += [_figure(seen) for seen in examples]
    return pages.document(f"{' and '.join(logs)} compared", parts)


def _figure(seen: Seen) -> str:
    """Image and truth, then each run's prediction."""
    one = next(iter(seen.values()))
    row = {"image": one.picture, "truth": colour(one.truth[next(iter(one.truth))])}
    for run, example in seen.items():
        row |= predicted(example, next(iter(example.predicted)), run)
    scored = ", ".join(f"{run} {_mean_iu(example):.3f}" for run, example in seen.items())
    return pages.figure(f"{one.name}: mean IU of {scored}", row)
