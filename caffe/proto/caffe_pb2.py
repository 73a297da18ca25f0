"""The message classes and enums of caffe.proto under the name that scripts know."""

from demitasse.proto import messages

DESCRIPTOR = messages.pool.FindFileByName("caffe.proto")
__all__ = [
    *DESCRIPTOR.message_types_by_name,
    *DESCRIPTOR.enum_types_by_name,
    *(value for enum in DESCRIPTOR.enum_types_by_name.values() for value in enum.values_by_name),
]
globals().update((name, getattr(messages, name)) for name in __all__)
