"""An ONNX graph as a Caffe net: operator by operator (netdef.onnx.operators), each checked by the layer it becomes.

Sizes must be known: what a graph computes of shapes is computed here, once and for all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from demitasse.layers.layer import Shape
from demitasse.netdef.onnx.builder import Blob, Builder, Unsupported, held, layer_of
from demitasse.netdef.onnx.operators.constants import constant_of
from demitasse.netdef.onnx.origin import recalled
from demitasse.netdef.wording import count_text, some
from demitasse.proto.errors import NetError, SchemaFault, Where, located, printable
from demitasse.proto.files import make_folder, write_text
from demitasse.proto.messages import NetParameter
from demitasse.proto.onnx_file import LARGEST, Model, read
from demitasse.proto.text import format as format_message
from demitasse.proto.weights import write_weights

FILES = (".prototxt", ".caffemodel", ".onnx", ".npz", ".h5", ".safetensors")  # what is meant as a file, no folder


def net_of(model: Model, sizes: Mapping[str, Shape]) -> tuple[NetParameter, dict[str, list[np.ndarray]]]:
    """The net, and {layer: its learned arrays, of the shapes of its params}.  SchemaFault names every operator that
    has no layer, and why."""
    _check_names(model, sizes)
    _check_wires(model)
    if known := recalled(model, sizes):
        return known
    builder, faults = Builder(model, sizes), []
    for node in model.nodes:
        inputs = [name for name in node.inputs if name]
        if any(name not in builder.values for name in inputs):
            continue  # of one that has no layer
        try:
            if not constant_of(builder, node):
                layer_of(builder, node)
        except (Unsupported, NetError) as error:
            faults.append(f"{node.op} '{node.outputs[0]}' ({error.what if isinstance(error, NetError) else error})")
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:  # what a file may say
            faults.append(f"{node.op} '{node.outputs[:1]}' (its attributes or inputs make no sense: {error})")
    if faults:
        raise SchemaFault(f"no Caffe layer for {count_text(len(faults), 'operator')}: {some(faults, 6)}")
    for give in (_call, _leave_unread):
        for name in [name for name in model.outputs if name not in model.inputs]:
            give(builder, name)
    return builder.net, builder.weights


def _check_names(model: Model, sizes: Mapping[str, Shape]) -> None:
    """SchemaFault for sizes of what is no input, or has another number of axes."""
    for name, shape in sizes.items():
        given = f"--input {name}={'x'.join(map(str, shape))}"
        if name not in model.inputs:
            raise SchemaFault(f"{given}: the file has no input '{name}', its inputs are {some(model.inputs, 6)}")
        _, claimed = model.inputs[name]
        if claimed and len(claimed) != len(shape):
            axes = "x".join(str(size or "?") for size in claimed)
            raise SchemaFault(f"{given}: the file's '{name}' has {len(claimed)} axes, {axes}; give as many sizes")


def _check_wires(model: Model) -> None:
    """SchemaFault where a graph reads or gives what nothing in it makes, or gives nothing."""
    made = {*model.arrays, *model.inputs, ""}
    for node in model.nodes:
        lacking = [name for name in node.inputs if name not in made]
        if lacking:
            what = f"{node.op} '{node.outputs[0]}' reads '{lacking[0]}'"
            raise SchemaFault(f"{what}, which is no input, no constant and of no operator before it: export it anew")
        made.update(node.outputs)
    lacking = [name for name in model.outputs if name not in made]
    if lacking or not model.outputs:
        raise SchemaFault(f"no operator makes the output '{lacking[0]}'" if lacking else "the graph has no output")


def _call(builder: Builder, name: str) -> None:
    """Let an output have the name that the graph gives it, where it is another's."""
    value = builder.values.get(name)
    if isinstance(value, np.ndarray):
        held(builder, value, name)
    elif isinstance(value, Blob) and value.name != name:
        builder.layer("Split", [value], name)


def _leave_unread(builder: Builder, name: str) -> None:
    """Let an output be read by no layer, as Caffe's outputs are: the others read it under another name."""
    if not any(name in spec.bottom for spec in builder.net.layer):
        return
    blob = builder.blob(name)
    other = Blob(f"{name}/value", blob.shape)
    for spec in builder.net.layer:
        for names in (spec.bottom, spec.top):
            names[:] = [other.name if name == blob.name else name for name in names]
        if spec.name == blob.name:
            spec.name = other.name
    if blob.name in builder.weights:
        builder.weights[other.name] = builder.weights.pop(blob.name)
    builder.layer("Split", [other], name)


def import_file(source: str, folder: str, sizes: Mapping[str, Shape]) -> str:
    """Write an ONNX file as NAME.prototxt and NAME.caffemodel (.caffemodel.h5 where that would be above 2 GB) into a
    folder; returns what to tell the user.  SchemaFault as of `net_of`, and where the folder is a file."""
    if os.path.isfile(folder) or folder.endswith(FILES):
        raise SchemaFault(f"{printable(folder)}: give a folder, in which a prototxt and a caffemodel are written")
    model = read(source)
    with located(Where(source), None):
        net, weights = net_of(model, sizes)
    make_folder(folder)
    stem = os.path.join(folder, os.path.splitext(os.path.basename(source))[0])
    size = sum(array.nbytes for arrays in weights.values() for array in arrays)
    ending = ".caffemodel" if size < LARGEST else ".caffemodel.h5"  # Caffe's own form for what no message holds
    write_weights(stem + ending, weights, net=net)
    write_text(f"{stem}.prototxt", format_message(net))
    return f"wrote {printable(stem)}.prototxt and {ending}: {count_text(len(net.layer), 'layer')}"
