"""Labels of losses and metrics in the graph, and what losses are divided by."""

from __future__ import annotations

import math

from demitasse.layers.onnx.graph import FLOAT, INT, Graph, Tensor
from demitasse.proto.messages import LossParameter


def onnx_labels(graph: Graph, scores: Tensor, labels: Tensor, axis: int, ignore: int | None) -> tuple[Tensor, Tensor]:
    """(the labels as integers, one for each pixel of the scores, 0 where ignored; 1 where a pixel counts, else 0)."""
    sizes = graph.sizes(scores)
    labels = graph.reshape(graph.cast(labels, INT), [*sizes[:axis], 1, *sizes[axis + 1 :]])
    if ignore is None:
        return labels, graph.cast(labels.equals(labels), FLOAT)
    ignored = labels.equals(ignore)
    return graph.where(ignored, graph.constant(0, INT), labels), graph.where(ignored, 0.0, 1.0)


def around(graph: Graph, scores: Tensor, axis: int) -> tuple[int | Tensor, int | Tensor]:
    """How many pixels there are before the classes' axis, and how many behind it."""
    sizes = graph.sizes(scores)
    return math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])


def divisor(graph: Graph, layer, outer, inner, valid: Tensor | None, default: int = LossParameter.VALID) -> Tensor:
    """A LossLayer's `divisor`, a number: outer and inner are sizes, valid is 1 where a pixel counts (None: all)."""
    mode = layer.normalization(default)
    if mode == LossParameter.VALID and valid is not None:
        return graph.clip(graph.sum(valid, range(len(valid.shape)), keep=False), low=1.0)
    divisors = {
        LossParameter.FULL: outer * inner,
        LossParameter.VALID: outer * inner,
        LossParameter.BATCH_SIZE: outer,
        LossParameter.NONE: 1,
        LossParameter.PRE_FIXED: layer.spec.loss_param.pre_fixed_normalizer,
    }
    return graph.scalar(graph.larger(divisors[mode], 1))
