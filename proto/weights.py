"""Weights, solver states and means: files of every format to arrays and back.

    layers = read_weights("fcn8s.caffemodel")      {"conv1_1": [weights, biases], ...}
    write_weights("fcn8s.safetensors", layers)

What a file is, is read from its first bytes, never from its name; what is written follows the name's
ending.  Every fault is a WeightsFault that names the file and says what it is instead.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from demitasse.proto import archives, caffemodel, hdf5, matconvnet, upgrade, wire
from demitasse.proto.arrays import array_to_blobproto, array_to_datum, blobproto_to_array, datum_to_array
from demitasse.proto.caffemodel import SolverFile
from demitasse.proto.files import fault, kind_of, map_file, write_chunks
from demitasse.proto.messages import LayerParameter, NetParameter
from demitasse.proto.warning import warn

__all__ = [
    "SolverFile",
    "array_to_blobproto",
    "array_to_datum",
    "blobproto_to_array",
    "datum_to_array",
    "read_blob",
    "read_grads",
    "read_mean",
    "read_model",
    "read_state",
    "read_weights",
    "write_mean",
    "write_state",
    "write_weights",
]

_NEEDED = "a weights file (.caffemodel, .caffemodel.h5, .npz, .safetensors or MatConvNet's .mat)"
_FOREIGN_ENDINGS = (".mat", ".pt", ".pth", ".pkl", ".pickle", ".onnx", ".pb", ".npy", ".zip", ".prototxt")


def read_weights(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """{layer name: its arrays} in the file's order, float32, of the layers that have any.

    The format is recognised by the content: .caffemodel of every generation, .caffemodel.h5, .npz, .safetensors,
    MatConvNet's .mat.  Arrays may be read-only views of the file, and not aligned: copy them to where they
    are to be used.  Legacy shapes stay four-dimensional.  In .h5, an array that another layer owns is None.
    NaN is kept, with a warning.  Raises WeightsFault.
    """
    return _read(path)[1]


def read_model(path: str | os.PathLike) -> tuple[NetParameter | None, dict[str, list[np.ndarray]]]:
    """(the net's description, {layer: its arrays in the shapes of the file}): the layers as a .caffemodel describes
    them, in today's form, without their arrays; None for formats that keep weights only."""
    net, layers = _read(path)
    if net is not None and net.layers:
        upgrade.upgrade_net(net)
    return net, layers


def read_grads(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """{layer: gradients, float32, of its arrays' shapes} of a .caffemodel or .h5 that was written with them
    (snapshot_diff); {} without.  WeightsFault."""
    data = map_file(path)
    kind = kind_of(data, path, _NEEDED)
    if kind == "hdf5":
        return hdf5.read_weights(path, "diff")
    if kind != "protobuf":
        return {}
    _, layers = caffemodel.read_net(data, path)
    grads = {name: [diff for _, diff in blobs if diff is not None] for name, blobs in layers}
    return {name: grads[name] for name, blobs in layers if blobs and len(grads[name]) == len(blobs)}


def _read(path):
    data = map_file(path)
    if os.fspath(path).lower().endswith(".onnx"):
        raise fault(path, "an ONNX file: convert it to a folder, which then holds a prototxt and its caffemodel")
    kind = kind_of(data, path, _NEEDED)
    net = None
    if kind == "protobuf":
        net, described = caffemodel.read_net(data, path)
        layers = {}
        for name, blobs in described:
            if blobs and name in layers:
                warn(f"{path}: two layers '{name}' have weights: the later one counts")
            if blobs:
                layers[name] = [values for values, _ in blobs]
    elif kind == "hdf5":
        layers = hdf5.read_weights(path)
    elif kind == "zip":
        layers = archives.read_npz(path)
    else:
        layers = {"safetensors": archives.read_safetensors, "mat": matconvnet.read_mat}[kind](data, path)
    _warn_of_nan(layers, path)
    return net, layers


def _warn_of_nan(layers: dict, path) -> None:
    with np.errstate(invalid="ignore"):
        broken = [
            name
            for name, arrays in layers.items()
            if any(values is not None and values.size and np.isnan(values.min()) for values in arrays)
        ]
    if broken:
        some = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        warn(
            f"{path}: NaN among the weights of {len(broken)} of {len(layers)} layers ({some}): "
            "the training run that wrote them had diverged"
        )


def write_weights(
    path: str | os.PathLike,
    layers: dict[str, list],
    *,
    net: NetParameter | None = None,
    grads: dict[str, list] | None = None,
    ending: str | None = None,
) -> None:
    """Write {layer name: its arrays}; the format by the ending: .h5, .npz, .safetensors, all else .caffemodel.

    ending: that of the format, where it is not the path's.

    net: its layers' descriptions travel in a .caffemodel; and Caffe's .h5 has a group for each of its layers
    and leaves out arrays that an earlier layer shares by name.  grads: gradients, for these two formats.
    The file is replaced whole or not at all.  Raises WeightsFault.
    """
    ending = ending or os.path.splitext(os.fspath(path))[1].lower()
    if ending in _FOREIGN_ENDINGS:
        raise fault(path, f"weights are not written as {ending}: name the file .caffemodel, .h5, .npz or .safetensors")
    if grads and ending in (".npz", ".safetensors"):
        raise fault(path, f"{ending} files cannot hold gradients: write .caffemodel or .h5")
    if layers.get("") and ending in (".npz", ".safetensors"):
        raise fault(path, f"{ending} files cannot hold a layer without a name: write .caffemodel")
    if ending == ".npz":
        archives.write_npz(path, layers)
    elif ending == ".safetensors":
        archives.write_safetensors(path, layers)
    elif ending in (".h5", ".hdf5"):
        hdf5.write_weights(path, _owned(layers, net), grads and _owned(grads, net))
    else:
        _write_caffemodel(path, layers, net, grads or {})


def _described(layers: dict, net: NetParameter | None) -> NetParameter:
    """The net in today's form with every layer that has arrays; those unknown to it get a name only."""
    whole = NetParameter()
    if net is not None:
        whole.CopyFrom(net)
        if net.layers:
            upgrade.upgrade_net(whole)
    known = {layer.name for layer in whole.layer}
    whole.layer.extend(LayerParameter(name=name) for name in layers if name not in known)
    return whole


def _owned(layers: dict[str, list], net: NetParameter | None) -> dict[str, list]:
    """Every layer of the net with its arrays, None for those that share an earlier one's."""
    seen: set[str] = set()
    owned = {}
    for layer in _described(layers, net).layer:
        arrays = list(layers.get(layer.name, []))
        names = [param.name for param in layer.param] + [""] * len(arrays)
        owned[layer.name] = [
            None if name and name in seen else values for name, values in zip(names, arrays, strict=False)
        ]
        seen.update(names)
    return owned


def _write_caffemodel(path, layers: dict, net: NetParameter | None, grads: dict) -> None:
    whole = _described(layers, net)
    owners: dict[str, int] = {}  # of layers with one name, the one that is described with blobs
    for index, layer in enumerate(whole.layer):
        if layer.blobs or layer.name not in owners:
            owners[layer.name] = index
    blobs = []
    for index, layer in enumerate(whole.layer):
        arrays = layers.get(layer.name, []) if owners[layer.name] == index else []
        if any(values is None for values in arrays):
            raise fault(
                path, f"layer '{layer.name}' lacks an array (another layer owns it): give the net's weights in full"
            )
        diffs = grads.get(layer.name) or [None] * len(arrays)
        blobs.append(list(zip(arrays, diffs, strict=True)))
    caffemodel.write_net(path, whole, blobs)


def read_state(path: str | os.PathLike) -> SolverFile:
    """A .solverstate or .solverstate.h5.  Raises WeightsFault."""
    data = map_file(path)
    kind = kind_of(data, path, "a solver's state (.solverstate or .solverstate.h5)")
    if kind == "hdf5":
        return hdf5.read_state(path)
    if kind != "protobuf":
        raise fault(path, f"a {kind} file: a .solverstate or .solverstate.h5 is needed")
    return caffemodel.read_state(data, path)


def write_state(path: str | os.PathLike, state: SolverFile) -> None:
    """Write a solver's state as Caffe does: HDF5 where the name ends in .h5."""
    (hdf5 if os.fspath(path).lower().endswith((".h5", ".hdf5")) else caffemodel).write_state(path, state)


def read_blob(path: str | os.PathLike) -> np.ndarray:
    """The array of a .binaryproto (a mean, a matrix), in the shape of the file; or of a .npy."""
    data = map_file(path)
    if bytes(data[:6]) == b"\x93NUMPY":
        return archives.read_npy(path)
    if kind_of(data, path, "a .binaryproto") != "protobuf":
        raise fault(path, "not a .binaryproto")
    return caffemodel.read_blob(data, path)


def read_mean(path: str | os.PathLike) -> np.ndarray:
    """A mean image (channels, height, width) from a .binaryproto or .npy."""
    mean = read_blob(path)
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim != 3:
        shape = " x ".join(map(str, mean.shape))
        raise fault(path, f"a mean image is channels x height x width, not {shape}")
    return mean


def write_mean(path: str | os.PathLike, mean: ArrayLike) -> None:
    """Write a mean image (channels, height, width) as Caffe's compute_image_mean does."""
    mean = np.asarray(mean, "<f4")
    if mean.ndim != 3:
        raise fault(path, f"a mean image is channels x height x width, not {mean.shape}")
    write_chunks(path, wire.legacy_blob_chunks(mean))
