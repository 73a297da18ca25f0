"""The page of `python -m models report`."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from demitasse.models import pages

CONFUSIONS = 8  # the most frequent ones, in words
RIGHT, WRONG = (31, 119, 180), (200, 60, 30)  # colours of a share of 1


def page(*, title, log, extremes, about, heads, panels) -> str:
    """log: a RunLog; heads: [(head, its Scores, its classes' names)]; panels: a function that gives an example's
    pictures by their names."""
    parts = begin(log, about)
    for head, result, names in heads:
        which = f" of {html.escape(head.label)}" if len(heads) > 1 else ""
        parts += [
            f"<h2>Scores{which}</h2>",
            metrics(result),
            class_table(result, names),
            f"<h2>Confusion{which}</h2><p>Rows: the true class. Columns: what it was called, in percent.</p>",
            matrix(result.matrix, names),
            confusions(result.matrix, names),
        ]
    head, result, names = heads[0]
    seen = np.flatnonzero(result.matrix.sum(axis=0) + result.matrix.sum(axis=1)).tolist()
    for word, examples in (
        ("First images", extremes.first),
        ("Best images", extremes.best),
        ("Worst images", extremes.worst),
    ):
        if examples:
            parts += [f"<h2>{word}</h2>", pages.legend(seen, names)]
            parts += [
                pages.figure(f"{example.name}: mean IU {iu:.3f}", panels(example, head.score))
                for iu, example in examples
            ]
    return pages.document(title, parts)


def detection_page(*, title, log, about, mean, by_class, names, pictures) -> str:
    """mean, by_class: average precision; pictures: pairs (true boxes, boxes found)."""
    rows = "".join(
        f"<tr><td class=name>{html.escape(names[label])}</td><td>{pages.number(precision)}</td></tr>"
        for label, precision in by_class.items()
    )
    parts = begin(log, about) + [
        "<h2>Average precision</h2>",
        pages.cards({"mean over the classes": mean}),
        f"<table><tr><th class=name>class</th><th>average precision</th></tr>{rows}</table>",
        "<h2>First images</h2>",
    ]
    parts += [pages.figure(f"image {i}", {"true boxes": a, "boxes found": b}) for i, (a, b) in enumerate(pictures, 1)]
    return pages.document(title, parts)


def begin(log, about: Mapping[str, str]) -> list[str]:
    """What the run is, its settings and its curves."""
    parts = [pages.facts(about)]
    if log.settings:
        parts.append(pages.folded("Settings", pages.facts(log.settings)))
    return [*parts, pages.curves({"": log.curves})]


def metrics(result) -> str:
    """The four scores of the paper, in a row."""
    values = {
        "pixel accuracy": result.pixel_accuracy,
        "mean accuracy": result.mean_accuracy,
        "mean IU": result.mean_iu,
        "frequency weighted IU": result.weighted_iu,
    }
    return pages.cards(values)


def class_table(result, names) -> str:
    """A row for each class: its share of the pixels, accuracy and IU."""
    truth = result.matrix.sum(axis=1)
    rows = ["<tr><th class=name>class</th><th>share</th><th>accuracy</th><th>IU</th></tr>"]
    for c, name in enumerate(names):
        rows.append(
            f"<tr><td class=name>{pages.patch(c)}{c} {html.escape(name)}</td>"
            f"<td>{truth[c] / max(1, truth.sum()):.3f}</td>"
            f"<td>{pages.number(result.class_accuracy[c])}</td><td>{pages.number(result.class_iu[c])}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def matrix(counts: np.ndarray, names) -> str:
    """The confusion matrix, every row in percent, darker for more; names where there is room, else numbers."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th title='{html.escape(name, quote=True)}'>{c}</th>" for c, name in enumerate(names))
    rows = [f"<tr><th class=name></th>{head}</tr>"]
    for c, name in enumerate(names):
        cells = "".join(_cell(value, RIGHT if c == k else WRONG) for k, value in enumerate(share[c].tolist()))
        rows.append(f"<tr><th class=name>{c} <span class=long>{html.escape(name)}</span></th>{cells}</tr>")
    return f"<table class=matrix style='--k:{len(names) + 1}'>{''.join(rows)}</table>"


def _cell(share: float, full: tuple[int, int, int]) -> str:
    """A share on its colour, in black or white, whichever can be read better there."""
    if share < 0.0005:
        return "<td></td>"
    colour = [round(255 + (part - 255) * share) for part in full]
    ink = "#000" if luminance(colour) > 0.179 else "#fff"
    return f"<td style='background:rgb({','.join(map(str, colour))});color:{ink}'>{_percent(share)}</td>"


def luminance(colour) -> float:
    """The relative luminance of an sRGB colour, 0 to 1 (WCAG 2): above 0.179 black contrasts more than white."""
    parts = np.asarray(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.095 else f"{100 * share:.1f}"


def confusions(counts: np.ndarray, names) -> str:
    """The most frequent confusions in words."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    total, rows = counts.sum(axis=1), []
    for flat in np.argsort(-wrong, axis=None)[:CONFUSIONS].tolist():
        true, called = divmod(flat, len(counts))
        if wrong[true, called]:
            share = wrong[true, called] / total[true]
            rows.append(f"<li>{html.escape(f'{names[true]} was called {names[called]}: {_percent(share)} %')}</li>")
    return f"<p>Most pixels were lost so:</p><ol>{''.join(rows)}</ol>" if rows else ""
