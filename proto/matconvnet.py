"""Weights of MatConvNet networks (.mat), in Caffe's order of axes.

MatConvNet's filters are [width, height, in, out], column by column; Caffe's are (out, in, height, width),
row by row.  SimpleNN networks keep a cell of weights in each layer, DagNN ones name them in `params`.
"""

from __future__ import annotations

import os

import numpy as np

from proto.files import fault


def read_mat(path) -> dict[str, list]:
    """{layer: arrays}: filters (out, in, height, width), biases (out,).  Raises WeightsFault."""
    import scipy.io

    try:
        content = scipy.io.loadmat(os.fspath(path))
        if "layers" not in content and "net" in content:
            net = content["net"][0, 0]
            content = {name: net[name] for name in net.dtype.names}
        layers = _dag_layers(content) if "params" in content else _simple_layers(content)
    except Exception as error:      # whatever scipy meets in a damaged file
        raise fault(path, "damaged .mat, or of another layout than MatConvNet's", error) from None
    if not layers:
        raise fault(path, "not a MatConvNet network: there are no `layers` with weights in it")
    return layers


def _simple_layers(content) -> dict[str, list]:
    layers = {}
    for cell in content.get("layers", np.empty(0)).flat:
        layer = cell[0, 0]
        fields = layer.dtype.names
        if "weights" in fields:
            arrays = list(layer["weights"].flat)
        elif "filters" in fields:       # before 2015
            arrays = [layer["filters"], layer["biases"]]
        else:
            continue
        arrays = [_caffe_order(values) for values in arrays if values.size]
        if arrays:
            layers[_text(layer["name"])] = arrays
    return layers


def _dag_layers(content) -> dict[str, list]:
    params = {_text(param["name"]): param["value"] for param in content["params"].flat}
    layers = {}
    for layer in content["layers"].flat:
        names = [_text(name) for name in np.ravel(layer["params"])]
        if names:
            layers[_text(layer["name"])] = [_caffe_order(params[name]) for name in names]
    return layers


def _text(value) -> str:
    while isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return str(value)


def _caffe_order(values: np.ndarray) -> np.ndarray:
    if values.ndim == 2 and 1 in values.shape:      # MATLAB has no vectors
        return np.ascontiguousarray(values.reshape(-1), np.float32)
    if values.ndim == 3:                            # it drops a last axis of size 1
        values = values[..., None]
    return np.ascontiguousarray(values.T, np.float32)
