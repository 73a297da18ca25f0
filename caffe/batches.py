"""Cutting any number of samples into batches, and joining what came out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from demitasse.proto.errors import ShapeFault


def batches_of(
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


def joined(results: list[dict[str, np.ndarray]], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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
