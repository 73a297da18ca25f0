"""Drawn scenes in PASCAL VOC layout: a small real segmentation task that needs no download.

A scene is a landscape with up to six objects of eight classes: mostly in the colours of their kind, sometimes
in any, plain, striped, chequered or speckled, of many sizes, tilted, in front of each other or half out of the
picture, among clutter that belongs to no class; then blur, noise and uneven light.  Borders between labels are 255,
as in VOC.
Scene i of a seed is always the same, so a data set of any length is defined by (seed, size).  Beside the labels there
are the boxes of what is to be seen of each object, for detectors.
"""

from __future__ import annotations

import colorsys
import json
import math
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demitasse.models.data.annotations import Annotation, write_annotations
from demitasse.models.data.scene_shapes import KINDS
from demitasse.models.palette import save_labels
from demitasse.proto.files import make_folder, replacing, write_text

CLASSES = ("background", "ball", "house", "tree", "car", "boat", "fish", "flower", "star")
IGNORE = 255
MIN_SEEN, MIN_SIDE = 0.3, 4  # of an object's pixels within the picture; pixels
MEAN = (104.00699, 116.66877, 122.67892)  # BGR, as the published VOC nets subtract it

LISTS = "ImageSets/Segmentation", "ImageSets/Main"


def draw(seed: int, index: int, size: tuple[int, int] = (128, 128)) -> tuple[np.ndarray, np.ndarray]:
    """Scene `index` of `seed`: an (H, W, 3) uint8 RGB image and its (H, W) uint8 labels; size is (H, W)."""
    image, labels, _ = draw_objects(seed, index, size)
    return image, labels


def draw_objects(
    seed: int, index: int, size: tuple[int, int] = (128, 128)
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int, int, int]]]:
    """draw's image (H, W, 3) and labels (H, W), and the objects: (class, x1, y1, x2, y2), the corners being the first
    and last pixels.

    An object of which little is to be seen (less than MIN_SEEN of its pixels, or MIN_SIDE along an axis) is left out.
    """
    rng = random.Random(f"{seed} {index}")
    noise = np.random.default_rng([seed, index])
    height, width = size
    fine = (2 * width, 2 * height)  # drawn at twice the size, for smooth edges
    image = _landscape(rng, noise, fine)
    owners, classes, areas = Image.new("L", fine, 0), [0], []  # which object each pixel shows; 0: none
    for _ in range(rng.randint(2, 6)):
        _clutter(rng, ImageDraw.Draw(image), fine)
    for number in range(1, rng.randint(2, 6) + 1):
        classes.append(rng.randrange(len(KINDS)) + 1)
        _paste(rng, noise, image, owners, classes[-1], number)
        areas.append(owners.histogram()[number])
    small = image.resize((width, height), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
    light = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), width, dtype=np.float32)[:, None]
    pixels = np.asarray(small, np.float32) * light + noise.normal(0, rng.uniform(2, 9), (height, width, 3))
    owner = np.asarray(owners)[::2, ::2]
    objects = [
        (kind, *box)
        for number, (kind, area) in enumerate(zip(classes[1:], areas, strict=True), 1)
        if (box := _box_of(owner == number, MIN_SEEN * area / 4))
    ]
    return pixels.clip(0, 255).astype(np.uint8), _with_borders(np.array(classes, np.uint8)[owner]), objects


def _box_of(seen: np.ndarray, least: float) -> tuple[int, int, int, int] | None:
    """The corners of the pixels seen; None where they are fewer than `least` or their box is too narrow."""
    ys, xs = np.nonzero(seen)
    if len(ys) < max(1, least) or min(np.ptp(ys), np.ptp(xs)) + 1 < MIN_SIDE:
        return None
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


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


def _paste(rng, noise, image: Image.Image, owners: Image.Image, kind: int, number: int) -> None:
    """Draw one object: its parts turned, scaled, moved, coloured; and its silhouette, filled with its number."""
    shape, hue = KINDS[kind - 1]
    scale = min(image.size) * math.exp(rng.uniform(math.log(0.14), math.log(0.34)))
    x, y, angle = rng.uniform(0, image.width), rng.uniform(0, image.height), rng.gauss(0, 0.25)
    flip, stretch = rng.choice((-1, 1)), rng.uniform(0.8, 1.25)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    typical = rng.random() < 0.8
    body, second = (_near(rng, hue, 0.04, 0.8) if typical else _colour(rng) for _ in range(2))
    shades = {"second": second, "dark": _colour(rng, 5, 70), "light": _colour(rng, 190, 255)}
    canvas, silhouette = ImageDraw.Draw(image), ImageDraw.Draw(owners)
    reach = int(1.6 * scale) + 2
    corner = int(x) - reach, int(y) - reach  # of the square that holds the whole object
    surface = _texture(rng, noise, body, 2 * reach)
    for points, role in shape(rng):
        placed = [
            (x + px * flip * stretch * cos - py * sin, y + px * flip * stretch * sin + py * cos) for px, py in points
        ]
        silhouette.polygon(placed, fill=number)
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

    folder/JPEGImages/*.jpg, SegmentationClass/*.png (palette), Annotations/*.xml, classes.txt,
    ImageSets/{Segmentation,Main}/{train,val}.txt.
    `progress` wraps the loop over the scenes (tqdm fits).
    """
    folder, made = Path(folder), {"train": train, "val": val, "size": list(size), "seed": seed, "version": 4}
    done = folder / "scenes.json"
    if done.is_file() and json.loads(done.read_text()) == made:
        return folder
    for name in ("JPEGImages", "SegmentationClass", "Annotations", *LISTS):
        make_folder(folder / name)
    names = [f"scene{i:05d}" for i in range(train + val)]
    for i in progress(range(len(names))):
        image, labels, objects = draw_objects(seed, i, size)
        with replacing(folder / "JPEGImages" / f"{names[i]}.jpg") as temporary:
            Image.fromarray(image).save(temporary, format="JPEG", quality=92)
        save_labels(folder / "SegmentationClass" / f"{names[i]}.png", labels)
        found = [Annotation(CLASSES[kind], corners) for kind, *corners in objects]
        write_annotations(folder / "Annotations" / f"{names[i]}.xml", f"{names[i]}.jpg", size, found)
    for split, chosen in (("train", names[:train]), ("val", names[train:])):
        for kind in LISTS:
            write_text(folder / kind / f"{split}.txt", "".join(f"{name}\n" for name in chosen))
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in CLASSES))
    write_text(done, json.dumps(made))
    return folder
