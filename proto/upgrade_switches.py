"""MyCaffe's messages that can be switched off: away with those that are off, and with the switches of the others.

Most have `option { active: ... }`; resize_param and distortion_param have `active` too, which counts more.  Not every
layer asks for the switch: the non-maximum suppression of DetectionOutput is always on, that of MultiBoxLoss may be
off where use_gpu is true.  distortion_param and expansion_param are SSD's distort_param and expand_param.
"""

from __future__ import annotations

from typing import Any

from demitasse.proto.messages import LayerParameter, is_repeated

_HOLDERS = ("transform_param", "detection_output_param", "detection_evaluate_param", "multibox_loss_param")
_TODAYS = {"distortion_param": "distort_param", "expansion_param": "expand_param"}


def upgrade_switches(layer: LayerParameter) -> None:
    """Bring what can be switched off in a layer of MyCaffe into SSD's words, in place."""
    for holder in filter(layer.HasField, _HOLDERS):
        _take_off(getattr(layer, holder), ask_nms=layer.multibox_loss_param.use_gpu)
    if layer.HasField("multibox_loss_param"):
        layer.multibox_loss_param.ClearField("use_gpu")
    for name, todays in _TODAYS.items():
        if layer.transform_param.HasField(name):
            getattr(layer.transform_param, todays).MergeFrom(getattr(layer.transform_param, name))
            layer.transform_param.ClearField(name)


def _take_off(holder: Any, ask_nms: bool) -> None:
    """The messages in `holder` that are off, and the switches of all others.  ask_nms: nms_param may be off."""
    for field, value in holder.ListFields():
        if not field.message_type or "option" not in field.message_type.fields_by_name:
            continue
        several = is_repeated(field)
        for index, message in reversed(list(enumerate(value if several else [value]))):
            if _is_on(message) or (field.name == "nms_param" and not ask_nms):
                for switch in filter(message.DESCRIPTOR.fields_by_name.get, ("option", "active")):
                    message.ClearField(switch)
            elif several:
                del value[index]
            else:
                holder.ClearField(field.name)


def _is_on(message: Any) -> bool:
    """Whether a message counts: `active` says so, or its option; without both it does, as SSD's."""
    if "active" in message.DESCRIPTOR.fields_by_name and message.HasField("active"):
        return message.active
    return message.option.active or not message.option.HasField("active")
