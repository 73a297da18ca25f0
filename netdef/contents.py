"""What is in a net: its layers, blobs and learned arrays by name."""

from __future__ import annotations

from demitasse.layers.layer import Layer, Param, Shape
from demitasse.netdef.graph import Value
from demitasse.netdef.net_files import NetFiles
from demitasse.netdef.wording import some
from demitasse.proto.errors import GraphFault, Where, did_you_mean
from demitasse.proto.messages import LayerParameter


class Contents(NetFiles):
    """The part of a Net (netdef.net) that says what its plan holds; layers are in the order of the text."""

    @property
    def name(self) -> str:
        """The net's name, as its text gives it."""
        return self.plan.message.name

    @property
    def layers(self) -> list[Layer]:
        """All layers, in order."""
        return [step.layer for step in self.plan.steps]

    @property
    def layer_names(self) -> list[str]:
        """The names of all layers, in order."""
        return [step.name for step in self.plan.steps]

    @property
    def specs(self) -> list[LayerParameter]:
        """The layers' messages, upgraded to today's form."""
        return [step.spec for step in self.plan.steps]

    @property
    def wheres(self) -> list[Where]:
        """Where each layer is written: its file and line."""
        return [step.where for step in self.plan.steps]

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        return list(self.plan.inputs)

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, in alphabetical order."""
        return self.plan.outputs

    @property
    def blob_names(self) -> list[str]:
        """The names of all blobs, in the order in which they are made."""
        return list(self.plan.newest)

    @property
    def shapes(self) -> dict[str, Shape]:
        """{blob: its shape now}."""
        return {name: value.shape for name, value in self.plan.newest.items()}

    @property
    def params(self) -> dict[str, list[Param]]:
        """{layer: its learned arrays}, of the layers that have some."""
        return self.plan.params

    @property
    def learnable(self) -> list[Param]:
        """Every learned array once, in order: of shared ones the first."""
        return self.plan.learnable

    # -- looking up by name ------------------------------------------------------------------------

    def _index(self, layer: str | int | None, default: int) -> int:
        if layer is None:
            return default
        if isinstance(layer, int):
            return layer
        if layer not in self.plan.by_name:
            raise GraphFault(f"the net has no layer '{layer}'{did_you_mean(layer, self.plan.by_name)}")
        return self.plan.by_name[layer].index

    def _input(self, name: str) -> Value:
        inputs = self.plan.inputs
        if name not in inputs:
            raise GraphFault(
                f"the net has no input '{name}'{did_you_mean(name, inputs)}: "
                f"its inputs are {some(inputs) or 'none (its data come from data layers)'}"
            )
        return inputs[name]

    def _value_before(self, name: str, first: int) -> Value:
        """What the name means where layer `first` begins; at the beginning, an input."""
        made = [value for step in self.plan.steps[:first] for value in step.tops if value.name == name]
        return made[-1] if made else self._input(name)
