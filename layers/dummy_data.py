"""DummyData: tops from fillers.  A constant is filled once, anything random anew for every batch."""

from __future__ import annotations

import numpy as np

from demitasse.layers.fillers import fill
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import FillerParameter


class DummyData(Layer):
    type = "DummyData"
    bottoms, tops = (0, 0), (1, None)

    def setup(self, shapes):
        fields, tops = self.spec.dummy_data_param, len(self.spec.top)
        self.shapes = self._shapes(fields, tops)
        fillers = list(fields.data_filler) or [FillerParameter()]
        if len(fillers) not in (1, tops):
            raise SchemaFault(f"dummy_data_param: {len(fillers)} data_filler for {tops} tops; give none, 1 or {tops}")
        self.fillers = fillers * tops if len(fillers) == 1 else fillers
        self.seed = int(self.be.rng.integers(2**31)) if self.be is not None else 0
        self.batches = self.rank = 0
        self.constants = {}  # {top: its array}
        return []

    @staticmethod
    def _shapes(fields, tops):
        legacy = {name: list(getattr(fields, name)) for name in ("num", "channels", "height", "width")}
        if fields.shape and any(legacy.values()):
            raise SchemaFault("dummy_data_param: give shape, or num, channels, height and width, not both")
        if fields.shape:
            shapes = [tuple(shape.dim) for shape in fields.shape]
        else:
            for name, sizes in legacy.items():
                if len(sizes) not in (1, tops):
                    raise SchemaFault(
                        f"dummy_data_param: {len(sizes)} {name} for {tops} tops; give 1 or {tops} of "
                        "num, channels, height and width each, or shape instead"
                    )
            shapes = list(zip(*(sizes * (tops // len(sizes)) for sizes in legacy.values()), strict=True))
        if any(size < 0 for shape in shapes for size in shape):
            raise SchemaFault(f"dummy_data_param: dim {min(min(shape) for shape in shapes if shape)} is negative")
        if len(shapes) not in (1, tops):
            raise SchemaFault(f"dummy_data_param: {len(shapes)} shapes for {tops} tops; give 1 or {tops}")
        return shapes * tops if len(shapes) == 1 else shapes

    def infer(self, shapes):
        return list(self.shapes)

    def forward(self, xs):
        self.batches += 1
        return [self._top(i) for i in range(len(self.shapes))]

    def to_onnx(self, graph, xs):
        if any(filler.type != "constant" for filler in self.fillers):
            raise SchemaFault("its fillers draw random numbers in every run, which ONNX cannot: write constants")
        return [graph.filled(shape, filler.value) for shape, filler in zip(self.shapes, self.fillers, strict=True)]

    def _top(self, i):
        if i in self.constants:
            return self.constants[i]
        rng = np.random.default_rng((self.seed, self.batches, i, self.rank))
        top = self.be.asarray(fill(self.shapes[i], self.fillers[i], rng, self.be.dtype))
        if self.fillers[i].type == "constant":
            self.constants[i] = top
        return top

    def shard(self, rank, size):
        """Other random values on every rank."""
        self.rank = rank

    def state(self):
        return {"seed": self.seed, "batches": self.batches}

    def load_state(self, state):
        self.seed, self.batches = int(state["seed"]), int(state["batches"])
