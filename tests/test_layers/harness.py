"""The contract that every layer type keeps, as checks on specimens.

Specimens are found by listing: each file of specimens/ is a net whose inputs are Input layers (standard normal
values) or DummyData layers (values by their data_filler; types that read labels or indices truncate them), and whose
every other layer is one specimen.  A specimen runs in TRAIN unless it sets `phase`; a bottom with
`propagate_down: false` gets no gradient.  So a new type is put through all checks by adding specimens/<type>.prototxt.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.fillers import fill
from demitasse.layers.layer import TRAIN, layer_class
from demitasse.proto.text import read_net

FOLDER = Path(__file__).resolve().parent / "specimens"


@dataclass(frozen=True)
class Input:
    shape: tuple[int, ...]
    filler: object = None  # FillerParameter, or None for standard normal values

    def values(self, rng):
        if self.filler is None:
            return rng.standard_normal(self.shape)
        return fill(self.shape, self.filler, rng, np.float64)


@dataclass(frozen=True)
class Specimen:
    name: str  # "convolution.prototxt: k3_g2"
    spec: object  # LayerParameter
    inputs: tuple[Input, ...]

    @property
    def phase(self) -> int:
        return self.spec.phase if self.spec.HasField("phase") else TRAIN

    def with_shapes(self, change) -> Specimen:
        """The same layer under inputs whose shapes went through `change`."""
        return Specimen(self.name, self.spec, tuple(Input(change(i.shape), i.filler) for i in self.inputs))


@functools.cache
def specimens() -> list[Specimen]:
    found = []
    for path in sorted(FOLDER.glob("*.prototxt")):
        net, _ = read_net(path)
        inputs = {}
        for spec in net.layer:
            if spec.type == "Input":
                inputs[spec.top[0]] = Input(tuple(spec.input_param.shape[0].dim))
            elif spec.type == "DummyData":
                param = spec.dummy_data_param
                inputs[spec.top[0]] = Input(tuple(param.shape[0].dim), param.data_filler[0])
            else:
                found.append(Specimen(f"{path.name}: {spec.name}", spec, tuple(inputs[b] for b in spec.bottom)))
    return found


class Bench:
    """A specimen's layer, built, with random bottoms, params and top gradients that depend on the seed only."""

    def __init__(self, specimen: Specimen, backend: str = "generic", dtype: str = "float64", grads: bool = True):
        self.be = make_backend(backend, dtype=dtype)
        self.specimen, self.spec = specimen, specimen.spec
        self.layer = layer_class(self.spec.type)(self.spec, specimen.phase, self.be)
        shapes = [i.shape for i in specimen.inputs]
        self.layer.params = self.layer.setup(shapes)
        self.top_shapes = self.layer.infer(shapes)
        rng = np.random.default_rng(7)
        self.xs = [self.be.asarray(i.values(rng)) for i in specimen.inputs]
        for i, param in enumerate(self.layer.params):
            if i < len(self.spec.param) and self.spec.param[i].HasField("lr_mult"):
                param.lr_mult = self.spec.param[i].lr_mult
            values = (
                rng.standard_normal(param.shape) * 0.5
                if param.filler is None
                else fill(param.shape, param.filler, rng, np.float64) + 0.1 * rng.standard_normal(param.shape)
            )
            param.data = self.be.asarray(values)
            param.grad = self.be.zeros(param.shape) if param.lr_mult and grads else None
        if self.layer.shapes_from_data:
            self.top_shapes = [top.shape for top in self.layer.forward(self.xs)]
        self.dys = [self.be.asarray(rng.standard_normal(shape)) for shape in self.top_shapes]
        told = self.spec.propagate_down
        self.need = [i not in self.layer.never_differentiable and (not told or told[i]) for i in range(len(self.xs))]

    @property
    def learned(self):
        return [param for param in self.layer.params if param.grad is not None]

    def forward(self, seed: int = 3):
        """Tops for the bottoms and params as they are; equal seeds draw equal random numbers, and what forward
        moves (running averages, the state of an LSTM) is put back."""
        self.be.seed(seed)
        before, state = [param.data.copy() for param in self.layer.params], self.layer.state()
        tops = self.layer.forward(self.xs)
        self.layer.load_state(state)
        for param, data in zip(self.layer.params, before, strict=True):
            param.data[...] = data
        return tops

    def backward(self, need=None):
        return self.layer.backward(self.dys, list(self.need if need is None else need))

    def clear(self):
        for param in self.learned:
            param.grad[...] = 0

    def objective(self) -> float:
        """What the gradients are gradients of: the sum of tops times top gradients."""
        return sum(float((y * dy).sum()) for y, dy in zip(self.forward(), self.dys, strict=True))


def gradient_error(bench: Bench, directions: int = 3, step: float = 1e-6) -> float:
    """The largest relative difference between the layer's derivative and the numeric one, along random directions.

    A direction is tried again elsewhere when it crosses a kink (its derivatives at two steps differ).
    """
    rng = np.random.default_rng(11)
    moved = [x for x, need in zip(bench.xs, bench.need, strict=True) if need] + [p.data for p in bench.learned]
    worst, tried = 0.0, 0
    while directions and tried < 20:
        tried += 1
        bench.clear()
        bench.forward()
        grads = [dx for dx, need in zip(bench.backward(), bench.need, strict=True) if need]
        grads += [param.grad for param in bench.learned]
        ways = [rng.standard_normal(array.shape) for array in moved]
        slope = sum(float((way * grad).sum()) for way, grad in zip(ways, grads, strict=True))
        size = sum(float((np.abs(way * grad)).sum()) for way, grad in zip(ways, grads, strict=True))
        numeric, finer = (_numeric_slope(bench, moved, ways, h) for h in (step, step / 4))
        if abs(numeric - finer) > 1e-4 * max(size, 1e-3):
            continue
        worst = max(worst, abs(slope - numeric) / max(size, 1e-3))
        directions -= 1
    assert not directions, "no smooth direction found"
    return worst


def _numeric_slope(bench, arrays, ways, step):
    """Central difference of the objective along `ways`; leaves the arrays as they were."""
    before = [array.copy() for array in arrays]
    ends = []
    for sign in (1, -1):
        for array, start, way in zip(arrays, before, ways, strict=True):
            array[...] = start + sign * step * way
        ends.append(bench.objective())
    for array, start in zip(arrays, before, strict=True):
        array[...] = start
    return (ends[0] - ends[1]) / (2 * step)


def is_random(specimen: Specimen) -> bool:
    """Whether forward draws random numbers."""
    try:
        bench = Bench(specimen)
        one, other = bench.forward(seed=1), bench.forward(seed=2)
    except Exception:
        return False  # fails in the tests
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))
