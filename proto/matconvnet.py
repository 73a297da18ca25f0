"""Weights of MatConvNet networks (.mat), in Caffe's order of axes.

MatConvNet's filters are [width, height, in, out], column by column; Caffe's are (out, in, height, width),
row by row.  SimpleNN networks keep a cell of weights in each layer, DagNN ones name them in `params`.
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.proto import matfile
from demitasse.proto.files import fault


def read_mat(data: memoryview, path: str | os.PathLike) -> dict[str, list]:
    """{layer: arrays}: filters (out, in, height, width), biases (out,).  Raises WeightsFault."""
    try:
        content = matfile.read(data)
    except ValueError as error:
        raise fault(path, "damaged .mat", error) from None
    if isinstance(content.get("net"), list) and "layers" not in content:
        content = content["net"][0] if content["net"] else {}
    try:
        layers = _dag_layers(content) if "params" in content else _simple_layers(content)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise fault(path, f"not laid out like a MatConvNet network ({type(error).__name__})", error) from None
    if not layers:
        raise fault(path, "not a MatConvNet network: there are no `layers` with weights in it")
    return layers


def _simple_layers(content: dict) -> dict[str, list]:
    layers = {}
    for cell in content.get("layers", []):
        layer = cell[0]
        arrays = layer.get("weights", [])
        if "filters" in layer:  # before 2015
            arrays = [layer["filters"], layer["biases"]]
        arrays = [_caffe_order(values) for values in arrays if values.size]
        if arrays:
            layers[layer["name"]] = arrays
    return layers


def _dag_layers(content: dict) -> dict[str, list]:
    params = {param["name"]: param["value"] for param in content["params"]}
    layers = {}
    for layer in content["layers"]:
        names = layer["params"] if isinstance(layer["params"], list) else []
        if names:
            layers[layer["name"]] = [_caffe_order(params[name]) for name in names]
    return layers


def _caffe_order(values: np.ndarray) -> np.ndarray:
    if values.ndim == 2 and 1 in values.shape:  # MATLAB has no vectors
        return values.reshape(-1).astype(np.float32)
    if values.ndim == 3:  # and drops a last axis of size 1
        values = values[..., None]
    return values.T.astype(np.float32, order="C", copy=False)
