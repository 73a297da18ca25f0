"""CPMData (Realtime Multi-Person Pose Estimation, OpenPose): photos of people, and maps of joints and limbs to learn.

A net is sized and drawn with it, and trained where inputs stand in for it: its database is not read here.

Source: the prototxts of "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields" (Cao et al., 2017).
"""

from __future__ import annotations

from demitasse.layers.data.feed import FeedLayer
from demitasse.proto.errors import SchemaFault

PLANES = 6  # of a record: the photo, its description and two masks; the layer makes as many


class CPMData(FeedLayer):
    """Tops: photos (N, 6, H, W), the first three planes of colours; and (N, 2 (num_parts + 1), H / stride, W / stride),
    weights of num_parts + 1 maps and then the maps.  In TRAIN H and W are crop_size_y and crop_size_x."""

    type = "CPMData"
    fields = ("cpm_transform_param", "data_param")
    tops = (1, 2)

    def setup(self, shapes):
        param, batch = self.spec.cpm_transform_param, self.spec.data_param.batch_size
        if min(batch, param.stride, param.crop_size_x, param.crop_size_y) < 1:
            raise SchemaFault("batch_size of data_param, or stride or crop_size_x and _y of cpm_transform_param is 0")
        return super().setup(shapes)

    def told_shapes(self):
        param, batch = self.spec.cpm_transform_param, self.spec.data_param.batch_size
        height, width = param.crop_size_y, param.crop_size_x
        maps = 2 * (param.num_parts + 1), height // param.stride, width // param.stride
        return [(batch, PLANES, height, width), (batch, *maps)] if self.train else None

    def open(self):
        raise SchemaFault(
            "the records of CPMData are not read here: give the net inputs in its place, as --input data=10x6x368x368"
        )
