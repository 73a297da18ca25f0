"""What the commands of `python -m netdef` do, as functions on files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from demitasse.layers.layer import Shape, layer_class, layer_types
from demitasse.netdef.diff import diff_nets, diff_weights
from demitasse.netdef.graph import label_of
from demitasse.netdef.phase import filter_net
from demitasse.netdef.plan import Plan
from demitasse.netdef.wording import shape_text
from demitasse.proto import upgrade as generations
from demitasse.proto.errors import GraphFault, NetError, SchemaFault, ShapeFault, WeightsFault, printable
from demitasse.proto.files import map_file, replacing
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import format as format_message
from demitasse.proto.text import parse, read_net, text_of
from demitasse.proto.unknown_fields import require_none_refused
from demitasse.proto.weights import read_model, read_weights, write_weights

IMAGE_AXES = 4


def complete_inputs(net: str, shapes: Mapping[str, Shape], phase: str) -> dict[str, Shape]:
    """Where a data layer's image is given a size, its other tops are taken to be label maps of that size, or, where
    these do not fit, a label for each item.

    SchemaFault for a size without the batch.
    """
    written, wheres = read_net(net)
    message, _ = filter_net(written, wheres, phase)
    complete = dict(shapes)
    for layer in message.layer:
        given = [shapes[top] for top in layer.top if top in shapes]
        declared = {len(shape.dim) for shape in layer.input_param.shape} or {IMAGE_AXES}
        for top in layer.top:
            shape = shapes.get(top, ())
            if not layer.bottom and len(shape) == IMAGE_AXES - 1 and declared == {IMAGE_AXES}:
                text = shape_text(shape)
                raise SchemaFault(f"--input {top}={text} has three axes, without the batch: write {top}=1x{text}")
        if layer.bottom or not given or layer.type == "Input":
            continue
        batch = given[0]
        label = (batch[0], 1, *batch[2:]) if len(batch) == IMAGE_AXES else batch[:1]
        complete.update((top, label) for top in layer.top if top not in shapes)
    if len(complete) > len(shapes) and not _fits(net, phase, complete):
        complete |= {top: shape[:1] for top, shape in complete.items() if top not in shapes}
    return complete


def _fits(net: str, phase: str, shapes: Mapping[str, Shape]) -> bool:
    """Whether no layer refuses the sizes that follow from these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Plan(net, phase, inputs=shapes).close()
        except ShapeFault:
            return False
        except NetError:
            pass  # of another kind, which is told when the net is built
    return True


def input_hint(net: str, inputs: Mapping[str, Shape], error: NetError) -> str:
    """How to size the net all the same, where it is a layer without bottoms that has failed."""
    if isinstance(error, GraphFault):  # how it is wired does not depend on what it makes
        return ""
    layer, (message, _) = error.layer, read_net(net)
    for spec in message.layer:
        if not spec.bottom and layer == label_of(spec) and _makes_data(spec.type):
            options = " ".join(f"--input {top}=1x3x500x500" for top in spec.top[:1] if top not in inputs)
            return f"; to size the net without this layer: {options}"
    return ""


def _makes_data(type_name: str) -> bool:
    return type_name in layer_types() and layer_class(type_name).bottoms[0] == 0


def upgrade(source: str, target: str) -> str:
    """Bring a prototxt (net or solver) or a .caffemodel to today's form; returns what to tell the user.

    NetError of what cannot be read or written.
    """
    if _is_text(source):
        message = _upgraded_text(source)
        with replacing(target) as temporary:
            temporary.write_text(format_message(message), encoding="utf-8")
    else:
        message, layers = read_model(source)
        if message is None:
            raise WeightsFault(f"{source}: the format holds no net to upgrade; `convert` changes the format of weights")
        write_weights(target, layers, net=message)
    return f"wrote {printable(target)}: {message.DESCRIPTOR.name} in today's form"


def _upgraded_text(source: str) -> NetParameter | SolverParameter:
    try:
        net, wheres = read_net(source)
    except NetError as not_a_net:
        try:
            solver, marks = parse(text_of(source)[0], SolverParameter, source)
        except NetError:
            raise not_a_net from None
        generations.upgrade_solver(solver, marks)
        return solver
    for layer, where in zip(net.layer, wheres, strict=True):
        require_none_refused(layer, where)  # a field that counts would be lost
    return net


ENDINGS = (".caffemodel", ".h5", ".hdf5", ".npz", ".safetensors")


def convert(source: str, target: str, net: str | None = None) -> str:
    """Write the weights of a file in the format of the target's ending; returns what to tell the user."""
    message, layers = read_model(source)
    if net is not None:
        message, _ = read_net(net)
    write_weights(target, layers, net=message)
    values = sum(array.size for arrays in layers.values() for array in arrays if array is not None)
    kind = "" if target.endswith(ENDINGS) else " (a .caffemodel)"
    return f"wrote {printable(target)}{kind}: {len(layers)} layers, {values:,} values"


def diff(first: str, second: str) -> list[str]:
    """The differences of two nets (both prototxt) or of two weights files."""
    if _is_text(first) and _is_text(second):
        lines = diff_nets(read_net(first)[0], read_net(second)[0])
    else:
        lines = diff_weights(read_weights(first), read_weights(second))
    return list(map(printable, lines))


def _is_text(path: str) -> bool:
    """Weights of any format have a zero byte early on."""
    return b"\0" not in bytes(map_file(path)[: 1 << 16])
