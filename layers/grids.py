"""YOLO's maps: some boxes at each cell of a grid over the image, and what becomes of them.

A map (N, B (5 + C), H, W) has for each of B boxes of a cell x, y, width, height, whether there is an object, and C
classes.  Box b of cell (i, j) has its centre at ((j + sigmoid x) / W, (i + sigmoid y) / H), and measures
(exp width, exp height) times its anchor, a pair of shares of the image.
Source: "YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2017), 2; "YOLOv3: An Incremental Improvement" (2018).
"""

from __future__ import annotations

from demitasse.layers.boxes import iou, nms
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault


def check_map(shape, boxes: int, classes: int, i: int = 0) -> None:
    """ShapeFault unless bottom i of this shape is a map of so many boxes and classes."""
    if len(shape) != 4 or shape[1] != boxes * (5 + classes):
        raise ShapeFault(
            f"bottom {i} has shape {shape}: a map (N, C, H, W) of {boxes} boxes x (5 + {classes} classes) = "
            f"{boxes * (5 + classes)} channels is expected"
        )


def anchors_of(biases, chosen, field: str = "biases") -> list[tuple[float, float]]:
    """The pairs of widths and heights numbered `chosen` of a flat list; SchemaFault where there are too few."""
    if len(biases) < 2 * (max(chosen, default=-1) + 1):
        raise SchemaFault(
            f"{field} holds {len(biases)} numbers: a width and a height for each of "
            f"{max(chosen) + 1} boxes are needed, {2 * max(chosen) + 2}"
        )
    return [(biases[2 * k], biases[2 * k + 1]) for k in chosen]


def sigmoid(xp, x):
    """1 / (1 + exp(-x))."""
    return 0.5 * (1 + xp.tanh(0.5 * x))


def split(x, boxes: int):
    """A map as (N, B, 5 + C, H, W)."""
    return x.reshape(len(x), boxes, x.shape[1] // boxes, *x.shape[2:])


def corners(xp, cells, anchors):
    """The boxes (N, B, H, W, 4) of cells (N, B, 5 + C, H, W); anchors: B pairs, as shares of the image."""
    height, width = cells.shape[3:]
    column, row = (xp.arange(n, dtype=cells.dtype) for n in (width, height))  # boxes stay of the kind of the cells
    x = (sigmoid(xp, cells[:, :, 0]) + column) / width
    y = (sigmoid(xp, cells[:, :, 1]) + row[:, None]) / height
    sizes = xp.asarray(anchors, dtype=cells.dtype)[:, :, None, None]
    half_width, half_height = xp.exp(cells[:, :, 2]) * sizes[:, 0] / 2, xp.exp(cells[:, :, 3]) * sizes[:, 1] / 2
    return xp.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)


def best_anchor(xp, size, sizes) -> int:
    """Which of `sizes`, pairs of widths and heights, overlaps most with `size` about the same centre."""
    halves = xp.asarray([size, *sizes], dtype="float64") / 2
    boxes = xp.concatenate([-halves, halves], axis=1)
    return int(iou(xp, boxes[:1], boxes[1:])[0].argmax())


def found_rows(be, images: int, found, threshold: float):
    """The top (1, 1, K, 7) of a detection layer: rows (image, class + 1, score, corners), best first in each image.

    found: for each map, (image (M,), class (M,), score (M,), corners (M, 4)).  Of boxes that overlap by more than the
    threshold the best stays, whatever their classes.  Nothing found: a row for each image, -1 but for its number.
    """
    xp = be.xp
    columns = [xp.concatenate(parts) for parts in zip(*found, strict=True)]
    rows = []
    for image in range(images):
        (own,) = xp.nonzero(columns[0] == image)
        label, score, corners = (column[own] for column in columns[1:])
        kept = nms(be, corners, score, threshold)
        row = be.empty((len(kept), 7))
        row[:, 0], row[:, 1], row[:, 2], row[:, 3:] = image, label[kept] + 1, score[kept], corners[kept]
        rows.append(row)
    top = xp.concatenate(rows) if rows else be.empty((0, 7))
    if not len(top):
        top = be.zeros((images, 7)) - 1
        top[:, 0] = xp.arange(images)
    return top[None, None]


def check_objects(shapes):
    """ShapeFault unless bottom 1 holds rows of five numbers for each image of bottom 0."""
    images, rows = shapes[0][0], shapes[1]
    count = 1
    for n in rows[1:]:
        count *= n
    if not rows or rows[0] != images or len(rows) < 2 or count % 5:
        raise ShapeFault(
            f"bottom 1 has shape {rows}: for each of {images} images rows (class, x, y, width, height) are expected"
        )


def objects_of(rows, images: int, classes: int) -> list[list[tuple[int, float, float, float, float]]]:
    """The objects of each image: rows (class, centre x, y, width, height) up to the first without a width, of a host
    array; LabelFault for a class that is none of 0 to classes - 1."""
    found = []
    for item in rows.reshape(images, -1, 5).tolist() if images else ():
        own = []
        for label, *box in item:
            if not box[2]:
                break
            if not 0 <= int(label) < classes:
                raise LabelFault(f"an object of class {label:g}: the classes are 0 to {classes - 1}, no background")
            own.append((int(label), *box))
        found.append(own)
    return found


def far_from(be, boxes, objects, threshold: float):
    """Which of the boxes (B, H, W, 4) overlap with no object by more than the threshold: (B, H, W)."""
    if not objects:
        return be.xp.ones(boxes.shape[:3], dtype=bool)
    true = be.asarray([[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for _, x, y, w, h in objects])
    return (iou(be.xp, boxes.reshape(-1, 4), true).max(axis=1) <= threshold).reshape(boxes.shape[:3])


def cell_of(x: float, y: float, height: int, width: int) -> tuple[int, int]:
    """(row, column) of the cell that the point lies in."""
    return min(max(int(y * height), 0), height - 1), min(max(int(x * width), 0), width - 1)
