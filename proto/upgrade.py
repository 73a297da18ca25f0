"""Nets and solvers of older Caffe in today's form: messages to messages, with the locations of their layers.

In Caffe's order: V0 layers (2013) to V1, the image transformation out of the V1 data layers, V1 layers
(2013/14) to today's, `input:` fields to an Input layer, BatchNorm's three blobs out of the solver's
hands; and for solvers `solver_type` to `type`.
"""

from __future__ import annotations

import os
import re

from demitasse.proto.errors import SchemaFault, Where, located
from demitasse.proto.messages import LayerParameter, NetParameter, SolverParameter, V1LayerParameter, is_repeated
from demitasse.proto.upgrade_forks import upgrade_fork_layer
from demitasse.proto.upgrade_series import upgrade_series
from demitasse.proto.upgrade_v0 import renamed, upgrade_layers
from demitasse.proto.warning import warn

Marks = dict[str, Where]

_V1_NAMES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BN": "BN",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "TANH": "TanH",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "CONVOLUTION3D": "Convolution3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "POOLING3D": "Pooling3D",
    "K1_EUCLIDEAN_LOSS": "K1_EuclideanLoss",
    "K2_EUCLIDEAN_LOSS": "K2_EuclideanLoss",
    "VOXEL_SOFTMAX_LOSS": "VoxelSoftmaxWithLoss",
}
_V1_FIELDS = {
    "param": "param[{}].name",
    "blob_share_mode": "param[{}].share_mode",
    "blobs_lr": "param[{}].lr_mult",
    "weight_decay": "param[{}].decay_mult",
}
_TRANSFORMED = {
    "DATA": "data_param",
    "IMAGE_DATA": "image_data_param",
    "WINDOW_DATA": "window_data_param",
    "VIDEO_DATA": "image_data_param",  # C3D, this and the next two
    "VIDEO_SEGMENTATION_DATA": "image_data_param",
    "VIDEO_WITH_VOXEL_TRUTH_DATA": "image_data_param",
}
_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
    "ADAMW": "AdamW",  # MyCaffe's alone
}


def upgrade_net(net: NetParameter, marks: Marks | None = None) -> list[Where]:
    """Bring a net to today's form, in place; the location of each of its layers then, from the marks of its text.

    SchemaFault where it mixes generations in a way that its text does not order.
    """
    marks = marks or {}
    wheres, todays = _layer_locations(marks, "layers", len(net.layers)), list(net.layer)
    todays_wheres = _layer_locations(marks, "layer", len(todays))
    if any(layer.HasField("layer") for layer in net.layers):
        if todays:
            raise SchemaFault(
                'the net has `layer` of today and `layers` of 2013: write all as layer { type: "Convolution" ... }',
                marks.get("layers"),
            )
        wheres = upgrade_layers(net, wheres)
    if net.layers:
        wheres = [_upgrade_v1(old, net.layer.add(), where) for old, where in zip(net.layers, wheres, strict=True)]
        del net.layers[:]
    wheres = _ordered(net, len(todays), todays_wheres + wheres) if todays and wheres else todays_wheres + wheres
    if net.input:
        wheres.insert(0, _upgrade_inputs(net, marks))
    for layer, where in zip(net.layer, wheres, strict=True):
        with located(where, f"'{layer.name}' ({layer.type})"):
            upgrade_fork_layer(layer)
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for param in layer.param:
                param.lr_mult = param.decay_mult = 0
    upgrade_series(net)
    return wheres


def _ordered(net: NetParameter, todays: int, wheres: list[Where]) -> list[Where]:
    """Bring `layers`, which lie upgraded behind the `layer` of today, among those as the text has them.

    MyCaffe reads such nets; Caffe loses the layers of today's form.
    """
    mixed = "the net has both `layer` and `layers`, today's form and that of 2014"
    if not all(where.line for where in wheres):
        raise SchemaFault(f'{mixed}: write all as layer {{ type: "Convolution" ... }}')
    order = sorted(range(len(wheres)), key=lambda i: (wheres[i].line, wheres[i].column))
    warn(f"{wheres[todays]}: {mixed}, which Caffe does not read; `netdef upgrade` writes all in today's")
    layers = [net.layer[i] for i in order]
    del net.layer[:]
    net.layer.extend(layers)
    return [wheres[i] for i in order]


def _layer_locations(marks: Marks, name: str, count: int) -> list[Where]:
    """A Where for each layer, its fields taken from the marks below `name[i]`."""
    fields: list[Marks] = [{} for _ in range(count)]
    for path, location in marks.items():
        if path.startswith(name + "["):
            index, _, rest = path[len(name) + 1 :].partition("]")
            if rest:
                fields[int(index)][rest[1:]] = location
    locations = [marks.get(f"{name}[{i}]", Where()) for i in range(count)]
    return [
        Where(location.file, location.line, location.column, inside)
        for location, inside in zip(locations, fields, strict=True)
    ]


