"""A picture of a net: boxes for layers, edges with the shapes that flow along them; as SVG or PNG.

In-place layers (ReLU, Dropout) are written into the box of the layer they follow, so that what is left
is the net's structure: its trunk, its skips, its heads.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from demitasse.netdef.graph import Step, Value, wire
from demitasse.netdef.layout import Item, Layout, lay_out
from demitasse.netdef.phase import filter_net
from demitasse.netdef.plan import Plan
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import SchemaFault, printable
from demitasse.proto.files import replacing
from demitasse.proto.messages import NetParameter
from demitasse.proto.text import read_net

ROW, BOX, MARGIN, GAP = 74.0, 36.0, 26.0, 26.0  # row height, box height, page margin, space between boxes
CHARACTER = {12: 6.9, 10: 5.6}  # mean width of a letter by font size
# Of a layer's `drawn_as`.
COLOURS = {
    "filter": "#cfe2ff",
    "upsampling": "#e2d4f7",
    "pooling": "#ffd9d4",
    "crop": "#fff0bf",
    "join": "#d5f0d8",
}
SMOOTH = [i / 12 for i in range(13)]  # where a curve is sampled for a PNG
SOURCE, LOSS, OTHER, INK, EDGE = "#e7e7e7", "#ffd6a5", "#f6f6f6", "#222222", "#8a8a8a"


@dataclass(frozen=True)
class Box:
    """One box: the layer that makes it, the in-place layers after it, and the two lines it shows."""

    step: Step
    title: str
    detail: str

    @property
    def width(self) -> float:
        """In points: as its lines need."""
        return 18 + max(len(self.title) * CHARACTER[12], len(self.detail) * CHARACTER[10])

    @property
    def colour(self) -> str:
        """The colour of the layer's kind."""
        if not self.step.bottoms:
            return SOURCE
        return LOSS if self.step.cls.is_loss else COLOURS.get(self.step.cls.drawn_as, OTHER)


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    text: str
    size: int
    halo: bool = False


@dataclass(frozen=True)
class Drawing:
    """What is on the page, in points: rectangles (x, y, box), curves as joined points, texts."""

    width: float
    height: float
    boxes: list[tuple[float, float, Box]]
    curves: list[list[tuple[float, float]]]
    texts: list[Text]


@dataclass(frozen=True)
class Wiring:
    """The layers of a net, joined but not set up: what there is of a net whose data are not there."""

    steps: list[Step]


def plan_or_wiring(source: str | os.PathLike | NetParameter, phase: str | int) -> Plan | Wiring:
    """A net to be drawn: its plan, or where a layer that reads files fails, its wiring."""
    try:
        return Plan(source, phase)
    except Exception as error:
        written, locations = read_net(source)
        message, wheres = filter_net(written, locations, phase)
        steps = wire(message.layer, wheres)
        layer = str(getattr(error, "layer", None) or getattr(error, "layer_location", ""))
        if not any(step.label in layer for step in steps if not step.bottoms):
            raise
        return Wiring(steps)


