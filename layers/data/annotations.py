"""The boxes in an image, as SSD stores and delivers them: AnnotatedDatum records to rows of numbers, cut and mirrored.

A row is (item, group_label, instance_id, xmin, ymin, xmax, ymax, difficult): 8 columns of float32, the corners in
shares of the image's sides.  `item`, the image's index in its batch, is 0 until the batch is made.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from demitasse.layers.boxes import area
from demitasse.proto.errors import DataFault
from demitasse.proto.messages import AnnotatedDatum, EmitConstraint

COLUMNS = 8
DARKNET_ROWS = 300
ITEM, LABEL, INSTANCE, DIFFICULT = 0, 1, 2, 7
CORNERS = slice(3, 7)
WHOLE = (0.0, 0.0, 1.0, 1.0)  # (x1, y1, x2, y2) of the image


def parse(value: bytes, where: str):
    """(Datum, rows (N, 8)) of a record's bytes.  DataFault for other bytes, and corners that are no numbers."""
    try:
        record = AnnotatedDatum.FromString(value)
    except DecodeError:
        record = None
    if record is None or not record.HasField("datum"):
        raise DataFault(
            f"{where}: not an AnnotatedDatum message ({len(value)} bytes): a database of images and boxes is made by "
            "`demitasse convert_annoset`"
        )
    rows = [
        (
            0,
            group.group_label,
            annotation.instance_id,
            annotation.bbox.xmin,
            annotation.bbox.ymin,
            annotation.bbox.xmax,
            annotation.bbox.ymax,
            annotation.bbox.difficult,
        )
        for group in record.annotation_group
        for annotation in group.annotation
    ]
    rows = np.array(rows, np.float32).reshape(-1, COLUMNS)
    if not np.isfinite(rows).all():
        raise DataFault(f"{where}: a box has corners that are no numbers: {rows[~np.isfinite(rows).all(axis=1)][0]}")
    return record.datum, rows


def project(rows: np.ndarray, window, emit=None) -> np.ndarray:
    """The rows (M, 8) as seen from a window (x1, y1, x2, y2) of the image, cut at its border; those of boxes that it
    does not overlap are left out, and those that do not meet `emit`, an EmitConstraint or None."""
    corners = rows[:, CORNERS]
    seen = seen_from(corners, window).astype(np.float32)
    cut = seen.clip(0, 1)
    keep = area(np, cut) > 0
    if emit is not None and emit.emit_type == EmitConstraint.CENTER:
        centre = (seen[:, :2] + seen[:, 2:]) / 2
        keep &= ((centre >= 0) & (centre <= 1)).all(axis=1)
    elif emit is not None:
        keep &= area(np, cut) > emit.emit_overlap * area(np, seen)
    projected = rows.copy()
    projected[:, CORNERS] = cut
    return projected[keep]


def seen_from(corners: np.ndarray, window) -> np.ndarray:
    """Corners (..., 4) in shares of a window (x1, y1, x2, y2) of what they were given in."""
    x1, y1, x2, y2 = window
    return (corners - np.array([x1, y1, x1, y1])) / np.array([x2 - x1, y2 - y1] * 2)


def inside(corners: np.ndarray, box) -> np.ndarray:
    """Corners (..., 4) in shares of what a box (x1, y1, x2, y2) is given in, from those in shares of the box."""
    x1, y1, x2, y2 = box
    return corners * np.array([x2 - x1, y2 - y1] * 2) + np.array([x1, y1, x1, y1])


def put_into(rows: np.ndarray, box) -> np.ndarray:
    """The rows (N, 8) of an image that fills the box (x1, y1, x2, y2) of another: as seen in that one."""
    placed = rows.copy()
    placed[:, CORNERS] = inside(placed[:, CORNERS], box)
    return placed


def mirrored(rows: np.ndarray) -> np.ndarray:
    """The rows (N, 8) of the image flipped left to right."""
    flipped = rows.copy()
    flipped[:, 3], flipped[:, 5] = 1 - rows[:, 5], 1 - rows[:, 3]
    return flipped


def darknet_blob(images: list[np.ndarray], names: list[str]) -> np.ndarray:
    """(N, 1, 300, 5): for each image rows (class, counted from 0 without a background; centre x, y, width, height),
    and zeros after the last.  DataFault for more boxes."""
    blob = np.zeros((len(images), 1, DARKNET_ROWS, 5), np.float32)
    for item, (rows, name) in enumerate(zip(images, names, strict=True)):
        if len(rows) > DARKNET_ROWS:
            raise DataFault(f"{name}: {len(rows)} boxes, but yolo_data_type: 1 has room for {DARKNET_ROWS}")
        first, last = rows[:, 3:5], rows[:, 5:7]
        blob[item, 0, : len(rows)] = np.concatenate([rows[:, LABEL, None] - 1, (first + last) / 2, last - first], 1)
    return blob


def label_blob(images: list[np.ndarray]) -> np.ndarray:
    """(1, 1, N, 8): the rows of all images, their index in the list as item; one row of -1 where there is none."""
    images = [rows.copy() for rows in images]
    for item, rows in enumerate(images):
        rows[:, ITEM] = item
    rows = np.concatenate(images)
    return (rows if len(rows) else np.full((1, COLUMNS), -1, np.float32))[None, None]
