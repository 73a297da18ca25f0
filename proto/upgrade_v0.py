"""Layers of 2013 (`layers { layer { ... } bottom: ... }`) in the form of 2014, with their locations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from demitasse.proto.errors import SchemaFault, Where, did_you_mean, located
from demitasse.proto.messages import NetParameter, V1LayerParameter, is_repeated
from demitasse.proto.warning import warn

_TYPES = {"conv": "CONVOLUTION", "pool": "POOLING", "innerproduct": "INNER_PRODUCT", "images": "IMAGE_DATA"}
_TYPES.update(
    {
        name: name.upper()
        for name in (
            "accuracy bnll concat data dropout euclidean_loss flatten hdf5_data hdf5_output im2col infogain_loss lrn "
            "multinomial_logistic_loss relu sigmoid softmax softmax_loss split tanh window_data "
            "K1_euclidean_loss K2_euclidean_loss"
        ).split()
    }
)

# Where each type keeps its parameters today, and for each old field its new name and the types that have it.
_HOMES = {
    "conv": "convolution_param",
    "innerproduct": "inner_product_param",
    "pool": "pooling_param",
    "dropout": "dropout_param",
    "lrn": "lrn_param",
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
    "concat": "concat_param",
    "infogain_loss": "infogain_loss_param",
}
_FIELDS = {
    "num_output": ("num_output", "conv innerproduct"),
    "biasterm": ("bias_term", "conv innerproduct"),
    "weight_filler": ("weight_filler", "conv innerproduct"),
    "bias_filler": ("bias_filler", "conv innerproduct"),
    "pad": ("pad", "conv pool"),
    "kernelsize": ("kernel_size", "conv pool"),
    "stride": ("stride", "conv pool"),
    "group": ("group", "conv"),
    "pool": ("pool", "pool"),
    "dropout_ratio": ("dropout_ratio", "dropout"),
    "local_size": ("local_size", "lrn"),
    "alpha": ("alpha", "lrn"),
    "beta": ("beta", "lrn"),
    "k": ("k", "lrn"),
    "source": ("source", "data hdf5_data images window_data infogain_loss"),
    "batchsize": ("batch_size", "data hdf5_data images window_data"),
    "rand_skip": ("rand_skip", "data images"),
    "shuffle_images": ("shuffle", "images"),
    "new_height": ("new_height", "images"),
    "new_width": ("new_width", "images"),
    "det_fg_threshold": ("fg_threshold", "window_data"),
    "det_bg_threshold": ("bg_threshold", "window_data"),
    "det_fg_fraction": ("fg_fraction", "window_data"),
    "det_context_pad": ("context_pad", "window_data"),
    "det_crop_mode": ("crop_mode", "window_data"),
    "concat_dim": ("concat_dim", "concat"),
}
_EVERY_TYPE = {
    "name": "name",
    "blobs": "blobs",
    "blobs_lr": "blobs_lr",
    "weight_decay": "weight_decay",
    "scale": "transform_param.scale",
    "meanfile": "transform_param.mean_file",
    "cropsize": "transform_param.crop_size",
    "mirror": "transform_param.mirror",
}


def upgrade_layers(net: NetParameter, wheres: list[Where]) -> list[Where]:
    """Bring net.layers from V0 to V1, in place; the locations of the layers that remain."""
    kept = _fuse_padding(net, wheres)
    layers = [_upgrade_layer(layer, where) for layer, where in kept]
    locations = [renamed(where, partial(_renamed, kind=layer.layer.type)) for layer, where in kept]
    del net.layers[:]
    net.layers.extend(layers)
    return locations


def renamed(where: Where, rename: Callable[[str], str | None]) -> Where:
    """The location with its fields' paths renamed; None drops one."""
    fields = {new: location for old, location in where.fields.items() if (new := rename(old))}
    return Where(where.file, where.line, where.column, fields)


def _fuse_padding(net: NetParameter, wheres: list[Where]):
    """(layer, where) of all but the padding layers, whose pad and bottom go to the conv or pool after them."""
    kept: list[tuple[V1LayerParameter, Where]] = []
    makers: dict[str, V1LayerParameter] = {}  # blob -> the layer that made it last
    for layer, where in zip(net.layers, wheres, strict=True):
        with located(where, f"'{layer.layer.name}' ({layer.layer.type})"):
            for i, bottom in enumerate(layer.bottom):
                padding = makers.get(bottom)
                if padding is None or padding.layer.type != "padding":
                    continue
                if layer.layer.type not in ("conv", "pool"):
                    raise SchemaFault(f"a padding layer ('{padding.layer.name}') can only be followed by conv or pool")
                if not len(layer.bottom) == len(padding.bottom) == len(padding.top) == 1:
                    raise SchemaFault(
                        f"the padding layer '{padding.layer.name}' and this one need a single bottom and top each"
                    )
                layer.layer.pad = padding.layer.pad
                layer.bottom[i] = padding.bottom[0]
            makers.update(dict.fromkeys(layer.top, layer))
        if layer.layer.type != "padding":
            kept.append((layer, where))
    return kept


def _path(field: str, kind: str) -> str | None:
    """Where a V0 field of a layer of this kind is kept in V1, or None."""
    if field in _EVERY_TYPE:
        return _EVERY_TYPE[field]
    if field == "hdf5_output_param" and kind == "hdf5_output":
        return field
    name, kinds = _FIELDS.get(field, ("", ""))
    return f"{_HOMES[kind]}.{name}" if kind in kinds.split() else None


def _upgrade_layer(old: V1LayerParameter, where: Where) -> V1LayerParameter:
    if not old.HasField("layer"):  # V1 already
        new = V1LayerParameter()
        new.CopyFrom(old)
        return new
    new, inner = V1LayerParameter(bottom=old.bottom, top=old.top), old.layer
    with located(where, f"'{inner.name}'"):
        if inner.type not in _TYPES:
            raise SchemaFault(f"unknown V0 layer type '{inner.type}'{did_you_mean(inner.type, _TYPES)}")
        new.type = V1LayerParameter.LayerType.Value(_TYPES[inner.type])
        for field, value in inner.ListFields():
            if field.name == "type":
                continue
            path = _path(field.name, inner.type)
            if path is None:
                location = f"{where}: " if where.line else ""
                warn(
                    f"{location}layer '{inner.name}': '{field.name}' means nothing to a layer of V0 type "
                    f"'{inner.type}' and is dropped"
                )
                continue
            *home, name = path.split(".")
            target = getattr(new, home[0]) if home else new
            _set(target, target.DESCRIPTOR.fields_by_name[name], value, is_repeated(field))
    return new


def _set(target, field, value, is_list: bool) -> None:
    if is_repeated(field):
        getattr(target, field.name).extend(value if is_list else [value])
    elif field.message_type:
        getattr(target, field.name).CopyFrom(value)
    else:
        setattr(target, field.name, value)


def _renamed(path: str, kind: str) -> str | None:
    """A field's path in the V0 text in terms of V1: "layer.kernelsize" -> "convolution_param.kernel_size"."""
    if not path.startswith("layer."):
        return path if path != "layer" else None
    if path == "layer.type":
        return "type"
    name, *rest = path[len("layer.") :].split(".")
    field, bracket, index = name.partition("[")
    new = _path(field, kind)
    return new and ".".join([new + bracket + index, *rest])
