"""DetectionData, ImageGtData (Cascade R-CNN, MS-CNN): images, and what each position of a detector's maps is to learn.

Images are resized, zoomed at one of their objects, mirrored, and laid on the batch's canvas (data/scene_samples.py).
For each `stride` (`downsample_rate`), field_w and field_h there is a map (N, 6, h, w): class, centre x, centre y,
width, height and overlap of the object that the field at each position learns, 0 for the class of the background
(data/field_maps.py).

Sources: "A unified multi-scale deep convolutional neural network for fast object detection" (Cai et al., 2016), 3, 4;
the prototxts and window files of MS-CNN and Cascade R-CNN.
"""

from __future__ import annotations

import os

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.field_maps import CHANNELS, Field, map_size
from demitasse.layers.data.scene_samples import DetectionScenes, ImageGtScenes
from demitasse.layers.data.scenes import read_scenes
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import GraphFault, SchemaFault

SHUFFLES = "random", "random_aspect", "random_mix_aspect"


class DetectionData(FeedLayer):
    """Tops: images (N, 3, H, W), the maps, and with output_gt_boxes the true boxes (G, 8, 1, 1), a row (image, x1, y1,
    x2, y2, class, ignored, difficult) each, or one row of -1.

    A net is sized from its fields without the data being there, as if there were one box.
    """

    type = "DetectionData"
    fields = ("detection_data_param", "transform_param", "data_param")
    tops = (1, None)
    strides, samples, numbers, difficult = "stride", DetectionScenes, 8, True

    def setup(self, shapes):
        param = self.param = getattr(self.spec, self.fields[0])
        sizes = [getattr(param, self.strides), param.field_h, param.field_w]
        if len({len(each) for each in sizes}) > 1 or any(n < 1 for each in sizes for n in each):
            raise SchemaFault(f"{self.fields[0]}: give as many {self.strides}, field_h and field_w, above 0")
        wanted = 1 + len(param.field_h) + param.output_gt_boxes
        if len(self.spec.top) not in (0, wanted):
            boxes = " and the true boxes" * param.output_gt_boxes
            raise GraphFault(f"{len(self.spec.top)} tops: images, {len(param.field_h)} maps{boxes} are {wanted}")
        if param.coord_num != 4:
            raise SchemaFault(f"coord_num {param.coord_num} is not known: a box has 4 numbers")
        self.check_fields()
        self.map_fields = [Field(w, h, s) for s, h, w in zip(*sizes, strict=True)]
        return super().setup(shapes)

    def check_fields(self) -> None:
        """SchemaFault for fields of the fork that cannot be followed."""
        if self.param.shuffle not in SHUFFLES:
            raise SchemaFault(f'shuffle "{self.param.shuffle}" is not known: one of {", ".join(SHUFFLES)}')
        for names in (("min_scale", "max_scale"), ("low_scale_ratio", "high_scale_ratio")):
            low, high = (getattr(self.param, name) for name in names)
            if bool(low) != bool(high) or high < low or low < 0:
                raise SchemaFault(f"{names[0]} {low:g}, {names[1]} {high:g}: give both, above 0, the smaller one first")

    def told_canvas(self) -> tuple[int, int]:
        """(height, width) as far as the fields tell; 0 where they do not."""
        param = self.param
        pairs = [(param.crop_height, param.crop_width), (param.crop_long_size, param.crop_short_size)]
        pairs += [(param.resize_height, param.resize_width), (param.long_size, param.short_size)]
        return next((pair for pair in pairs if all(pair)), (0, 0))

    def told_shapes(self):
        size, batch = self.told_canvas(), self.param.batch_size
        if os.path.exists(self.param.source) or not all(size) or not batch:
            return None
        maps = [(batch, CHANNELS, *map_size(size, field.stride)) for field in self.map_fields]
        return [(batch, 3, *size), *maps, (1, self.numbers, 1, 1)]

    def open(self):
        transform = Transformer(self.spec.transform_param, self.train, others=())
        scenes = read_scenes(self.param.source, f"{self.fields[0]}: source", self.difficult)
        return self.samples(self.param, scenes, transform, self.map_fields), self.param.batch_size, 0

    def infer(self, shapes):
        return super().infer(shapes)[: 1 + len(self.map_fields) + self.param.output_gt_boxes]

    def forward(self, xs):
        return super().forward(xs)[: 1 + len(self.map_fields) + self.param.output_gt_boxes]


class ImageGtData(DetectionData):
    """Tops: as DetectionData's; true boxes are (G, 7, 1, 1), without `difficult`, and where there is none there is an
    ignored one, (0, 1, 1, 2, 2, 1, 1)."""

    type = "ImageGtData"
    fields = ("image_gt_data_param", "transform_param", "data_param")
    strides, samples, numbers, difficult = "downsample_rate", ImageGtScenes, 7, False

    def check_fields(self) -> None:
        if self.param.do_multiple_scale and not 0 < self.param.min_scale <= self.param.max_scale:
            raise SchemaFault("do_multiple_scale needs min_scale and max_scale, the smaller one first")

    def told_canvas(self):
        param = self.param
        return param.crop_height or param.resize_height, param.crop_width or param.resize_width
