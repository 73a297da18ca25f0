"""Checks of what scripts hand to a net's methods; every mistake says what to write instead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from demitasse.netdef.wording import some
from demitasse.proto.errors import GraphFault, ShapeFault, did_you_mean


def blob_names(given, method: str, inputs: Sequence[str]) -> list[str]:
    """The names of blobs that `forward` or `backward` is to return too, from its first argument.

    TypeError for an array in its place.
    """
    if given is None:
        return []
    if isinstance(given, str):
        raise TypeError(f"net.{method} takes a list of blob names to return beside its own: ['{given}']")
    names = given if isinstance(given, (list, tuple, set, frozenset)) else [given]
    if not all(isinstance(name, str) for name in names):
        example = inputs[0] if inputs else "data"
        raise TypeError(
            f"net.{method} takes names of blobs to return, not arrays: give an array by the name of its blob, "
            f"net.{method}({example}=array)"
        )
    return list(names)


def check_names(given: Mapping, names: Sequence[str], method: str, kind: str) -> None:
    """GraphFault unless exactly these blobs are given an array each."""
    if set(given) == set(names):
        return
    wrong = [name for name in given if name not in names]
    detail = (
        f"{wrong[0]} is none{did_you_mean(wrong[0], names)}"
        if wrong
        else f"{some(name for name in names if name not in given)} is missing"
    )
    raise GraphFault(
        f"{method} is given {some(given)}, but must be given all of the net's {kind} "
        f"({some(names) or 'there are none'}) or nothing: {detail}"
    )


def fill(name: str, blob, what: str, array) -> None:
    """Write an array into a blob's `data` or `diff`; ShapeFault where it does not fit."""
    if isinstance(array, (str, bytes, os.PathLike)):
        raise TypeError(f"'{name}' is given text: an array is expected (caffe.io.load_image reads an image)")
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"'{name}' is given an array of {array.dtype}: numbers are expected")
    if array.shape[:1] != blob.shape[:1]:
        raise ShapeFault(
            f"'{name}' is given {array.shape}, not batch sized: the blob is {blob.shape}, so "
            f"call net.blobs['{name}'].reshape(...) first, or use forward_all"
        )
    try:
        getattr(blob, what)[...] = array
    except ValueError:
        raise ShapeFault(
            f"'{name}' is given {array.shape}, but the blob is {blob.shape}: call "
            f"net.blobs['{name}'].reshape(*array.shape) first"
        ) from None


def input_arrays(data, labels) -> tuple[np.ndarray, np.ndarray]:
    """The arrays for MemoryData: float32, C-contiguous, (N, C, H, W) and (N, 1, 1, 1); labels may be (N,).

    ShapeFault for all else.
    """
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = np.ascontiguousarray(labels[:, None, None, None])
    for array, what, shape in ((data, "data", "four axes"), (labels, "labels", "one axis or four")):
        if (
            not isinstance(array, np.ndarray)
            or array.dtype != np.float32
            or array.ndim != 4
            or not array.flags.c_contiguous
        ):
            remedy = ".reshape(n, -1, h, w)" if what == "data" else ".reshape(n)"
            raise ShapeFault(
                f"set_input_arrays: {what} must be a C-contiguous float32 array with {shape}, not "
                f"{_described(array)}: np.require({what}, np.float32, 'C'){remedy}"
            )
    return data, labels


def _described(array) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"{array.dtype} of shape {array.shape}{'' if array.flags.c_contiguous else ', which is not C-contiguous'}"
