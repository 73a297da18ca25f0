"""The page of `python -m models report`: HTML in one file, pictures and curves inside, no scripts."""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np
from PIL import Image

from demitasse.models.palette import PALETTE

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc }
table { border-collapse: collapse } td, th { padding: .15em .6em; text-align: right; font-weight: normal }
th { color: #555 } td.name, th.name { text-align: left } .patch { display: inline-block; width: 1em; height: .8em;
border: 1px solid #888; margin-right: .5em } .big td { font-size: 1.3em; padding-right: 1.5em; text-align: left }
.matrix td { min-width: 2.2em; padding: .1em .3em; font-size: .8em } .matrix th { font-size: .8em }
.scroll { overflow-x: auto } figure { margin: 0 0 1em 0 } figure img { width: 24%; image-rendering: auto }
figcaption { color: #555; font-size: .9em } svg text { font: 12px sans-serif; fill: #555 }
"""
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


def page(*, title, curves, extremes, about, heads, panels) -> str:
    """heads: [(head, its Scores, its classes' names)]; panels: a function that gives an example's pictures."""
    parts = _begin(title, curves, about)
    for head, result, names in heads:
        which = f" of {html.escape(head.label)}" if len(heads) > 1 else ""
        parts += [
            f"<h2>Scores{which}</h2>",
            metrics(result),
            class_table(result, names),
            f"<h2>Confusion{which}</h2><p>Rows: the true class. Columns: what it was called, in percent.</p>",
            matrix(result.matrix, names),
        ]
    score_blob = heads[0][0].score
    for word, examples in (
        ("First images", extremes.first),
        ("Best images", extremes.best),
        ("Worst images", extremes.worst),
    ):
        if examples:
            parts.append(f"<h2>{word}</h2><p>Image, truth, prediction, prediction over the image.</p>")
            parts += [
                figure(f"{example.name}: mean IU {iu:.3f}", panels(example, score_blob)) for iu, example in examples
            ]
    return _document(title, parts)


def detection_page(*, title, curves, about, mean, by_class, names, pictures) -> str:
    """mean, by_class: average precision; pictures: pairs (true boxes, boxes found)."""
    rows = "".join(
        f"<tr><td class=name>{_patch(label)}{html.escape(names[label])}</td><td>{_number(precision)}</td></tr>"
        for label, precision in by_class.items()
    )
    parts = _begin(title, curves, about) + [
        "<h2>Average precision</h2>",
        f"<table class=big><tr><td>{_number(mean)}</td></tr><tr><th class=name>mean over the classes</th></tr></table>",
        f"<table><tr><th class=name>class</th><th>average precision</th></tr>{rows}</table>",
        "<h2>First images</h2><p>True boxes, boxes found.</p>",
    ]
    parts += [figure("", pair) for pair in pictures]
    return _document(title, parts)


def _begin(title: str, curves, about: dict[str, str]) -> list[str]:
    parts = [f"<h1>{html.escape(title)}</h1>", _about(about)]
    if curves:
        parts.append(
            "<h2>Curve</h2>"
            + "".join(curve(name, points, COLOURS[i % len(COLOURS)]) for i, (name, points) in enumerate(curves.items()))
        )
    return parts


def _document(title: str, parts: list[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _about(about: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><th class=name>{html.escape(key)}</th><td class=name>{html.escape(value)}</td></tr>"
        for key, value in about.items()
    )
    return f"<table>{rows}</table>"


def metrics(result) -> str:
    """The four scores of the paper, in a row."""
    values = (
        ("pixel accuracy", result.pixel_accuracy),
        ("mean accuracy", result.mean_accuracy),
        ("mean IU", result.mean_iu),
        ("frequency weighted IU", result.weighted_iu),
    )
    return (
        "<table class=big><tr>"
        + "".join(f"<td>{_number(value)}</td>" for _, value in values)
        + "</tr><tr>"
        + "".join(f"<th class=name>{name}</th>" for name, _ in values)
        + "</tr></table>"
    )


def class_table(result, names) -> str:
    """A row for each class: its share of the pixels, accuracy and IU."""
    truth = result.matrix.sum(axis=1)
    rows = ["<tr><th class=name>class</th><th>share</th><th>accuracy</th><th>IU</th></tr>"]
    for c, name in enumerate(names):
        rows.append(
            f"<tr><td class=name>{_patch(c)}"
            f"{html.escape(name)}</td><td>{truth[c] / max(1, truth.sum()):.3f}</td>"
            f"<td>{_number(result.class_accuracy[c])}</td><td>{_number(result.class_iu[c])}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def matrix(counts: np.ndarray, names) -> str:
    """The confusion matrix, every row in percent, darker for more."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th title='{html.escape(name, quote=True)}'>{c}</th>" for c, name in enumerate(names))
    rows = [f"<tr><th></th>{head}</tr>"]
    for c, name in enumerate(names):
        cells = "".join(
            f"<td style='background:rgba({'31,119,180' if c == k else '214,39,40'},{value:.3f})'>{_percent(value)}</td>"
            for k, value in enumerate(share[c])
        )
        rows.append(f"<tr><th class=name>{c} {html.escape(name)}</th>{cells}</tr>")
    return f"<div class=scroll><table class=matrix>{''.join(rows)}</table></div>"


def curve(name: str, points: list[tuple[int, float]], colour: str, width: int = 900, height: int = 260) -> str:
    """A line drawing (SVG); logarithmic where the values, all positive, span more than a factor of 20."""
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) > 20 * min(ys)
    scaled = [math.log10(y) for y in ys] if logarithmic else ys
    low, high = min(scaled), max(scaled)
    left, bottom = 80, 30

    def point(x, y):
        return (
            left + (x - min(xs)) / max(1, max(xs) - min(xs)) * (width - left - 10),
            10 + (high - y) / ((high - low) or 1) * (height - bottom - 10),
        )

    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in (point(x, y) for x, y in zip(xs, scaled, strict=True)))
    marks = []
    for value in ticks(min(ys), max(ys), logarithmic):
        _, py = point(xs[0], math.log10(value) if logarithmic else value)
        marks.append(
            f"<line x1='{left}' x2='{width - 10}' y1='{py:.1f}' y2='{py:.1f}' stroke='#ddd'/>"
            f"<text x='{left - 6}' y='{py + 4:.1f}' text-anchor='end'>{value:.4g}</text>"
        )
    for value in ticks(min(xs), max(xs)):
        px, _ = point(value, low)
        marks.append(f"<text x='{px:.1f}' y='{height - 10}' text-anchor='middle'>{value:g}</text>")
    return (
        f"<figure><figcaption>{html.escape(name)}, by iteration{' (logarithmic)' if logarithmic else ''}"
        f"</figcaption><svg width='{width}' height='{height}' viewBox='0 0 {width} {height}'>{''.join(marks)}"
        f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='1.5'/></svg></figure>"
    )


def ticks(low: float, high: float, logarithmic: bool = False) -> list[float]:
    """Round numbers from low to high, about five."""
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        every = (1, 2, 5) if len(powers) < 5 else (1,)
        return [m * 10.0**p for p in powers for m in every if low <= m * 10.0**p <= high]
    if high <= low:
        return [low]
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(m * size for m in (1, 2, 5, 10) if m * size >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def figure(caption: str, pictures) -> str:
    """A picture with its caption."""
    images = " ".join(f"<img alt='' src='{embedded(picture)}'>" for picture in pictures)
    return f"<figure>{images}<figcaption>{html.escape(caption)}</figcaption></figure>"


def embedded(picture: np.ndarray) -> str:
    """An (H, W, 3) picture as a data: address; flat colours stay exact, photos become JPEG."""
    buffer = io.BytesIO()
    few = len(np.unique(picture.reshape(-1, 3)[::7], axis=0)) < 256
    Image.fromarray(picture).save(buffer, "PNG" if few else "JPEG", **({} if few else {"quality": 88}))
    return f"data:image/{'png' if few else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _patch(label: int) -> str:
    red, green, blue = PALETTE[label % 256]
    return f"<span class=patch style='background:rgb({red},{green},{blue})'></span>"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return "" if value < 0.0005 else f"{100 * value:.0f}" if value >= 0.095 else f"{100 * value:.1f}"