def draw(plan: Plan | Wiring, path: str | os.PathLike) -> None:
    """Write the picture of a net to a .svg or .png file.

    SchemaFault for another ending, WeightsFault where it cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".png"):
        raise SchemaFault(f"a picture is written as .svg or .png, not '{ending or path}'")
    drawing = compose(plan)
    with replacing(path) as unfinished:
        if ending == ".svg":
            unfinished.write_text(svg(drawing), encoding="utf-8")
        else:
            _png(drawing).save(unfinished, format="PNG")


def compose(plan: Plan | Wiring) -> Drawing:
    """Decide what goes where."""
    boxes, edges = _boxes_and_edges(plan.steps)
    labels = {(upper, lower): len(shape_text(value.shape)) * CHARACTER[10] for upper, lower, value in edges}
    layout = lay_out({box: box.width for box in boxes}, labels, GAP)
    left = min(item.x - item.width / 2 for row in layout.rows for item in row)
    right = max(item.x + item.width / 2 for row in layout.rows for item in row)
    dx = MARGIN - left
    located = [(item.x + dx - box.width / 2, _top(item), box) for box, item in layout.items.items()]
    curves = [[(item.x + dx, y) for item, y in _points(path)] for path in layout.paths.values()]
    texts = [text for x, y, box in located for text in _box_texts(x, y, box)] + _shape_texts(edges, layout, dx)
    return Drawing(right - left + 2 * MARGIN, MARGIN * 2 + ROW * (len(layout.rows) - 1) + BOX, located, curves, texts)


def _boxes_and_edges(steps: Sequence[Step]) -> tuple[list[Box], list[tuple[Box, Box, Value]]]:
    """A box for every step that makes a new name, and (from, to, value) for everything that flows between boxes."""
    heads: dict[Step, Step] = {}  # in-place step -> the step in whose box it is
    inside: dict[Step, list[Step]] = {}
    for step in steps:
        names = {value.name for value in step.bottoms}
        above = (
            next((heads[value.producer] for value in step.bottoms if value.name == step.tops[0].name), step)
            if step.tops and step.tops[0].name in names
            else step
        )
        heads[step] = above
        inside.setdefault(above, []).append(step)
    boxes = {head: _box(head, group[1:]) for head, group in inside.items()}
    edges = {}
    for step in steps:
        for value in step.bottoms:
            upper, lower = boxes[heads[value.producer]], boxes[heads[step]]
            if upper is not lower:
                edges[upper, lower, value.name] = value
    return list(boxes.values()), [(upper, lower, value) for (upper, lower, _), value in edges.items()]


def _box(step: Step, in_place: Sequence[Step]) -> Box:
    kinds = [step.spec.type, *dict.fromkeys(later.spec.type for later in in_place)]
    return Box(step, printable(step.name), printable(" + ".join(kinds)) + _sizes(step))


def _sizes(step: Step) -> str:
    """Kernel, stride and the like, for layers that slide a window."""
    geometry = getattr(step.layer, "geometry", step.layer)
    words = []
    if kernel := getattr(geometry, "kernel", None):
        words.append(shape_text(kernel))
    if (stride := getattr(geometry, "stride", None)) and set(stride) != {1}:
        words.append(f"/{stride[0]}" if len(set(stride)) == 1 else f"/{shape_text(stride)}")
    if step.cls.crops and step.spec.crop_param.offset:
        words.append(f"at {shape_text(step.spec.crop_param.offset)}")
    return f" {' '.join(words)}" if words else ""


def _top(item: Item) -> float:
    return MARGIN + ROW * item.row


def _points(path: Sequence[Item]):
    """(item, y) along an edge: from the lower side of a box through its joints to the upper side of the next."""
    yield path[0], _top(path[0]) + BOX
    for joint in path[1:-1]:
        yield joint, _top(joint)
        yield joint, _top(joint) + BOX
    yield path[-1], _top(path[-1])


def _box_texts(x: float, y: float, box: Box) -> list[Text]:
    middle = x + box.width / 2
    return [Text(middle, y + 15, box.title, 12), Text(middle, y + 29, box.detail, 10)]


def _shape_texts(edges: Sequence[tuple[Box, Box, Value]], layout: Layout, dx: float) -> list[Text]:
    """The shape on every edge: where it is alone on a short one, on the lane of a long one."""
    leaving, arriving = Counter(upper for upper, _, _ in edges), Counter(lower for _, lower, _ in edges)
    texts = []
    for upper, lower, value in edges:
        path = layout.paths[upper, lower]
        if len(path) == 2:
            way = 0.75 if leaving[upper] >= arriving[lower] else 0.25
            x, y = _bend((path[0].x, _top(path[0]) + BOX), (path[1].x, _top(path[1])), [way])[0]
        else:
            joint = path[len(path) // 2]
            x, y = joint.x, _top(joint) + BOX / 2
        texts.append(Text(x + dx, y + 3, shape_text(value.shape), 10, halo=True))
    return texts


# -- writing -----------------------------------------------------------------------------------------


def svg(drawing: Drawing) -> str:
    """The drawing as an SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width:.0f}" height="{drawing.height:.0f}" '
        f'viewBox="0 0 {drawing.width:.0f} {drawing.height:.0f}" font-family="Helvetica, Arial, sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for points in drawing.curves:
        x, y = points[0]
        bends = " ".join(
            f"C {a:.1f} {(b + d) / 2:.1f} {c:.1f} {(b + d) / 2:.1f} {c:.1f} {d:.1f}"
            for (a, b), (c, d) in zip(points, points[1:], strict=False)
        )
        parts.append(f'<path d="M {x:.1f} {y:.1f} {bends}" fill="none" stroke="{EDGE}" stroke-width="1.4"/>')
    for x, y, box in drawing.boxes:
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{BOX:.0f}" rx="6" '
            f'fill="{box.colour}" stroke="{EDGE}"/>'
        )
    for text in drawing.texts:
        halo = ' stroke="white" stroke-width="4" paint-order="stroke"' if text.halo else ""
        weight = ' font-weight="bold"' if text.size == 12 else ""
        parts.append(
            f'<text x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size}" text-anchor="middle" '
            f'fill="{INK}"{halo}{weight}>{escape(text.text)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _png(drawing: Drawing, scale: int = 2):
    """The drawing as an image, `scale` pixels for a point."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (round(drawing.width * scale), round(drawing.height * scale)), "white")
    pen = ImageDraw.Draw(image)
    fonts = {size: ImageFont.load_default(size * scale) for size in CHARACTER}
    for points in drawing.curves:
        smooth = [point for one, two in zip(points, points[1:], strict=False) for point in _bend(one, two, SMOOTH)]
        pen.line([(x * scale, y * scale) for x, y in smooth], fill=EDGE, width=round(1.4 * scale), joint="curve")
    for x, y, box in drawing.boxes:
        pen.rounded_rectangle(
            (x * scale, y * scale, (x + box.width) * scale, (y + BOX) * scale), 6 * scale, fill=box.colour, outline=EDGE
        )
    for text in drawing.texts:
        pen.text(
            (text.x * scale, text.y * scale),
            text.text,
            fill=INK,
            font=fonts[text.size],
            anchor="ms",
            stroke_width=3 if text.halo else 0,
            stroke_fill="white",
        )
    return image


def _bend(one: tuple[float, float], two: tuple[float, float], ways: Sequence[float]) -> list[tuple[float, float]]:
    """Points at these shares of the way along the curve that leaves `one` and reaches `two` straight downwards."""
    (x0, y0), (x1, y1) = one, two
    middle, points = (y0 + y1) / 2, []
    for t in ways:
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        points.append(((a + b) * x0 + (c + d) * x1, a * y0 + (b + c) * middle + d * y1))
    return points
