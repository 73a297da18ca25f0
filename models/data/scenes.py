"""Drawn scenes in PASCAL VOC layout: a small real segmentation task that needs no download.

A scene is a landscape with up to six objects of eight classes: mostly in the colours of their kind, sometimes
in any, plain, striped, chequered or speckled, of many sizes, tilted, in front of each other or half out of the
picture, among clutter that belongs to no class; then blur, noise and uneven light.  Borders between labels are 255,
as in VOC.
Scene i of a seed is always the same, so a data set of any length is defined by (seed, size).
"""

from __future__ import annotations

import colorsys
import json
import math
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demitasse.models.palette import save_labels
from demitasse.proto.files import replacing, write_text

CLASSES = ("background", "ball", "house", "tree", "car", "boat", "fish", "flower", "star")
IGNORE = 255
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, as the published VOC nets subtract it

Point = tuple[float, float]
Part = tuple[list[Point], str]  # a polygon around (0, 0), and "body", "second", "dark" or "light"


def _disc(x: float, y: float, rx: float, ry: float | None = None, role: str = "body") -> Part:
    ry = rx if ry is None else ry
    turn = [2 * math.pi * k / 24 for k in range(24)]
    return [(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turn], role


def _box(x0: float, y0: float, x1: float, y1: float, role: str = "body") -> Part:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], role


def _ball(rng: random.Random) -> list[Part]:
    return [_disc(0, 0, 1), _disc(-0.35, -0.35, 0.22, role="light")]


def _house(rng: random.Random) -> list[Part]:
    door = rng.uniform(-0.5, 0.3)
    return [
        _box(-0.8, -0.25, 0.8, 1),
        ([(-1, -0.2), (rng.uniform(-0.3, 0.3), -1), (1, -0.2)], "second"),
        _box(door, 0.4, door + 0.3, 1, "dark"),
        _box(-0.6, 0.0, -0.25, 0.3, "light"),
        _box(0.25, 0.0, 0.6, 0.3, "light"),
    ]


def _tree(rng: random.Random) -> list[Part]:
    trunk = _box(-0.13, 0.1, 0.13, 1, "dark")
    if rng.random() < 0.5:
        return [trunk] + [
            ([(-w, y + 0.5), (0, y - 0.35), (w, y + 0.5)], "body") for w, y in ((0.7, 0.1), (0.55, -0.25), (0.4, -0.6))
        ]
    return [trunk] + [
        _disc(rng.uniform(-0.35, 0.35), rng.uniform(-0.6, -0.1), rng.uniform(0.35, 0.5)) for _ in range(5)
    ]


def _car(rng: random.Random) -> list[Part]:
    return [
        _box(-1, -0.14, 1, 0.4),
        ([(-0.6, -0.1), (-0.35, -0.5), (0.4, -0.5), (0.7, -0.1)], "second"),
        _box(-0.3, -0.42, 0.3, -0.14, "light"),
        _disc(-0.55, 0.42, 0.24, role="dark"),
        _disc(0.55, 0.42, 0.24, role="dark"),
    ]


def _boat(rng: random.Random) -> list[Part]:
    return [
        ([(-1, 0.35), (1, 0.35), (0.6, 0.85), (-0.65, 0.85)], "body"),
        _box(-0.05, -1, 0.05, 0.35, "dark"),
        ([(0.1, -0.95), (0.85, 0.2), (0.1, 0.2)], "light"),
        ([(-0.1, -0.6), (-0.6, 0.2), (-0.1, 0.2)], "second"),
    ]


def _fish(rng: random.Random) -> list[Part]:
    return [
        ([(0.5, 0), (1, -0.45), (1, 0.45)], "second"),
        _disc(-0.15, 0, 0.8, 0.42),
        ([(-0.2, -0.35), (0.2, -0.7), (0.3, -0.3)], "second"),
        _disc(-0.62, -0.08, 0.09, role="light"),
        _disc(-0.62, -0.08, 0.05, role="dark"),
    ]


def _flower(rng: random.Random) -> list[Part]:
    petals = rng.randint(5, 8)
    around = [2 * math.pi * k / petals for k in range(petals)]
    return (
        [_box(-0.06, 0, 0.06, 1, "dark")]
        + [_disc(0.42 * math.cos(t), -0.4 + 0.42 * math.sin(t), 0.27) for t in around]
        + [_disc(0, -0.4, 0.22, role="second")]
    )


