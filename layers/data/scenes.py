"""Images with the boxes of their objects, as the window files of MS-CNN and Cascade R-CNN list them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from demitasse.layers.data.feed import Source
from demitasse.layers.data.files import below, no_such_file, read_file
from demitasse.layers.data.images import decode_image
from demitasse.layers.data.listing import CHECKED, read_lines
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.input_paths import located

CLASS, IGNORED, DIFFICULT, CORNERS = 0, 1, 2, slice(3, 7)  # the columns of an object


@dataclass(frozen=True, slots=True)
class Scene:
    """An image (of that height and width), its objects (G, 7), a row (class, ignored, difficult, x1, y1, x2, y2) each,
    the regions (R, 4) in which nothing is to be learned, and the line that names it."""

    image: str
    height: int
    width: int
    objects: np.ndarray
    regions: np.ndarray
    line: int


def read_scenes(path: str, field: str, difficult: bool) -> list[Scene]:
    """All scenes of a file that repeats

    # image_index
    image path
    channels
    height
    width
    number of objects
    class ignored difficult x1 y1 x2 y2    (one line per object; without `difficult` where that is False)
    number of regions without interest
    x1 y1 x2 y2                            (one line per region)

    DataFault, with the line, for anything else.
    """
    lines = read_lines(path, field)
    columns = ["class", "ignored", *["difficult"] * difficult, "x1", "y1", "x2", "y2"]
    scenes = []
    for number, line in lines:
        if not line.startswith("#"):
            raise DataFault(f"{path}:{number}: '{line}' where '# image_index' should begin an image's part")
        number, image = next(lines, (number, ""))
        named = number
        sizes = []
        for what in ("channels", "the image's height", "the image's width"):
            number, (size,) = _numbers(path, lines, number, [what])
            if size < 1:
                raise DataFault(f"{path}:{number}: {size:g} where {what} should stand")
            sizes.append(int(size))
        number, objects = _rows(path, lines, number, columns, "the number of objects")
        number, regions = _rows(path, lines, number, columns[-4:], "the number of regions without interest")
        if len(objects) and objects[:, 0].min() < 1:
            raise DataFault(f"{path}:{named}: a class of {objects[:, 0].min():g}; classes of objects begin at 1")
        if not difficult:
            objects = np.insert(objects, DIFFICULT, 0, axis=1)
        scenes.append(Scene(image, *sizes[1:], objects, regions, named))
    return scenes


def _rows(path, lines, last: int, columns, what: str) -> tuple[int, np.ndarray]:
    """(last line's number, rows (count, columns)) of a line with a count and as many with a row."""
    number, (count,) = _numbers(path, lines, last, [what])
    rows = []
    for _ in range(int(count)):
        number, values = _numbers(path, lines, number, columns)
        if values[-2] < values[-4] or values[-1] < values[-3]:
            raise DataFault(f"{path}:{number}: the box {values[-4:]} ends before it begins (x1 y1 x2 y2)")
        rows.append(values)
    return number, np.array(rows, np.float32).reshape(len(rows), len(columns))


def _numbers(path, lines, last: int, columns) -> tuple[int, list[float]]:
    number, line = next(lines, (last, ""))
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != len(columns) or not all(math.isfinite(value) for value in values):
        raise DataFault(f"{path}:{number}: '{line}' where {' '.join(columns)} should stand")
    return number, values


class SceneImages(Source):
    """Scenes in the order of their file, to be read."""

    shapes_vary = True

    def __init__(self, fields, scenes: list[Scene], transform: Transformer):
        """fields: the message of the layer that names the scenes."""
        super().__init__()
        if transform.crop or transform.mean_file:
            raise SchemaFault("transform_param: this type of layer does not read crop_size and mean_file; remove them")
        self.fields, self.scenes, self.transform, self.count = fields, scenes, transform, len(scenes)
        self.scale = transform.scale
        self._files: dict[str, bytes] = {}

    def find(self, index: int) -> Scene:
        return self.scenes[index % self.count]

    def require_files(self) -> None:
        missing = [scene for scene in self.scenes[:CHECKED] if not os.path.exists(self.path(scene))]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise no_such_file(self.path(missing[0]), f"{self.where(missing[0])}{more}")

    def data_origin(self):
        return (f"{scene.image} {len(scene.objects)}" for scene in self.scenes)

    def path(self, scene: Scene) -> str:
        """Where its image is."""
        return located(below(self.fields.root_folder, scene.image), self.folder)

    def where(self, scene: Scene) -> str:
        """The image's name and the line that lists it, for errors."""
        return f"image '{self.path(scene)}' ({self.fields.source}:{scene.line})"

    def image(self, scene: Scene) -> np.ndarray:
        """(H, W, 3) BGR.  DataFault where it has not the size that is listed."""
        path, where = self.path(scene), self.where(scene)
        data = self._files.get(path) or read_file(path, where)
        if getattr(self.fields, "cache_images", False):
            self._files[path] = data
        image = decode_image(data, True, where)
        self.transform.check_channels(3, where)
        if image.shape[:2] != (scene.height, scene.width):
            listed = f"{scene.height} x {scene.width}"
            raise DataFault(f"{where}: is {image.shape[0]} x {image.shape[1]}, but listed as {listed} (height x width)")
        return image

    def normalised(self, image) -> np.ndarray:
        """(H, W, 3) bytes to (3, H, W) floats without their mean, times the scale."""
        pixels = image.transpose(2, 0, 1).astype(np.float32)
        if len(self.transform.mean_values):
            pixels -= self.transform.mean_values[:, None, None]
        return pixels * self.scale
