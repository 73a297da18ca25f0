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
from demitasse.proto.files import make_folder, replacing
from demitasse.solver import pictures

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


def colour(labels: np.ndarray, palette: np.ndarray = PALETTE) -> np.ndarray:
    """(H, W) labels as an (H, W, 3) uint8 picture, in VOC's colours."""
    return pictures.colour(labels, palette)


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.5, palette: np.ndarray = PALETTE) -> np.ndarray:
    """As pictures.overlay, (H, W, 3) uint8, in VOC's colours."""
    return pictures.overlay(image, labels, alpha, palette)


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
    make_folder(path.parent)
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