def _star(rng: random.Random) -> list[Part]:
    points, inner = rng.choice((5, 6)), rng.uniform(0.38, 0.5)
    turn = [math.pi * k / points - math.pi / 2 for k in range(2 * points)]
    return [
        (
            [
                ((inner if k % 2 else 1) * math.cos(t), (inner if k % 2 else 1) * math.sin(t))
                for k, t in enumerate(turn)
            ],
            "body",
        )
    ]


# Classes 1 to 8: how each is built, and the hue (0 red, 1/3 green, 2/3 blue) that most of its kind are near.
KINDS = (
    (_ball, 0.0),
    (_house, 0.07),
    (_tree, 0.33),
    (_car, 0.62),
    (_boat, 0.75),
    (_fish, 0.52),
    (_flower, 0.88),
    (_star, 0.16),
)


def draw(seed: int, index: int, size: tuple[int, int] = (128, 128)) -> tuple[np.ndarray, np.ndarray]:
    """Scene `index` of `seed`: an (H, W, 3) uint8 RGB image and its (H, W) uint8 labels; size is (H, W)."""
    rng = random.Random(f"{seed} {index}")
    noise = np.random.default_rng([seed, index])
    height, width = size
    fine = (2 * width, 2 * height)  # drawn at twice the size, for smooth edges
    image = _landscape(rng, noise, fine)
    labels = Image.new("L", fine, 0)
    for _ in range(rng.randint(2, 6)):
        _clutter(rng, ImageDraw.Draw(image), fine)
    for _ in range(rng.randint(2, 6)):
        kind = rng.randrange(len(KINDS))
        _paste(rng, noise, image, labels, kind + 1)
    small = image.resize((width, height), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
    light = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), width, dtype=np.float32)[:, None]
    pixels = np.asarray(small, np.float32) * light + noise.normal(0, rng.uniform(2, 9), (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8), _with_borders(np.asarray(labels)[::2, ::2])


def _colour(rng: random.Random, low: int = 10, high: int = 245) -> tuple[int, int, int]:
    return tuple(rng.randint(low, high) for _ in range(3))


def _near(rng: random.Random, hue: float, spread: float, saturation: float) -> tuple[int, int, int]:
    """A colour around a hue, of any brightness."""
    strength = min(1, rng.uniform(0.4, 1.2) * saturation)
    rgb = colorsys.hsv_to_rgb(rng.gauss(hue, spread) % 1, strength, rng.uniform(0.3, 1))
    return tuple(int(255 * c) for c in rgb)


def _landscape(rng, noise, size) -> Image.Image:
    """Sky above land, each a gradient, with soft large-scale texture."""
    width, height = size
    horizon = int(height * rng.uniform(0.25, 0.75))
    rows = np.empty((height, 3), np.float32)
    for top, bottom, hue in ((0, horizon, 0.6), (horizon, height, rng.choice((0.1, 0.25, 0.5)))):
        rows[top:bottom] = np.linspace(_near(rng, hue, 0.1, 0.35), _near(rng, hue, 0.1, 0.35), bottom - top)
    coarse = noise.normal(0, rng.uniform(4, 18), (6, 8, 3)).astype(np.float32)
    texture = np.stack(
        [np.asarray(Image.fromarray(coarse[:, :, c]).resize(size, Image.Resampling.BICUBIC)) for c in range(3)], axis=-1
    )
    return Image.fromarray((rows[:, None] + texture).clip(0, 255).astype(np.uint8))


def _clutter(rng, canvas, size) -> None:
    """A line, blob or plain triangle or box that belongs to no class."""
    width, height = size
    x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.03, 0.16) * width
    shade = _colour(rng)
    kind = rng.randrange(3)
    if kind == 0:
        canvas.line([(x, y), (rng.uniform(0, width), rng.uniform(0, height))], fill=shade, width=rng.randint(1, 5))
    elif kind == 1:
        canvas.polygon([(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(3)], fill=shade)
    else:
        canvas.rectangle((x, y, x + r * rng.uniform(0.1, 1), y + r * rng.uniform(0.1, 1)), fill=shade)


def _paste(rng, noise, image: Image.Image, labels: Image.Image, label: int) -> None:
    """Draw one object: its parts turned, scaled, moved, coloured; and its silhouette into the labels."""
    shape, hue = KINDS[label - 1]
    scale = min(image.size) * math.exp(rng.uniform(math.log(0.14), math.log(0.34)))
    x, y, angle = rng.uniform(0, image.width), rng.uniform(0, image.height), rng.gauss(0, 0.25)
    flip, stretch = rng.choice((-1, 1)), rng.uniform(0.8, 1.25)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    typical = rng.random() < 0.8
    body, second = (_near(rng, hue, 0.04, 0.8) if typical else _colour(rng) for _ in range(2))
    shades = {"second": second, "dark": _colour(rng, 5, 70), "light": _colour(rng, 190, 255)}
    canvas, labelled = ImageDraw.Draw(image), ImageDraw.Draw(labels)
    reach = int(1.6 * scale) + 2
    corner = int(x) - reach, int(y) - reach  # of the square that holds the whole object
    surface = _texture(rng, noise, body, 2 * reach)
    for points, role in shape(rng):
        placed = [
            (x + px * flip * stretch * cos - py * sin, y + px * flip * stretch * sin + py * cos) for px, py in points
        ]
        labelled.polygon(placed, fill=label)
        if role == "body":
            mask = Image.new("1", surface.size, 0)
            ImageDraw.Draw(mask).polygon([(px - corner[0], py - corner[1]) for px, py in placed], fill=1)
            image.paste(surface, corner, mask)
        else:
            canvas.polygon(placed, fill=shades[role])


def _texture(rng, noise, base, side: int) -> Image.Image:
    """A square of two near colours: plain, striped, chequered or speckled."""
    first = np.array(base, np.float32)
    second = (first + np.array([rng.uniform(-70, 70) for _ in range(3)])).clip(0, 255)
    period, angle = rng.uniform(6, 24), rng.uniform(0, math.pi)
    ys, xs = np.mgrid[0:side, 0:side].astype(np.float32)
    kind = rng.randrange(4)
    if kind == 0:
        pattern = np.zeros((side, side), bool)
    elif kind == 1:
        pattern = (xs * math.cos(angle) + ys * math.sin(angle)) % period < period / 2
    elif kind == 2:
        pattern = (xs % period < period / 2) ^ (ys % period < period / 2)
    else:
        coarse = noise.random((side // 4 + 1, side // 4 + 1)) < 0.3
        pattern = coarse.repeat(4, axis=0).repeat(4, axis=1)[:side, :side]
    return Image.fromarray(np.where(pattern[..., None], second, first).astype(np.uint8))


def _with_borders(labels: np.ndarray) -> np.ndarray:
    """255 where a pixel's right or lower neighbour has another label."""
    bordered = labels.copy()
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    bordered[:, 1:][across] = bordered[:, :-1][across] = IGNORE
    bordered[1:][down] = bordered[:-1][down] = IGNORE
    return bordered


def write(
    folder: str | Path,
    train: int,
    val: int,
    size: tuple[int, int] = (128, 128),
    seed: int = 1,
    progress=lambda names: names,
) -> Path:
    """Write a data set in VOC layout; nothing is done where one of the same making is already complete.

    folder/JPEGImages/*.jpg, SegmentationClass/*.png (palette), ImageSets/Segmentation/{train,val}.txt, classes.txt.
    `progress` wraps the loop over the scenes (tqdm fits).
    """
    folder, made = Path(folder), {"train": train, "val": val, "size": list(size), "seed": seed, "version": 3}
    done = folder / "scenes.json"
    if done.is_file() and json.loads(done.read_text()) == made:
        return folder
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = [f"scene{i:05d}" for i in range(train + val)]
    for i in progress(range(len(names))):
        image, labels = draw(seed, i, size)
        with replacing(folder / "JPEGImages" / f"{names[i]}.jpg") as temporary:
            Image.fromarray(image).save(temporary, format="JPEG", quality=92)
        save_labels(folder / "SegmentationClass" / f"{names[i]}.png", labels)
    for split, chosen in (("train", names[:train]), ("val", names[train:])):
        write_text(folder / "ImageSets/Segmentation" / f"{split}.txt", "".join(f"{name}\n" for name in chosen))
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in CLASSES))
    write_text(done, json.dumps(made))
    return folder
