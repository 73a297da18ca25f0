"""Labels as pictures: the PASCAL VOC colours, palette PNGs, overlays, legends, panels side by side.

Labels are (H, W) arrays of class indices; 255 marks pixels without a class.  Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from demitasse.proto.errors import DataFault
from demitasse.proto.files import replacing

PREDICTED = "predicted by Demitasse"  # the comment in its PNGs: those may be replaced unasked

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def voc_palette(n: int = 256) -> np.ndarray:
    """(n, 3) uint8: VOC's colours.  The bits of a class index are dealt out to red, green and blue in turn, its
    lowest bits to the colours' highest, so that neighbours differ most; 255 comes out as (224, 224, 192)."""
    index = np.arange(n)
    palette = np.zeros((n, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = voc_palette()

# How colours look to those who lack one of the eye's three pigments, in linear RGB (Machado et al., "A
# physiologically-based model for simulation of color vision deficiency", 2009; severity 1).
_SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227969], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
# Linear RGB to Oklab, in which distances are about those that are seen (Ottosson, 2020).
_TO_CONES = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
_TO_LAB = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])


def seen(colours: np.ndarray) -> np.ndarray:
    """(4, n, 3) Oklab values of (n, 3) uint8 colours: to most eyes, and without red, green or blue cones."""
    linear = (np.asarray(colours) / 255.0) ** 2.2
    return np.cbrt((linear @ _SIGHTS.transpose(0, 2, 1)).clip(0, 1) @ _TO_CONES.T) @ _TO_LAB.T


def distinct_palette(n: int = 256) -> np.ndarray:
    """(n, 3) uint8: black, then always the colour that differs most from those before and from white, to the eyes
    that tell them apart worst; 255 is white."""
    steps = np.linspace(0, 255, 7).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    all_seen = seen(colours)
    palette, distance = np.full((n, 3), 255, np.uint8), np.linalg.norm(all_seen - all_seen[:, -1:], axis=2).min(axis=0)
    palette[0], chosen = 0, 0
    for index in range(1, min(n, 255)):
        distance = np.minimum(distance, np.linalg.norm(all_seen - all_seen[:, chosen : chosen + 1], axis=2).min(axis=0))
        chosen = int(distance.argmax())
        palette[index] = colours[chosen]
    return palette


DISTINCT = distinct_palette()  # of pictures that are to be looked at


def colour(labels: np.ndarray, palette: np.ndarray = PALETTE) -> np.ndarray:
    """(H, W) labels as an (H, W, 3) uint8 picture."""
    return palette[np.asarray(labels).astype(np.uint8)]


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.5, palette: np.ndarray = PALETTE) -> np.ndarray:
    """The (H, W, 3) image with the classes' colours laid over it at `alpha`; class 0 stays clear."""
    image, labels = np.asarray(image), np.asarray(labels)
    mixed = image * (1 - alpha) + colour(labels, palette) * alpha
    return np.where((labels > 0)[..., None], mixed.round(), image).astype(np.uint8)


def outlined(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The (H, W, 3) picture with the borders of the labelled areas in it, white and black side by side."""
    picture, (height, width) = picture.copy(), labels.shape
    right, below = np.zeros((2, height, width), bool)
    right[:, :-1] = labels[:, :-1] != labels[:, 1:]
    below[:-1] = labels[:-1] != labels[1:]
    inner = right | below
    outer = np.zeros_like(inner)
    outer[:, 1:] |= right[:, :-1]
    outer[1:] |= below[:-1]
    picture[outer] = 0
    picture[inner] = 255
    return picture


def save_labels(path: str | Path, labels: np.ndarray, palette: np.ndarray = PALETTE, comment: str = "") -> None:
    """Write class indices as a palette PNG (mode P), as VOC keeps its labels."""
    picture = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    picture.putpalette(palette.astype(np.uint8).tobytes())
    save_picture(path, picture, comment)


def save_picture(path: str | Path, picture: Image.Image | np.ndarray, comment: str = "") -> None:
    """Write a picture in the format of the path's suffix; a crash leaves no half file.  comment: kept in a PNG."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    path, options = Path(path), {}
    path.parent.mkdir(parents=True, exist_ok=True)
    if comment:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Comment", comment)
    with replacing(path) as temporary:
        picture.save(temporary, format=Image.registered_extensions()[path.suffix.lower()], **options)


def require_replaceable(path: Path) -> None:
    """DataFault where a picture is there that is no prediction of ours, such as a label drawn by hand."""
    if not path.exists():
        return
    try:
        with Image.open(path) as picture:
            ours = picture.info.get("Comment") == PREDICTED
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        ours = False
    if not ours:
        raise DataFault(f"{path}: is there already, and was not predicted by Demitasse: choose another folder")


def legend(classes: Sequence[int], names: Sequence[str] = (), palette: np.ndarray = PALETTE) -> Image.Image:
    """A list of colour patches with the classes' names (their numbers where `names` is too short)."""
    row, patch, font = 18, 24, ImageFont.load_default()
    words = [names[c] if c < len(names) else f"class {c}" for c in classes]
    width = patch + 16 + max((int(font.getlength(word)) for word in words), default=0)
    picture = Image.new("RGB", (width, max(1, row * len(words)) + 6), "white")
    draw = ImageDraw.Draw(picture)
    for i, (c, word) in enumerate(zip(classes, words, strict=True)):
        top = 4 + i * row
        draw.rectangle((4, top, 4 + patch, top + row - 5), fill=tuple(int(v) for v in palette[c]), outline="black")
        draw.text((patch + 10, top), word, fill="black", font=font)
    return picture


def written(text: str, width: int) -> np.ndarray:
    """(18, width, 3) uint8: words in black on white, cut off where they are longer."""
    picture = Image.new("RGB", (width, 18), "white")
    ImageDraw.Draw(picture).text((2, 2), text, fill="black", font=ImageFont.load_default())
    return np.asarray(picture)


def beside(panels: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures of any heights in one row, on white."""
    height = max(panel.shape[0] for panel in panels)
    width = sum(panel.shape[1] for panel in panels) + gap * (len(panels) - 1)
    row = np.full((height, width, 3), 255, np.uint8)
    x = 0
    for panel in panels:
        row[: panel.shape[0], x : x + panel.shape[1]] = panel
        x += panel.shape[1] + gap
    return row
