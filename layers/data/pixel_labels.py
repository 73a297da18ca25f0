"""Maps of what is to be segmented in an image with boxes (MobileNet-YOLO), from the label image of its record.

A label image has a number in each pixel: the place, from 0 on, of an item of label_map_file, whose label_id is the
class (from 1; 0: none).  Each class has a map, 1 where it is and 0 elsewhere, which goes with the image through canvas,
window and mirror, and is brought to its size by area.  With single_class the label image itself is the only map, its
255 being 1.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.detections import parse_label_map
from demitasse.layers.data.images import decode_image
from demitasse.layers.sampling import area_weights
from demitasse.proto.errors import DataFault, SchemaFault


class PixelLabels:
    """What an AnnotatedDataParameter says of maps."""

    def __init__(self, fields):
        self.fields, self.classes = fields, np.zeros(256, int)
        if fields.seg_scales < 1:
            raise SchemaFault("annotated_data_param: seg_scales is 0: maps have a seg_scales-th of the image's sides")
        if not fields.single_class:
            found = [item.label_id for item in parse_label_map(fields.label_map_file).item][:256]
            self.classes[: len(found)] = found
            if not self.classes.any():
                raise SchemaFault(
                    f"label_map_file '{fields.label_map_file}' gives no label_id, the class of a label's pixels"
                )
        self.channels = 1 if fields.single_class else int(self.classes.max())

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The maps' (height, width) for images of this size."""
        fields = self.fields
        if fields.seg_resize_height and fields.seg_resize_width:
            return fields.seg_resize_height, fields.seg_resize_width
        return height // fields.seg_scales, width // fields.seg_scales

    def maps(self, encoded: bytes, place, mirror: bool, size: tuple[int, int], where: str) -> np.ndarray:
        """(classes, height, width) in [0, 1] of a label image's file.

        place: (x1, y1, x2, y2), where the label image lies in what is seen of it, which may be less or more.
        DataFault where there is no label image.
        """
        if not encoded:
            raise DataFault(f"{where}: the record has no label image, which the third top is made of")
        labels = decode_image(encoded, False, where)[:, :, 0]
        (x1, y1, x2, y2), (height, width) = place, size
        down = area_weights(np, len(labels), height, y1, y2)
        across = area_weights(np, labels.shape[1], width, x1, x2)
        if self.fields.single_class:
            maps = [labels / 255]
        else:
            classes = self.classes[labels]
            maps = [classes == number for number in range(1, self.channels + 1)]
        made = np.stack([down @ each @ across.T for each in maps]).astype(np.float32)
        return made[:, :, ::-1] if mirror else made
