"""Runs layers on the golden cases: what Caffe computed (CPU, float32) from given bottoms, params and top gradients.

A case is a small net, mostly one layer "L".  `run` builds its layers, passes values forward and gradients back as a
net does, and says where the results differ.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demitasse.layers.layer import TEST, TRAIN, layer_class
from demitasse.proto.text import read_net

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

# Where Caffe's result is a bug that we do not share: these arrays of these cases are not compared.
SANE = {
    # In place, the side (or x itself) is read from the input, which Caffe has overwritten.
    "relu_slope_negative_inplace": {"bottom_diff_0"},
    "bnll_inplace": {"bottom_diff_0"},
    "power_inplace": {"bottom_diff_0"},
    # Gradients of the second top (prob) and of the exposed last states count; Caffe drops them.
    "infogain_two_tops": {"bottom_diff_0"},
    "lstm_expose": {"bottom_diff_0", "param_diff_0", "param_diff_1", "param_diff_2"},
}
# Where only some elements are Caffe's bug: {case: reason}; pooling windows without a pixel give 0 here,
# -FLT_MAX (MAX) or NaN (AVE) in Caffe.
EMPTY_WINDOWS = {"pool_ave_k1s2_35", "pool_ave_k1s2_ceil", "pool_max_k1s2_35", "pool_max_k1s2_ceil"}


@dataclass(frozen=True)
class Case:
    name: str
    phase: int
    net: object  # NetParameter
    params: tuple[str, ...]  # "L[0]": which param each param_i is
    tops: tuple[str, ...]  # the blob of each top_i
    meta: dict
    arrays: dict

    @property
    def types(self) -> set[str]:
        return {spec.type for spec in self.net.layer} - {"Input"}


@functools.cache
def _packed():
    with np.load(GOLDEN / "layers.npz", allow_pickle=False) as data:
        values = data["values"]
    values.flags.writeable = False
    return json.loads((GOLDEN / "layers.json").read_text()), values


def case_names() -> list[str]:
    return list(_packed()[0])


@functools.cache
def case(name: str) -> Case:
    meta, values = _packed()[0][name], _packed()[1]
    arrays = {
        key: values[start : start + int(np.prod(shape))].reshape(shape)
        for key, (start, shape) in meta["arrays"].items()
    }
    net, _ = read_net(meta["net"], f"{name}.prototxt")
    return Case(
        name,
        TRAIN if meta["phase"] == "TRAIN" else TEST,
        net,
        tuple(meta.get("params", ())),
        tuple(meta["tops"] if "tops" in meta else ()),
        meta,
        arrays,
    )


class Chain:
    """The layers of a case, wired by values: a top always makes a new value, a bottom reads the newest of its name."""

    def __init__(self, case: Case, be):
        self.be, self.steps, self.params = be, [], {}
        newest, shapes, shared = {}, [], {}  # blob -> value; value -> shape; name -> param
        self.inputs = []  # values
        for spec in case.net.layer:
            if spec.type == "Input":
                newest[spec.top[0]] = len(shapes)
                self.inputs.append(len(shapes))
                shapes.append(tuple(spec.input_param.shape[0].dim))
                continue
            layer = layer_class(spec.type)(spec, case.phase, be)
            bottoms = [newest[name] for name in spec.bottom]
            layer.params = layer.setup([shapes[v] for v in bottoms])
            for i, param in enumerate(layer.params):
                name = spec.param[i].name if i < len(spec.param) else ""
                if name in shared:
                    param.data, param.grad = shared[name].data, shared[name].grad
                else:
                    param.data, param.grad = be.zeros(param.shape), be.zeros(param.shape)
                if name:
                    shared[name] = param
                self.params[f"{spec.name}[{i}]"] = param
            tops = []
            for name, shape in zip(spec.top, layer.infer([shapes[v] for v in bottoms]), strict=True):
                newest[name] = len(shapes)
                tops.append(len(shapes))
                shapes.append(shape)
            self.steps.append((layer, bottoms, tops))
        self.newest, self.shapes, self.values = newest, shapes, {}

    def forward(self, inputs):
        self.values = dict(zip(self.inputs, inputs, strict=True))
        for layer, bottoms, tops in self.steps:
            ys = layer.forward(self._on_backend(layer, [self.values[v] for v in bottoms]))
            if not layer.shapes_from_data:
                assert [y.shape for y in ys] == [self.shapes[v] for v in tops], "forward and infer differ"
            self.values.update(zip(tops, ys, strict=True))

    def backward(self, grads: dict):
        """grads: {value: gradient}; returns it with the gradients of all values that have one."""
        wanted = set(self.inputs)
        for layer, bottoms, tops in self.steps:
            if layer.params or wanted & set(bottoms):
                wanted |= set(tops)
        for layer, bottoms, tops in reversed(self.steps):
            dys = [grads.get(v) for v in tops]
            if all(dy is None for dy in dys):
                continue
            told = layer.spec.propagate_down
            need = [
                v in wanted and i not in layer.never_differentiable and (not told or told[i])
                for i, v in enumerate(bottoms)
            ]
            for value, grad in zip(bottoms, layer.backward(self._on_backend(layer, dys), need), strict=True):
                if grad is not None:
                    grads[value] = self.be.to_nchw(grads[value]) + self.be.to_nchw(grad) if value in grads else grad
        return grads

    def _on_backend(self, layer, arrays):
        return arrays if layer.takes_nhwc else [self.be.to_nchw(array) for array in arrays]


def run(case: Case, be, tolerance: float = 1e-5) -> list[str]:
    """The arrays of the case that differ from what the layers compute on backend `be`, each as a sentence."""
    chain = Chain(case, be)
    faults = []

    def compare(name, got):
        if name not in case.arrays or name in SANE.get(case.name, ()):
            return
        expected = case.arrays[name]
        got = np.zeros(expected.shape, np.float32) if got is None else be.to_host(got)
        fault = difference(got, expected, tolerance, holes=case.name in EMPTY_WINDOWS)
        if fault:
            faults.append(f"{name}: {fault}")

    for i, name in enumerate(case.params):
        chain.params[name].data[...] = be.asarray(case.arrays[f"param_{i}"])
    chain.forward([be.asarray(case.arrays[f"bottom_{i}"]) for i in range(len(chain.inputs))])
    tops = [chain.newest[name] for name in case.tops]
    for i, value in enumerate(tops):
        compare(f"top_{i}", chain.values[value])
    for i, name in enumerate(case.params):
        compare(f"param_after_{i}", chain.params[name].data)

    if any("_diff_" in name for name in case.arrays):
        grads = chain.backward(
            {
                value: be.asarray(case.arrays[f"top_diff_{i}"])
                for i, value in enumerate(tops)
                if f"top_diff_{i}" in case.arrays
            }
        )
        for i, value in enumerate(chain.inputs):
            if _written(case, "bottom_diff", i):
                compare(f"bottom_diff_{i}", grads.get(value))
        for i, name in enumerate(case.params):
            if _written(case, "param_diff", i):
                compare(f"param_diff_{i}", chain.params[name].grad)
    return faults


def _written(case, kind, i):
    flags = case.meta.get(kind, [])
    return i >= len(flags) or flags[i] != "not_written"


def difference(got, expected, tolerance, holes=False) -> str:
    """Empty, or how an array differs from the expected one by more than `tolerance` of the largest expected value.

    holes: compare only where the expected value is an ordinary number.
    """
    if got.shape != expected.shape:
        return f"shape {got.shape} instead of {expected.shape}"
    if holes:
        ordinary = np.isfinite(expected) & (np.abs(expected) < 1e38)
        got, expected = got[ordinary], expected[ordinary]
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return f"{np.isnan(got).sum()} NaN instead of {np.isnan(expected).sum()}"
    if not expected.size:
        return ""
    largest = float(np.nanmax(np.abs(expected)))
    error = float(np.nanmax(np.abs(got.astype(np.float64) - expected)))
    return "" if error <= tolerance * largest else f"error {error:.3g} where the largest value is {largest:.3g}"
