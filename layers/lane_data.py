"""LaneData (MobileNet-YOLO): photos of roads, the points of their lanes, and maps that the lanes are drawn on.

A net is sized and drawn with it, and trained where inputs stand in for it: its records' lanes are not read here.

Source: the prototxts and shapes of MobileNet-YOLO.
"""

from __future__ import annotations

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.transform import OF_SOME_LAYERS, Transformer
from demitasse.proto.errors import SchemaFault

LANES, POINTS = 5, 64  # at most: of an image, and of a lane


class LaneData(FeedLayer):
    """Tops: photos (N, 3, H, W); (N, 5, 64, 3), for each point of each lane x, y and the lane's number; and maps
    (N, 1, H / seg_scales, W / seg_scales), or of seg_resize_height and seg_resize_width."""

    type = "LaneData"
    fields = ("annotated_data_param", "transform_param", "data_param")
    tops = (1, 3)

    def told_shapes(self):
        batch, lanes = self.spec.data_param.batch_size, self.spec.annotated_data_param
        sizes = Transformer.from_fields(self.spec.transform_param, self.train, others=OF_SOME_LAYERS).sizes
        if not sizes or batch < 1:
            return None
        if lanes.seg_scales < 1:
            raise SchemaFault("annotated_data_param: seg_scales is 0: maps have a seg_scales-th of the image's sides")
        maps = [side // lanes.seg_scales for side in sizes]
        if lanes.seg_resize_width and lanes.seg_resize_height:
            maps = [lanes.seg_resize_height, lanes.seg_resize_width]
        return [(batch, 3, *sizes), (batch, LANES, POINTS, 3), (batch, 1, *maps)]

    def open(self):
        raise SchemaFault("the records of LaneData are not read here: give the net inputs in its place (--input)")
