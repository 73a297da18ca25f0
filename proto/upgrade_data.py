"""What forks of Caffe, and its first versions, call the fields of data layers: today's words, in place.

C3D's first VIDEO_DATA kept its fields in image_data_param; DeepLab's first ImageSegData said has_label; Ganin's cursor
SHUFFLING is shuffle; images_in_color was is_color; crops that are no squares have four spellings.
"""

from __future__ import annotations

from demitasse.proto.messages import LayerParameter

_CROPS = {"crop_height": "crop_h", "crop_width": "crop_w", "crop_size_h": "crop_h", "crop_size_w": "crop_w"}


def upgrade_data(layer: LayerParameter) -> None:
    """Bring the fields of a data layer of a fork into Caffe's words, in place."""
    _upgrade_crop(layer.transform_param)
    if layer.data_param.HasField("cursor"):  # Ganin's fork's
        layer.data_param.shuffle = layer.data_param.cursor == layer.data_param.SHUFFLING
        layer.data_param.ClearField("cursor")
    if layer.type == "VideoData" and layer.HasField("image_data_param"):
        for field, value in layer.image_data_param.ListFields():
            setattr(layer.video_data_param, field.name, value)
        layer.ClearField("image_data_param")
    if layer.image_data_param.HasField("images_in_color"):
        layer.image_data_param.is_color = layer.image_data_param.images_in_color
        layer.image_data_param.ClearField("images_in_color")
    if layer.type == "ImageSegData" and layer.image_data_param.HasField("has_label"):
        images = layer.image_data_param
        images.label_type = images.PIXEL if images.has_label else images.NONE
        images.ClearField("has_label")


def _upgrade_crop(transform) -> None:
    """Other words for crop_h and crop_w; where they stand, crop_size counts nothing."""
    for old, todays in _CROPS.items():
        if transform.HasField(old):
            setattr(transform, todays, getattr(transform, old))
            transform.ClearField(old)
            transform.ClearField("crop_size")
