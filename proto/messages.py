"""The message classes of caffe.proto: `NetParameter`, `LayerParameter`, `SolverParameter`, ... by name.

caffe.proto is given to protobuf as a descriptor (schema.py): no generated code, which would be tied to one protobuf
version.
Every message and enum of the file is an attribute of this module, and so are the values of the enums
outside messages, as on generated modules:

    net = messages.NetParameter(name="fcn8s")
    rule.phase = messages.TRAIN
    messages.PoolingParameter.MAX, messages.Phase.Value("TEST")
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from demitasse.proto import schema

if hasattr(FieldDescriptor, "is_repeated"):

    def is_repeated(field: FieldDescriptor) -> bool:
        """Whether a field holds a list."""
        return field.is_repeated

    def is_required(field: FieldDescriptor) -> bool:
        """Whether a field must be given."""
        return field.is_required
else:  # protobuf before 6.31; later versions warn of `label`

    def is_repeated(field: FieldDescriptor) -> bool:
        """Whether a field holds a list."""
        return field.label == FieldDescriptor.LABEL_REPEATED  # type: ignore[attr-defined]

    def is_required(field: FieldDescriptor) -> bool:
        """Whether a field must be given."""
        return field.label == FieldDescriptor.LABEL_REQUIRED  # type: ignore[attr-defined]


@functools.cache
def required_fields(descriptor: Descriptor) -> list[str]:
    """The fields of a message that must be given."""
    return [field.name for field in descriptor.fields if is_required(field)]


if TYPE_CHECKING:  # what _publish adds is known to nobody before it runs

    def __getattr__(name: str) -> Any: ...


pool = descriptor_pool.DescriptorPool()  # our own: a generated caffe_pb2 may live in the default one


def _publish() -> None:
    pool.AddSerializedFile(schema.descriptor())
    described = pool.FindFileByName(schema.SCHEMA.name)
    for name, message in described.message_types_by_name.items():
        globals()[name] = message_factory.GetMessageClass(message)
    for name, enum in described.enum_types_by_name.items():
        globals()[name] = EnumTypeWrapper(enum)
        globals().update((value.name, value.number) for value in enum.values)


_publish()
