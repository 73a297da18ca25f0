"""What the pages of `report` and `compare` are made of: HTML in one file, pictures and curves inside, no scripts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from demitasse.proto.errors import SolverFault
from demitasse.solver.curves import Curves
from demitasse.solver.pictures import distinct_palette
from demitasse.solver.plot import svg_of

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --muted: #55585d; --line: #c9ccd1; --page: #ffffff; --card: #f3f4f6 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --muted: #aaaeb4; --line: #44484d; --page: #15171a; --card: #1f2226 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76em; padding: 1.2em 1em; color: var(--ink);
  background: var(--page); overflow-wrap: anywhere }
h1 { font-size: 1.6em; line-height: 1.2 }
h2 { font-size: 1.2em; margin: 2em 0 .6em; border-bottom: 1px solid var(--line) }
p, summary, figcaption, th, .head { color: var(--muted) } figcaption, .head { font-size: .9em }
table { border-collapse: collapse } td, th { padding: .2em .6em; text-align: right; font-weight: normal;
  vertical-align: top } td.name, th.name { text-align: left } th.name { min-width: 5.5em }
tr + tr { border-top: 1px solid var(--line) }
.cards { display: flex; flex-wrap: wrap; gap: .7em; margin-bottom: 1em }
.cards div { background: var(--card); padding: .5em .9em;
  border-radius: .4em } .cards b { display: block; font-size: 1.35em; font-weight: 600 }
.cards span { color: var(--muted) }
.patch { display: inline-block; width: 1em; height: .8em; border: 1px solid #888; margin-right: .5em }
.legend { display: flex; flex-wrap: wrap; gap: .2em 1.2em; margin: .5em 0 }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22em), 1fr)); gap: 1em }
svg { width: 100%; height: auto; max-width: 40em }
figure { margin: 0 0 1.2em } .row { display: grid; gap: .5em; grid-template-columns: repeat(var(--n), minmax(0, 1fr)) }
.row img { width: 100%; display: block; image-rendering: pixelated } .row img.photo { image-rendering: auto }
.matrix { width: 100%; table-layout: fixed; font-size: min(.85em, calc(85vw / var(--k) / 2.4)) }
.matrix td, .matrix th { padding: .25em 0; text-align: center; vertical-align: middle; border: 1px solid var(--line);
  overflow: hidden } .matrix th.name { width: calc(100% / var(--k)); min-width: 0 }
.matrix .long { display: none } .runs { width: 100%; table-layout: fixed } .runs td { text-align: left }
@media (min-width: 700px) { .matrix th.name { width: 9em; text-align: left; padding-left: .4em }
  .matrix .long { display: inline } }
@media (max-width: 699px) { .row { grid-template-columns: repeat(2, minmax(0, 1fr)) } td, th { padding: .2em .35em } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def facts(rows: Mapping[str, str]) -> str:
    """A table of names and what they stand for."""
    lines = "".join(
        f"<tr><th class=name>{html.escape(key)}</th><td class=name>{html.escape(value)}</td></tr>"
        for key, value in rows.items()
    )
    return f"<table>{lines}</table>"


def folded(title: str, content: str) -> str:
    """Something that opens at a click."""
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column holds names."""
    lines = [f"<th class=name>{html.escape(cell)}</th>" for cell in head]
    table = [f"<tr>{''.join(lines)}</tr>"]
    for name, *cells in rows:
        values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        table.append(f"<tr><th class=name>{html.escape(name)}</th>{values}</tr>")
    return f"<table class=runs>{''.join(table)}</table>"


def curves(runs: Mapping[str, Curves]) -> str:
    """A drawing for each quantity of {run: its curves}; a line says what is missing where there is no matplotlib."""
    if not any(runs.values()):
        return ""
    try:
        pictures = svg_of(runs)
    except SolverFault:
        return "<h2>Curves</h2><p>They are drawn by matplotlib, which is not installed: pip install matplotlib</p>"
    return f"<h2>Curves</h2><div class=curves>{''.join(f'<div>{picture}</div>' for picture in pictures)}</div>"


def cards(values: Mapping[str, float]) -> str:
    """Numbers in large, their names below."""
    boxes = "".join(f"<div><b>{number(value)}</b><span>{name}</span></div>" for name, value in values.items())
    return f"<div class=cards>{boxes}</div>"


def legend(classes: Iterable[int], names: Sequence[str]) -> str:
    """Colours and names of classes."""
    return f"<div class=legend>{''.join(f'<span>{patch(c)}{html.escape(names[c])}</span>' for c in classes)}</div>"


def patch(label: int) -> str:
    """A spot of a class's colour."""
    red, green, blue = distinct_palette()[label % 256]
    return f"<span class=patch style='background:rgb({red},{green},{blue})'></span>"


def figure(caption: str, pictures: Mapping[str, np.ndarray]) -> str:
    """Pictures (H, W, 3) side by side under their heads, two by two on a narrow screen."""
    cells = []
    for head, picture in pictures.items():
        source, kind = embedded(picture)
        alt = html.escape(f"{caption}: {head}", quote=True)
        cells.append(
            f"<div><div class=head>{html.escape(head)}</div><img class={kind} alt='{alt}' src='{source}'></div>"
        )
    row = f"<div class=row style='--n:{len(pictures)}'>{''.join(cells)}</div>"
    return f"<figure>{row}<figcaption>{html.escape(caption)}</figcaption></figure>"


def embedded(picture: np.ndarray) -> tuple[str, str]:
    """(data: address, "flat" or "photo") of an (H, W, 3) picture; flat colours stay exact, photos become JPEG."""
    buffer = io.BytesIO()
    few = len(np.unique(picture.reshape(-1, 3)[::7], axis=0)) < 256
    Image.fromarray(picture).save(buffer, "PNG" if few else "JPEG", **({} if few else {"quality": 88}))
    code = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{'png' if few else 'jpeg'};base64,{code}", "flat" if few else "photo"


def number(value: float) -> str:
    """Three digits; a dash where there is no number."""
    return "-" if np.isnan(value) else f"{value:.3f}"
