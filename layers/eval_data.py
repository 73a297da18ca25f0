"""EvalData (Cascade R-CNN): images at the size that a detector takes, with their true boxes.

Source: the prototxts and window files of Cascade R-CNN.
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.field_maps import nearest
from demitasse.layers.data.images import resize
from demitasse.layers.data.scenes import CLASS, CORNERS, DIFFICULT, IGNORED, SceneImages, read_scenes
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import SchemaFault

MULTIPLE = 32  # of which both sides are


class EvaluatedScenes(SceneImages):
    """Scenes, resized."""

    def load(self, record, rng):
        image, size = self.image(record), self._size(record)
        factors = np.tile([size[1] / record.width, size[0] / record.height], 2)
        objects = record.objects
        rows = [objects[:, CORNERS] * factors, *(objects[:, n, None] for n in (CLASS, IGNORED, DIFFICULT))]
        pixels, seen = self.normalised(resize(image, *size)), np.array(size, np.float32).reshape(2, 1, 1)
        return [pixels, np.concatenate(rows, axis=1), seen], self.where(record)

    def stack(self, samples):
        images, sizes = super().stack([([arrays[0], arrays[2]], name) for arrays, name in samples])
        rows = np.concatenate([np.insert(arrays[1], 0, i, axis=1) for i, (arrays, _) in enumerate(samples)])
        rows = rows.astype(np.float32) if len(rows) else np.full((1, 8), -1, np.float32)
        return [images, rows[:, :, None, None], sizes]

    def _size(self, scene) -> tuple[int, int]:
        fields, size = self.fields, (scene.height, scene.width)
        if fields.resize_width and fields.resize_height:
            size = fields.resize_height, fields.resize_width
        elif fields.short_size and fields.long_size:
            size = tuple(min(nearest(side * fields.short_size / min(size)), fields.long_size) for side in size)
        return tuple(max(1, nearest(side / MULTIPLE)) * MULTIPLE for side in size)


class EvalData(FeedLayer):
    """Tops: images (N, 3, H, W); their true boxes (G, 8, 1, 1), a row (image, x1, y1, x2, y2, class, ignored,
    difficult) each, or one row of -1; and, if named, the images' heights and widths (N, 2, 1, 1).

    A net is sized from its fields without the data being there, as if there were one box.
    """

    type = "EvalData"
    fields = ("eval_data_param", "transform_param", "data_param")
    tops = (2, 3)

    def setup(self, shapes):
        param = self.spec.eval_data_param
        if param.batch_size > 1 and not (param.resize_width and param.resize_height):
            raise SchemaFault(
                f"batch_size {param.batch_size}: images come in different sizes; give resize_width and resize_height, "
                "or batch_size: 1"
            )
        return super().setup(shapes)

    def told_shapes(self):
        param = self.spec.eval_data_param
        sizes = (param.resize_height, param.resize_width), (param.long_size, param.short_size)
        size = next((size for size in sizes if all(size)), None)
        if os.path.exists(param.source) or not size or not param.batch_size:
            return None
        return [(param.batch_size, 3, *size), (1, 8, 1, 1), (param.batch_size, 2, 1, 1)]

    def open(self):
        param = self.spec.eval_data_param
        transform = Transformer(self.spec.transform_param, self.train, others=())
        scenes = read_scenes(param.source, "eval_data_param: source", True)
        return EvaluatedScenes(param, scenes, transform), param.batch_size, 0

    def infer(self, shapes):
        return super().infer(shapes)[: len(self.spec.top)]

    def forward(self, xs):
        return super().forward(xs)[: len(self.spec.top)]
