"""A net as Caffe writes it into a .caffemodel: with what building it has added to the text.

Each layer has its phase, each loss its loss_weight, and a value that several layers read goes through a Split
layer of its own, under the names that Caffe gives those.  (None of this is needed to run a net here; files that
are equal to Caffe's are.)
"""

from __future__ import annotations

from collections.abc import Iterator

from demitasse.netdef.graph import Step, Value
from demitasse.netdef.plan import Plan
from demitasse.proto.messages import BlobProto, BlobShape, LayerParameter, NetParameter


def written(plan: Plan) -> NetParameter:
    """The message; `blobs` say the shapes of the learned arrays and hold no values."""
    net = NetParameter(name=plan.message.name)
    names: dict[Value, Iterator[str]] = {}  # of split values: what the next reader calls it
    for step in plan.steps:
        layer = net.layer.add()
        layer.CopyFrom(step.spec)
        layer.bottom[:] = [next(names[value]) if value in names else value.name for value in step.bottoms]
        _complete(layer, step)
        for slot, value in enumerate(step.tops):
            weight = _weight(step, slot)
            if len(value.readers) + bool(weight) > 1:
                split = net.layer.add()
                split.CopyFrom(_split(value, weight, layer.phase))
                names[value] = iter(split.top[bool(weight) :])
                if weight:
                    del layer.loss_weight[:]
    return net


def _complete(layer: LayerParameter, step: Step) -> None:
    if step.cls.is_loss and not layer.loss_weight:
        layer.loss_weight.extend(value.loss_weight for value in step.tops)
    for index, param in enumerate(step.layer.params):
        said = layer.param[index].lr_mult if index < len(layer.param) else 1.0
        if not param.name and param.lr_mult != said:  # the layer's own doing: the statistics of BatchNorm
            while index >= len(layer.param):
                layer.param.add()
            layer.param[index].lr_mult = param.lr_mult
    del layer.blobs[:]
    layer.blobs.extend(BlobProto(shape=BlobShape(dim=param.shape)) for param in step.layer.params)


def _weight(step: Step, slot: int) -> float:
    """The loss_weight that the text gives a top."""
    return step.spec.loss_weight[slot] if slot < len(step.spec.loss_weight) else 0.0


def _split(value: Value, weight: float, phase: int) -> LayerParameter:
    """The layer that hands a value to each of its readers, and before them to the loss."""
    name = f"{value.name}_{value.producer.name}_{value.slot}_split"
    count = len(value.readers) + bool(weight)
    split = LayerParameter(name=name, type="Split", bottom=[value.name], phase=phase)
    split.top.extend(f"{name}_{index}" for index in range(count))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (count - 1))
    return split
