"""What is in a net: its layers, blobs and learned arrays by name."""

from __future__ import annotations

from demitasse.layers.layer import Layer, Param, Shape
from demitasse.netdef.net_files import NetFiles
from demitasse.proto.errors import Where
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
