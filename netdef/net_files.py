"""What a net takes from files and other nets, and what it gives to them: weights, its text, its state."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from demitasse.layers.layer import Layer
from demitasse.netdef.caffe_export import written
from demitasse.netdef.call_lock import Lockable, alone
from demitasse.netdef.weight_matching import LoadReport, match_weights
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import GraphFault, WeightsFault
from demitasse.proto.messages import NetParameter
from demitasse.proto.name_hints import NetHints
from demitasse.proto.weights import write_weights

if TYPE_CHECKING:
    from demitasse.netdef.plan import Plan


class NetFiles(Lockable, NetHints):
    """The part of a Net (netdef.net) that outlives it; it has a `plan` and a `backend`."""

    plan: Plan
    backend: Any

    @alone
    def load(self, source: str | os.PathLike | Mapping) -> LoadReport:
        """Load weights by layer name from a file of any format, several joined by commas, or {layer: arrays}.

        WeightsFault where a shape differs or no layer matches; then nothing has changed.
        """
        report, pairs = match_weights(self.plan.steps, self.plan.shared, source)
        for param, array in pairs:
            owner = self.plan.shared.get(param, param)
            if owner.data is None:
                owner.data = self.backend.empty(owner.shape)
            owner.data[...] = self.backend.asarray(array.reshape(owner.shape))  # views and sharers see it
        self.backend.invalidate_weight_cache()
        return report

    @alone
    def save(self, path: str | os.PathLike, grads: bool = False, ending: str | None = None) -> None:
        """Write the weights, and with `grads` their gradients, in the format of the path's ending, or of another."""
        params = self.plan.params
        weights: dict[str, list] = {step.name: [] for step in self.plan.steps}
        weights |= {name: [self.backend.to_host(param.data) for param in params[name]] for name in params}
        diffs: dict[str, list] = {step.name: [] for step in self.plan.steps}
        diffs |= {
            name: [None if param.grad is None else self.backend.to_host(param.grad) for param in params[name]]
            for name in params
        }
        write_weights(path, weights, net=self.to_message(), grads=diffs if grads else None, ending=ending)

    @alone
    def share_with(self, other: NetFiles) -> LoadReport:
        """Use the weights of another net's layers of the same names: the same arrays, not copies.

        What either net loads or learns from then on, the other one has too.  WeightsFault where shapes differ.
        """
        if self.backend.xp is not other.backend.xp:
            raise GraphFault("nets on different devices cannot share weights: load a copy instead")
        mine, others = self.plan.params, other.plan.params
        report = LoadReport(f"the net '{other.plan.message.name}'")
        report.matched = [name for name in others if name in mine]
        report.missing = [name for name in mine if name not in others]
        report.unused = [name for name in others if name not in mine]
        for name in report.matched:
            ours, theirs = mine[name], others[name]
            shapes = [[shape_text(param.shape) for param in params] for params in (ours, theirs)]
            if shapes[0] != shapes[1]:
                raise WeightsFault(
                    f"layer '{name}' has arrays {shapes[0]} here and {shapes[1]} in the net "
                    "to share with: make them alike, or rename the layer"
                )
        for name in report.matched:
            for param, source in zip(mine[name], others[name], strict=True):
                param.data = source.data
                report.values += param.count
        self.backend.invalidate_weight_cache()
        return report

    @alone
    def to_onnx(self, path: str | os.PathLike, **way) -> None:
        """Write the net as it stands as an ONNX file, for the TEST phase.

        way: fixed, fold, fp16, image, preprocess, outputs, as netdef.onnx.export.Way has them; without `fixed` batch,
        height and width are free where the layers allow.  SchemaFault, naming the layers, where ONNX cannot say what
        they do.
        """
        from demitasse.netdef.onnx.export import Way, export  # here: few nets are exported

        export(self, path, Way(**way))

    def to_message(self) -> NetParameter:
        """The net of this phase as Caffe would write it; its `blobs` say shapes and hold no values."""
        return written(self.plan)

    @alone
    def state(self) -> dict:
        """What an exact restart needs beside the weights, as JSON values: random state and data positions."""
        layers = {name: state for name, layer in self._by_own_names() if (state := layer.state())}
        return {"random": self.backend.random_state(), "layers": layers}

    @alone
    def load_state(self, state: Mapping) -> None:
        """Take up what `state` gave; layers that the net does not have are passed over."""
        self.backend.set_random_state(state["random"])
        for name, layer in self._by_own_names():
            if name in state["layers"]:
                layer.load_state(state["layers"][name])

    def _by_own_names(self) -> list[tuple[str, Layer]]:
        """(name, layer) of every layer; of those with one name the later ones are told apart by a number."""
        seen = Counter[str]()
        named = []
        for step in self.plan.steps:
            seen[step.name] += 1
            named.append((step.name + f" #{seen[step.name]}" * (seen[step.name] > 1), step.layer))
        return named

    @alone
    def close(self) -> None:
        """Release files and threads."""
        self.plan.close()