def _upgrade_v1(old: V1LayerParameter, new: LayerParameter, where: Where) -> Where:
    _move_transformation(old)
    if old.HasField("softmaxloss_param"):
        old.loss_param.MergeFrom(old.softmaxloss_param)
        old.ClearField("softmaxloss_param")
    new.type = todays_type(V1LayerParameter.LayerType.Name(old.type))
    for name, attribute in (
        ("param", "name"),
        ("blob_share_mode", "share_mode"),
        ("blobs_lr", "lr_mult"),
        ("weight_decay", "decay_mult"),
    ):
        for i, value in enumerate(getattr(old, name)):
            while len(new.param) <= i:
                new.param.add()
            setattr(new.param[i], attribute, value)
    for field, value in old.ListFields():
        if field.name in _V1_FIELDS or field.name == "type":
            continue
        if is_repeated(field):
            getattr(new, field.name).extend(value)
        elif field.message_type:
            getattr(new, field.name).CopyFrom(value)
        else:
            setattr(new, field.name, value)

    def rename(path: str) -> str:
        name, _, index = path.partition("[")
        return _V1_FIELDS[name].format(index.rstrip("]") or 0) if name in _V1_FIELDS else path

    return renamed(where, rename)


def todays_type(v1: str) -> str:
    """Today's name of a V1 layer type: "Convolution" of CONVOLUTION."""
    return _V1_NAMES.get(v1, "".join(word.capitalize() for word in v1.split("_")))


def _move_transformation(layer: V1LayerParameter) -> None:
    """scale, mean_file, crop_size and mirror of a data layer become its transform_param."""
    name = _TRANSFORMED.get(V1LayerParameter.LayerType.Name(layer.type))
    if not name or not layer.HasField(name):
        return
    source = getattr(layer, name)
    for field in ("scale", "mean_file", "crop_size", "mirror"):
        if source.HasField(field):
            setattr(layer.transform_param, field, getattr(source, field))
            source.ClearField(field)
    if name == "window_data_param":
        layer.transform_param.mean_value.extend(source.const_mean)
        source.ClearField("const_mean")


def _upgrade_inputs(net: NetParameter, marks: Marks) -> Where:
    """The net's input fields become its first layer; without shapes, for whoever builds the net to give them."""
    shapes, dims = len(net.input_shape), len(net.input_dim)
    with located(marks.get("input_shape") or marks.get("input_dim") or marks.get("input")):
        if shapes and dims:
            raise SchemaFault("give the inputs' sizes as input_shape or as input_dim, not both")
        if shapes and shapes != len(net.input):
            raise SchemaFault(f"{len(net.input)} inputs but {shapes} input_shape: one for each is needed")
        if dims and dims != 4 * len(net.input):
            raise SchemaFault(f"{len(net.input)} inputs but {dims} input_dim: four for each are needed")
    names = {layer.name for layer in net.layer}
    layer = LayerParameter(name="input", type="Input", top=net.input)
    while layer.name in names:
        layer.name += "_"
    layer.input_param.SetInParent()
    layer.input_param.shape.extend(net.input_shape)
    for i in range(0, dims, 4):
        layer.input_param.shape.add(dim=net.input_dim[i : i + 4])
    layers = [layer, *net.layer]
    for name in ("input", "input_shape", "input_dim", "layer"):
        net.ClearField(name)
    net.layer.extend(layers)

    def rename(path: str) -> str | None:
        if dim := re.fullmatch(r"input_dim\[(\d+)\]", path):
            return f"input_param.shape[{int(dim[1]) // 4}].dim[{int(dim[1]) % 4}]"
        parts = re.fullmatch(r"(\w+)(\[\d+\])?(.*)", path)
        if parts is None:
            return None
        name, index, rest = parts.groups()
        new = {"input": "top", "input_shape": "input_param.shape"}.get(name)
        return new and new + (index or "") + rest

    first = marks.get("input", Where())
    return renamed(Where(first.file, first.line, first.column, marks), rename)


def upgrade_solver(solver: SolverParameter, marks: Marks | None = None) -> None:
    """`solver_type: ADAM`, and MyCaffe's `type: ADAM`, become `type: "Adam"`, in place.  SchemaFault where both are."""
    measures = {"integral": "Integral", "maxintegral": "MaxIntegral"}  # MyCaffe's
    if solver.ap_version in measures:
        solver.ap_version = measures[solver.ap_version]
    if not solver.HasField("solver_type"):
        if solver.HasField("type") and solver.type in _SOLVER_TYPES:
            solver.type = _SOLVER_TYPES[solver.type]
        return
    if solver.HasField("type"):
        raise SchemaFault(
            "the solver has both `type` and the old `solver_type`: keep type", (marks or {}).get("solver_type")
        )
    solver.type = _SOLVER_TYPES[SolverParameter.SolverType.Name(solver.solver_type)]
    solver.ClearField("solver_type")


def complete_snapshot_prefix(solver: SolverParameter, path: str) -> None:
    """No snapshot_prefix: the solver file's path without its ending; a folder: the file's name in there."""
    stem = os.path.splitext(path)[0]
    if not solver.snapshot_prefix:
        solver.snapshot_prefix = stem
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
