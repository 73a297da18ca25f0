"""Caffe's binary files: weights (.caffemodel of every generation), solver states, means.

Layers of today (`layer`), of 2014 (V1, `layers`) and of 2013 (V0, a layer inside `layers`) differ in
where their name and their blobs lie; the blobs themselves are the same message.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from google.protobuf.message import DecodeError

from demitasse.proto import wire
from demitasse.proto.errors import WeightsFault
from demitasse.proto.files import fault, write_chunks
from demitasse.proto.messages import (
    LayerParameter,
    NetParameter,
    SolverState,
    V0LayerParameter,
    V1LayerParameter,
    is_repeated,
)

LIMIT = 2**31 - 1  # protobuf's, and so Caffe's, for one file


def _number(message, name: str) -> int:
    return message.DESCRIPTOR.fields_by_name[name].number


_LAYER, _LAYERS = _number(NetParameter, "layer"), _number(NetParameter, "layers")
_BLOBS = _number(LayerParameter, "blobs")
_GENERATIONS = {  # field of the net -> its messages, and where they keep their blobs
    _LAYER: (LayerParameter, (_BLOBS,)),
    _LAYERS: (
        V1LayerParameter,
        (_number(V1LayerParameter, "blobs"), _number(V1LayerParameter, "layer"), _number(V0LayerParameter, "blobs")),
    ),
}
_HISTORY = _number(SolverState, "history")

Blobs = list[tuple[np.ndarray, "np.ndarray | None"]]  # data and diff of each


@dataclasses.dataclass
class SolverFile:
    """What a .solverstate holds: arrays in the order of the learned parameters, then of their second history."""

    iter: int = 0
    learned_net: str = ""
    history: list[np.ndarray] = dataclasses.field(default_factory=list)
    current_step: int = 0


def read_net(data: memoryview, path: str | os.PathLike) -> tuple[NetParameter, list[tuple[str, Blobs]]]:
    """(the net without its blobs, [(layer name, blobs)] in its order): the arrays are views of `data`."""
    _check_kind(data, path, "net")
    rest: list = []
    layers: list[tuple[LayerParameter | V1LayerParameter, Blobs]] = []
    try:
        for number, kind, at, start, stop in wire.fields(data, 0, len(data)):
            if kind == wire.BYTES and number in _GENERATIONS:
                generation, fields = _GENERATIONS[number]
                text, blobs = _cut(data, start, stop, *fields)
                layers.append((_parsed(generation, text), blobs))
            else:
                rest.append(data[at:stop])
        net = _parsed(NetParameter, b"".join(rest))
    except wire.Damaged as error:
        raise _damaged(data, path, error, _position(layers)) from None
    except (DecodeError, UnicodeDecodeError):
        raise fault(path, f"the description of the net is damaged, {_position(layers)}") from None
    if not layers:
        raise fault(path, "not a .caffemodel: there is no layer in it")
    for layer, _ in layers:
        (net.layer if isinstance(layer, LayerParameter) else net.layers).append(layer)
    return net, [(_name(layer), blobs) for layer, blobs in layers]


def _parsed(kind, data: bytes):
    """The message of these bytes; names and paths in another encoding than UTF-8 are made text."""
    message = kind.FromString(data)
    _make_text(message)
    return message


def _make_text(message) -> None:
    for field, value in message.ListFields():
        if field.message_type:
            for inner in value if is_repeated(field) else (value,):
                _make_text(inner)
        elif field.type == field.TYPE_STRING and is_repeated(field):
            for i, item in enumerate(value):
                if isinstance(item, bytes):
                    value[i] = item.decode("utf-8", "replace")
        elif field.type == field.TYPE_STRING and isinstance(value, bytes):
            setattr(message, field.name, value.decode("utf-8", "replace"))


def _name(layer) -> str:
    return layer.layer.name if isinstance(layer, V1LayerParameter) and layer.HasField("layer") else layer.name


def _position(layers) -> str:
    return f"after layer '{_name(layers[-1][0])}'" if layers else "before the first layer is complete"


def _cut(data, start: int, end: int, blobs_field: int, inner_field: int = 0, inner_blobs_field: int = 0):
    """(a message's bytes without its blobs, the blobs); those of a message inside it in a certain field too."""
    rest, blobs = [], []
    for number, kind, at, value, stop in wire.fields(data, start, end):
        if kind == wire.BYTES and number == blobs_field:
            blobs.append(wire.read_blob(data, value, stop))
        elif kind == wire.BYTES and number == inner_field:
            inner, inner_blobs = _cut(data, value, stop, inner_blobs_field)
            rest += [wire.tag(number, kind), wire.varint(len(inner)), inner]
            blobs += inner_blobs
        else:
            rest.append(data[at:stop])
    return b"".join(rest), blobs


def _damaged(data, path, error: wire.Damaged, where: str) -> WeightsFault:
    if error.truncated:
        what = f"truncated at byte {len(data):,}, {where}: copy or download it again ({error})"
    else:
        what = f"damaged at byte {error.offset:,}, {where}: {error}"
    return fault(path, what)


_KINDS = {
    "net": ("the weights of a net", ".caffemodel"),
    "state": ("a solver's state", ".solverstate"),
    "blob": ("a single array (a mean)", ".binaryproto"),
}


def _check_kind(data, path, wanted: str) -> None:
    """Refuse what begins like another of Caffe's files."""
    try:
        found = _kind(data) or wanted
    except wire.Damaged as error:
        if not error.truncated:
            raise fault(path, f"none of Caffe's binary files, nor of a format known here ({error})") from None
        return
    if found != wanted:
        raise fault(
            path, f"this file holds {_KINDS[found][0]}: give the {_KINDS[wanted][1]}, which holds {_KINDS[wanted][0]}"
        )


def _kind(data) -> str:
    """Which of Caffe's messages a file is, by the types of its first two fields; empty if they do not tell."""
    first, kind, _, stop = wire.read_field(data, 0, len(data))
    if first in (_LAYER, _LAYERS) or (first, kind) == (1, wire.BYTES):
        return "net" if kind == wire.BYTES else ""
    if (first, kind) == (1, wire.VARINT):  # a state's iteration, or a legacy blob's first size
        if stop == len(data):
            return "state"
        second, kind, *_ = wire.read_field(data, stop, len(data))
        return "blob" if (second, kind) == (2, wire.VARINT) else "state" if second <= 4 else ""
    return "blob" if first in (5, 7) and kind == wire.BYTES else ""


def write_net(path: str | os.PathLike, net: NetParameter, blobs: list[Blobs]) -> None:
    """Write a net with the blobs of each of its layers as real Caffe does, byte for byte.

    Raises WeightsFault for more than 2 GB, which neither protobuf nor Caffe could read back.
    """
    head = NetParameter()
    head.CopyFrom(net)
    head.ClearField("layer")
    chunks: list = [head.SerializeToString()]
    for layer, arrays in zip(net.layer, blobs, strict=True):
        body = _layer_chunks(layer, arrays)
        chunks += [wire.tag(_LAYER, wire.BYTES) + wire.varint(wire.size(body)), *body]
    _write(path, chunks)


def _layer_chunks(layer: LayerParameter, arrays: Blobs) -> list:
    text = LayerParameter()
    text.CopyFrom(layer)
    text.ClearField("blobs")
    data = text.SerializePartialToString()
    split = next((at for n, _, at, _, _ in wire.fields(data, 0, len(data)) if n > _BLOBS), len(data))
    chunks: list = [data[:split]]
    for values, diff in arrays:
        chunks += _field_chunks(_BLOBS, wire.blob_chunks(values, diff))
    return [*chunks, data[split:]]


def _field_chunks(number: int, chunks: list) -> list:
    return [wire.tag(number, wire.BYTES) + wire.varint(wire.size(chunks)), *chunks]


def _write(path, chunks: list) -> None:
    total = wire.size(chunks)
    if total > LIMIT:
        raise fault(
            path,
            f"{total / 1e9:.1f} GB do not fit into one of Caffe's binary files (2 GB at most): "
            "write .h5 or .safetensors instead",
        )
    write_chunks(path, chunks)


def read_state(data: memoryview, path: str | os.PathLike) -> SolverFile:
    """A .solverstate."""
    _check_kind(data, path, "state")
    rest, history = [], []
    try:
        for number, kind, at, start, stop in wire.fields(data, 0, len(data)):
            if number == _HISTORY and kind == wire.BYTES:
                history.append(wire.read_blob(data, start, stop)[0])
            else:
                rest.append(data[at:stop])
        state = _parsed(SolverState, b"".join(rest))
    except wire.Damaged as error:
        raise _damaged(data, path, error, f"in history {len(history)}") from None
    except (DecodeError, UnicodeDecodeError) as error:
        raise fault(path, "not a solver state", error) from None
    if not state.HasField("iter"):
        raise fault(path, "not a solver state: there is no iteration in it")
    return SolverFile(state.iter, state.learned_net, history, state.current_step)


def write_state(path: str | os.PathLike, state: SolverFile) -> None:
    """A .solverstate as Caffe writes it."""
    head = SolverState(iter=state.iter, learned_net=state.learned_net).SerializeToString()
    tail = SolverState(current_step=state.current_step).SerializeToString()
    history = [chunk for values in state.history for chunk in _field_chunks(_HISTORY, wire.blob_chunks(values))]
    _write(path, [head, *history, tail])


def read_blob(data: memoryview, path: str | os.PathLike) -> np.ndarray:
    """The array of a .binaryproto, in the shape that the file gives it."""
    _check_kind(data, path, "blob")
    try:
        return wire.read_blob(data, 0, len(data))[0]
    except wire.Damaged as error:
        raise _damaged(data, path, error, "in its only array") from None
