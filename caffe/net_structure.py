"""What a net shows of itself: its layers, its names, and how they hang together."""

from __future__ import annotations

from collections import OrderedDict

from caffe.blobs import Named, NetBlob, ParamBlob
from caffe.pylayer import BlobVec
from demitasse.netdef.net import Net as Engine


class LayerView:
    """A layer as scripts see it: its `type`, and `blobs`, its learned arrays."""

    def __init__(self, type_name: str, blobs: BlobVec):
        self.type, self.blobs = type_name, blobs

    def __repr__(self) -> str:
        return f"<{self.type} layer with {len(self.blobs)} blobs>"


class NetStructure:
    """Names, blobs, params and layers of an engine's net.

    blobs, params: {blob: NetBlob}, {layer: its learned blobs}.  layers, layer_dict: LayerViews, or for Python layers
    the user's own objects.  with_memory, handed_out: those of the blobs and params whose arrays scripts have seen.
    top_names, bottom_names: {layer: its blobs}.
    """

    def __init__(self, engine: Engine):
        self.engine, plan = engine, engine.plan
        self.with_memory: set[NetBlob] = set()
        self.handed_out: set[ParamBlob] = set()
        values = {}
        for value in plan.values:
            values.setdefault(value.name, []).append(value)
        self.blobs = Named(
            ((name, NetBlob(engine, made, self.with_memory)) for name, made in values.items()),
            "blob",
            ": to fill it, write blobs['{name}'].data[...] = array",
        )
        vectors = [BlobVec() for _ in plan.steps]
        for step, vector in zip(plan.steps, vectors, strict=True):
            vector.extend(ParamBlob(engine, param, self.handed_out) for param in step.layer.params)
        self.params = Named(
            ((step.name, vectors[step.index]) for step in plan.steps if step.layer.params),
            "layer with learned blobs",
            ": to fill it, write params['{name}'][0].data[...] = array",
        )
        self.layers = [
            step.layer.user if step.cls.runs_user_code else LayerView(step.cls.type, vectors[step.index])
            for step in plan.steps
        ]
        self.layer_dict = Named(zip(engine.layer_names, self.layers, strict=True), "layer")
        self.top_names = Named(((step.name, [value.name for value in step.tops]) for step in plan.steps), "layer")
        self.bottom_names = Named(((step.name, [value.name for value in step.bottoms]) for step in plan.steps), "layer")

    @property
    def name(self) -> str:
        """The net's name, as its text gives it."""
        return self.engine.name

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        return self.engine.inputs

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, in alphabetical order."""
        return self.engine.outputs

    @property
    def blob_loss_weights(self) -> OrderedDict:
        """{blob: its weight in the loss}."""
        return OrderedDict((name, value.loss_weight) for name, value in self.engine.plan.newest.items())

    @property
    def _layer_names(self) -> list[str]:
        return self.engine.layer_names

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[NetBlob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return self._indices(self.inputs)

    @property
    def _outputs(self) -> list[int]:
        return self._indices(self.outputs)

    def _tops(self, layer: int) -> list[str]:
        return [value.name for value in self.engine.plan.steps[layer].tops]

    def _bottoms(self, layer: int) -> list[str]:
        return [value.name for value in self.engine.plan.steps[layer].bottoms]

    def _index(self, layer: str | None, default: int) -> int:
        if layer is None:
            return default
        self.layer_dict[layer]
        return self._layer_names.index(layer)  # the first of that name, as in pycaffe

    def _top_ids(self, layer: int) -> list[int]:
        return self._indices(self._tops(layer))

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._indices(self._bottoms(layer))

    def _indices(self, names) -> list[int]:
        known = self._blob_names
        return [known.index(name) for name in names]
