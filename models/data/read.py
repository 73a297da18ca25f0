"""Files of a data set as arrays; every fault names the file.

Images come as (H, W, 3) uint8 RGB whatever they were (gray, RGBA, palette); labels as (H, W) uint8 with 255 for no
class.  Faults: DataFault (missing, corrupt or of the wrong kind), LabelFault (a label that is no class).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageOps

from demitasse.layers.data.files import no_such_file, text_lines
from demitasse.layers.data.images import read_labels, read_picture, to_array
from demitasse.proto import matfile
from demitasse.proto.errors import DataFault, LabelFault, WeightsFault
from demitasse.proto.files import map_file

IGNORE = 255
TO_INDICES = "labels are palette or gray PNGs; `python -m models prepare labels` makes such of others"


def image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    return _rgb(read_picture(str(path), str(path)), path)


def upright(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned as the camera's EXIF note says.  (Published data sets are read without turning.)"""
    return _rgb(ImageOps.exif_transpose(read_picture(str(path), str(path))), path)


def labelled(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image whose label has this (H, W): upright, as it was shown when it was labelled,
    unless only the pixels as they are stored have that size."""
    picture = read_picture(str(path), str(path))
    turned = ImageOps.exif_transpose(picture)
    if turned.size != size[::-1] and picture.size == size[::-1]:
        turned = picture
    return _rgb(turned, path)


def _rgb(picture, path: str | Path) -> np.ndarray:
    return to_array(picture, True, str(path))[:, :, ::-1]


def plane(path: str | Path) -> np.ndarray:
    """(H, W) float32 from a one-channel picture of 8 or 16 bits (depth).  DataFault for a picture of colours."""
    picture = read_picture(str(path), str(path))
    if len(picture.getbands()) != 1:
        raise DataFault(f"{path}: has {len(picture.getbands())} channels ({picture.mode}); a depth image has one")
    return np.asarray(picture, np.float32)


def label_png(path: str | Path, classes: int | None = None) -> np.ndarray:
    """(H, W) uint8 class indices of a palette or gray PNG, of 16 bits too if the indices are below 256.

    LabelFault for others, DataFault for a picture of colours.
    """
    stored = read_labels(str(path), str(path), TO_INDICES)
    if stored.size and stored.max() > IGNORE:
        raise LabelFault(f"{path}: label {stored.max()} is no class: there are 255 at most, and 255 for none")
    return checked(stored.astype(np.uint8), classes, path)


def mat(path: str | Path, *keys) -> np.ndarray:
    """A variable (rows, columns) of a MATLAB file (version 5 to 7.2); further keys lead into its structs and cells.

    DataFault where the file, the variable or a key is not there.
    """
    path = Path(path)
    try:
        value = matfile.read(map_file(path))
    except WeightsFault as fault:
        fault = DataFault(fault.what, fault.where) if path.exists() else no_such_file(str(path), str(path))
        raise fault from None
    except ValueError as error:
        raise DataFault(f"{path}: cannot be read as a MATLAB file: {error}") from None
    try:
        for key in keys:
            value = value[key]
    except (KeyError, ValueError, IndexError, TypeError):
        raise DataFault(f"{path}: has no {'.'.join(str(key) for key in keys if key != 0)}") from None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iuf":
        raise DataFault(f"{path}: {keys[0]} is not a two-dimensional array of numbers")
    return value


def checked(labels: np.ndarray, classes: int | None, path: str | Path) -> np.ndarray:
    """The labels (H, W), if all of them are below `classes` or 255; LabelFault where one is not, with its pixel."""
    if classes is not None:
        wrong = (labels >= classes) & (labels != IGNORE)
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            found = sorted(set(labels[wrong].tolist()))
            raise LabelFault(
                f"{path}: label {labels[y, x]} at row {y}, column {x} is no class: there are {classes} "
                f"(0 to {classes - 1}) and 255 for none; labels out of range here: {found[:8]}"
            )
    return labels


def lines(path: str | Path) -> list[str]:
    """The lines of a text file that are not empty, stripped."""
    return [line for _, line in text_lines(str(path), str(path))]


def split(folder: str | Path, name: str) -> list[str]:
    """The ids in folder/name.txt.  `trainval`, where its file is missing, is train followed by val.

    DataFault where the file is missing or empty.
    """
    folder = Path(folder)
    path = folder / f"{name}.txt"
    if name == "trainval" and not path.exists() and (folder / "train.txt").exists() and (folder / "val.txt").exists():
        return lines(folder / "train.txt") + lines(folder / "val.txt")
    ids = lines(path)
    if not ids:
        raise DataFault(f"{path}: is empty: it should name one image a line")
    return ids


def bgr(rgb: np.ndarray, mean) -> np.ndarray:
    """(3, H, W) float32: channels turned to BGR, the BGR mean subtracted."""
    blob = rgb[:, :, ::-1].astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(blob.transpose(2, 0, 1))


def from_one(stored: np.ndarray, classes: int, path: str | Path) -> np.ndarray:
    """(H, W) uint8 labels 0 to classes - 1 from stored ones that begin at 1; 0 and below become 255.

    LabelFault above `classes`.
    """
    stored = stored.astype(np.int64)
    if stored.size and stored.max() > classes:
        raise LabelFault(
            f"{path}: label {stored.max()} is no class: there are {classes} (1 to {classes}) and 0 for none"
        )
    return np.where(stored > 0, stored - 1, IGNORE).astype(np.uint8)
