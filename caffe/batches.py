"""caffe.Net.forward_all and forward_backward_all: any number of samples, cut into batches, and the results joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from demitasse.proto.errors import GraphFault, ShapeFault


def forward_all(net, blobs=None, **kwargs) -> dict[str, np.ndarray]:
    """forward over any number of samples, batch by batch; the last one is filled up with zeros, which are
    taken off the results again.  Returns {blob: array (samples, ...)}."""
    results = []
    for batch in _batches_of(kwargs, _batch_size(net)):
        results.append({name: data.copy() for name, data in net.forward(blobs=blobs, **batch).items()})
    return _joined(results, kwargs)


def forward_backward_all(net, blobs=None, diffs=None, **kwargs) -> tuple[dict, dict]:
    """forward, then backward, over any number of samples; kwargs: {input: array}, {output: diff}.

    Returns ({blob: data}, {blob: diff}) of all samples.
    """
    given = {name: array for name, array in kwargs.items() if name in net.inputs}
    grads = {name: array for name, array in kwargs.items() if name not in given}
    data, sent = [], []
    for batch, grad in zip(
        _batches_of(given, _batch_size(net)), _batches_of(grads, _batch_size(net), given), strict=True
    ):
        data.append({name: array.copy() for name, array in net.forward(blobs=blobs, **batch).items()})
        sent.append({name: array.copy() for name, array in net.backward(diffs=diffs, **grad).items()})
    return _joined(data, given), _joined(sent, given)


def _batch_size(net) -> int:
    if not net.inputs:
        raise GraphFault("the net has no Input to fill: its data come from data layers, so call forward()")
    return net.blobs[net.inputs[0]].shape[0]


def _batches_of(
    arrays: Mapping[str, np.ndarray], size: int, like: Mapping[str, np.ndarray] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """{name: `size` samples} again and again; the last ones are filled up with zeros.

    like: where there are no arrays, as many (empty) batches as these would make.
    """
    count = _count(arrays or like or {})
    for begin in range(0, count, size):
        batch = {}
        for name, array in arrays.items():
            part = np.asarray(array[begin : begin + size], np.float32)
            batch[name] = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.float32)])
        yield batch


def _joined(results: list[dict[str, np.ndarray]], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batches' arrays after each other, without what was filled up; a blob with one number per batch (a loss)
    gives one number per batch."""
    count = _count(given)
    return {
        name: np.concatenate([np.atleast_1d(result[name]) for result in results])[:count]
        for name in (results[0] if results else ())
    }


def _count(arrays: Mapping[str, np.ndarray]) -> int:
    counts = {name: len(array) for name, array in arrays.items()}
    if not counts or not min(counts.values()):
        raise ShapeFault("no samples are given: name the inputs, forward_all(data=images)")
    if len(set(counts.values())) > 1:
        raise ShapeFault(f"as many samples are needed of each, not {counts}")
    return next(iter(counts.values()))
