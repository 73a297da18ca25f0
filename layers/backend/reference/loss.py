"""Softmax, its loss, and the labels of losses."""

from __future__ import annotations

import numpy as np

from demitasse.proto.errors import LabelFault

FLT_MIN = float(np.finfo(np.float32).tiny)  # the least probability a loss takes the logarithm of: 87.3365


def softmax_forward(be, x, axis):
    y = be.xp.exp(x - x.max(axis=axis, keepdims=True))
    return y / y.sum(axis=axis, keepdims=True)


def softmax_backward(be, dy, y, axis):
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def softmax_loss_forward(be, x, labels, axis, ignore, weights=None):
    prob = be.softmax_forward(x, axis)
    labels, valid = be.checked_labels(x.shape, labels, axis, ignore)
    picked = be.xp.take_along_axis(prob, labels, axis=axis)
    losses = -be.xp.log(be.xp.maximum(picked, FLT_MIN).astype(np.float64))
    if weights is not None:
        losses = losses * weights[labels]
    return prob, float(be.xp.where(valid, losses, 0).sum()), int(valid.sum())


def softmax_loss_backward(be, prob, labels, axis, ignore, scale, weights=None):
    labels, valid = be.checked_labels(prob.shape, labels, axis, ignore)
    factor = valid * scale
    if weights is not None:
        factor = factor * weights[labels]
    classes = be.xp.arange(prob.shape[axis]).reshape(-1, *[1] * (prob.ndim - 1 - axis))
    return ((prob - (classes == labels)) * factor).astype(prob.dtype)


def checked_labels(be, shape, labels, axis, ignore):
    labels = labels.reshape(*shape[:axis], 1, *shape[axis + 1 :])
    valid = be.xp.ones(labels.shape, bool) if ignore is None else labels != ignore
    if bool((valid & ((labels < 0) | (labels >= shape[axis]))).any()):
        raise _label_fault(be.to_host(labels), shape, axis, ignore)
    return be.xp.where(valid, labels, 0), valid


def _label_fault(labels, shape, axis, ignore) -> LabelFault:
    """The fault of the first label that is neither `ignore` nor one of the classes along `axis` of scores of `shape`.

    labels: of the host, as many as `shape` has pixels.
    """
    classes = shape[axis]
    labels = labels.reshape(*shape[:axis], *shape[axis + 1 :])
    wrong = (labels < 0) | (labels >= classes)
    if ignore is not None:
        wrong &= labels != ignore
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    names = "(n, y, x)" if len(first) == 3 else "index"
    if labels[first] == np.iinfo(np.int32).min:
        return LabelFault(f"the label at {names} {first} is NaN, or too large for a class: correct the labels")
    remedy = (
        "raise num_output of the score layer"  # or what else the layer knows
        if ignore is None
        else f"only ignore_label {ignore} is passed over: correct the labels or raise num_output of the score layer"
    )
    fault = LabelFault(
        f"label {labels[first]:g} at {names} {first} is not one of the {classes} classes 0 to {classes - 1}: {remedy}"
    )
    fault.label = int(labels[first]) if ignore is None else None
    return fault
