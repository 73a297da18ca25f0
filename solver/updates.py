"""The six update rules and what comes before them, in Caffe's order.

One iteration, from the sum of the gradients of its iter_size passes:

    1. clip_gradients: scale the sum so that its L2 norm over all parameters is at most that
    2. divide by iter_size
    3. add the weight decay: decay * w (L2) or decay * sign(w) (L1)
    4. the rule turns the gradient into an update, and keeps its history
    5. w -= update

The rate is inside the history of SGD and Nesterov (unlike PyTorch's SGD, where it multiplies the
history): a change of the rate acts on new gradients only.

A rule is a function rule(xp, g, history, rate, s, t): it replaces the gradient g by the update,
and the arrays of `history` by their next values; t counts the updates from 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demitasse.proto.errors import SolverFault, WeightsFault, did_you_mean


@dataclass(frozen=True)
class Settings:
    """The constants of all rules, named as in SolverParameter."""

    momentum: float
    momentum2: float
    rms_decay: float
    delta: float


def sgd(xp, g, history, rate, s, t):
    """h = momentum h + rate g;  update h.  (Backends fuse it: sgd_update.)"""
    (h,) = history
    h *= s.momentum
    h += rate * g
    g[...] = h


def nesterov(xp, g, history, rate, s, t):
    """h' = momentum h + rate g;  update (1 + momentum) h' - momentum h."""
    (h,) = history
    old = s.momentum * h
    xp.multiply(g, rate, out=h)
    h += old
    xp.multiply(h, 1 + s.momentum, out=g)
    g -= old


def adagrad(xp, g, history, rate, s, t):
    """h += g^2;  update rate g / (sqrt(h) + delta)."""
    (h,) = history
    h += g * g
    _divide_by_root(xp, g, h, rate, s.delta)


def rmsprop(xp, g, history, rate, s, t):
    """h = rms_decay h + (1 - rms_decay) g^2;  update rate g / (sqrt(h) + delta)."""
    (h,) = history
    _running_square(h, g, s.rms_decay)
    _divide_by_root(xp, g, h, rate, s.delta)


def adadelta(xp, g, history, rate, s, t):
    """Running means (momentum) a of g^2 and b of update^2;  update g sqrt((b + delta) / (a + delta)), times rate."""
    a, b = history
    _running_square(a, g, s.momentum)
    ratio = b + s.delta
    ratio /= a + s.delta
    g *= xp.sqrt(ratio, out=ratio)
    _running_square(b, g, s.momentum)
    g *= rate


def adam(xp, g, history, rate, s, t):
    """m, v: running means of g and g^2, corrected for their start at 0;  update rate m / (sqrt(v) + delta)."""
    m, v = history
    m *= s.momentum
    m += (1 - s.momentum) * g
    _running_square(v, g, s.momentum2)
    g[...] = m
    correction = math.sqrt(1 - s.momentum2**t) / (1 - s.momentum**t)
    _divide_by_root(xp, g, v, rate * correction, s.delta)


def _running_square(h, g, keep):
    h *= keep
    square = g * g
    square *= 1 - keep
    h += square


def _divide_by_root(xp, g, h, rate, delta):
    root = xp.sqrt(h)
    root += delta
    g /= root
    g *= rate


RULES = {"SGD": sgd, "Nesterov": nesterov, "AdaGrad": adagrad, "RMSProp": rmsprop, "AdaDelta": adadelta, "Adam": adam}
TWO_HISTORIES = ("AdaDelta", "Adam")
PIECE = 1 << 15  # numbers; four such arrays fit into a core's cache


def check_update(param) -> None:
    """SolverFault where the fields of a SolverParameter do not describe an update."""
    if param.type not in RULES:
        hint = did_you_mean(param.type.lower(), [name.lower() for name in RULES])
        for name in RULES:
            hint = hint.replace(f"'{name.lower()}'", f"'{name}'")
        raise SolverFault(f"unknown solver type '{param.type}'{hint}; known: {', '.join(RULES)}")
    if param.type in ("AdaGrad", "RMSProp") and param.momentum:
        raise SolverFault(
            f'{param.type} has no momentum, but momentum is {param.momentum:g}: remove it, or use type: "Adam"'
        )
    for field in ("momentum", "momentum2"):
        if not 0 <= getattr(param, field) < 1:
            raise SolverFault(f"{field} is {getattr(param, field):g}: it must be at least 0 and below 1")
    if not 0 <= param.rms_decay <= 1:
        raise SolverFault(f"rms_decay is {param.rms_decay:g}: it must be from 0 to 1")
    if param.iter_size < 1:
        raise SolverFault(f"iter_size is {param.iter_size}: it must be at least 1 (gradients are divided by it)")
    if param.HasField("clip_gradients") and param.clip_gradients == 0:
        raise SolverFault("clip_gradients is 0, which would freeze the net: give the largest norm, or remove the field")
    if param.regularization_type not in ("L1", "L2"):
        raise SolverFault(f"unknown regularization_type '{param.regularization_type}'; known: L1, L2")


class Updater:
    """The rule of a SolverParameter with the histories of a net's learnable params.

    history[k][i] belongs to params[i]; k is 0, and 1 for the rules of two histories.  It is None for a
    param that is not learned (lr_mult 0), whose history Caffe writes as zeros.
    """

    def __init__(self, param, params, backend):
        check_update(param)
        self.params, self.be, self.type = params, backend, param.type
        self.settings = Settings(param.momentum, param.momentum2, param.rms_decay, param.delta)
        self.clip, self.l1 = param.clip_gradients, param.regularization_type == "L1"
        self.weight_decay = param.weight_decay
        self.history = [
            [backend.zeros(p.shape) if self._learned(p) else None for p in params]
            for _ in range(2 if param.type in TWO_HISTORIES else 1)
        ]

    @staticmethod
    def _learned(p) -> bool:
        return p.grad is not None and p.lr_mult != 0

    def gradient_norm(self) -> float:
        """The L2 norm of all gradients together."""
        squares = [self.be.xp.vdot(p.grad, p.grad) for p in self.params if self._learned(p)]
        return math.sqrt(float(sum(squares))) if squares else 0.0

    def clip_scale(self) -> tuple[float, float]:
        """(what clip_gradients multiplies the gradients by, their norm); (1, 0) where nothing is to be clipped."""
        if self.clip < 0:
            return 1.0, 0.0
        norm = self.gradient_norm()
        return (self.clip / norm if norm > self.clip else 1.0), norm

    def apply(self, rate: float, t: int, scale: float = 1.0) -> None:
        """One update of every param from scale * its gradient; t counts the updates from 1."""
        rule, xp, settings = RULES[self.type], self.be.xp, self.settings
        learned = [(p, [h[i] for h in self.history]) for i, p in enumerate(self.params) if self._learned(p)]
        tensors = [(p.data, p.grad, histories, p.lr_mult, p.decay_mult) for p, histories in learned]
        if self.be.update(self.type, tensors, settings, rate, self.weight_decay, scale, t, self.l1):
            return
        for p, histories in learned:
            if scale != 1:
                p.grad *= scale
            decay, own_rate = self.weight_decay * p.decay_mult, rate * p.lr_mult
            if rule is sgd:
                self.be.sgd_update(p.data, p.grad, *histories, own_rate, settings.momentum, decay, self.l1)
                continue
            for w, g, *history in _pieces([p.data, p.grad, *histories]):
                if decay:
                    g += decay * (xp.sign(w) if self.l1 else w)
                rule(xp, g, history, own_rate, settings, t)
                w -= g

    def updates_to_grads(self) -> None:
        """Put the last update into each gradient, where Caffe leaves it (snapshot_diff writes it)."""
        if RULES[self.type] is sgd:
            for p, h in zip(self.params, self.history[0], strict=True):
                if h is not None:
                    p.grad[...] = h

    def host_history(self):
        """All histories on the host in Caffe's file order: the first of every param, then the second ones."""
        return [self.be.to_host(self.be.zeros(p.shape) if h is None else h) for p, h in self._in_file_order()]

    def _in_file_order(self):
        return [(p, h) for histories in self.history for p, h in zip(self.params, histories, strict=True)]

    def check_history(self, arrays) -> None:
        """WeightsFault where histories in Caffe's file order belong to another solver or net."""
        mine = self._in_file_order()
        if len(arrays) != len(mine):
            raise WeightsFault(
                f"the state has {len(arrays)} history arrays, {self.type} on its net here {len(mine)}: "
                "it was written by another solver type or for another net"
            )
        for i, ((p, _), array) in enumerate(zip(mine, arrays, strict=True)):
            if array.size != p.count or _trimmed(array.shape) != _trimmed(p.shape):
                raise WeightsFault(f"history {i} of the state has shape {tuple(array.shape)}, the parameter {p.shape}")

    def load_history(self, arrays) -> None:
        """Take histories that have passed check_history."""
        for (p, h), array in zip(self._in_file_order(), arrays, strict=True):
            if h is not None:
                h[...] = self.be.asarray(array.reshape(p.shape), dtype=h.dtype)


def _pieces(arrays):
    """The arrays themselves on a device; on the host stretches of them that stay in a core's cache, so that what a
    rule computes on the way takes neither memory nor its bandwidth."""
    if not isinstance(arrays[0], np.ndarray) or arrays[0].size <= PIECE:
        yield arrays
        return
    flat = [array.reshape(-1) for array in arrays]
    for begin in range(0, flat[0].size, PIECE):
        yield [array[begin : begin + PIECE] for array in flat]


def _trimmed(shape):
    """A shape without leading ones: files of old Caffe have four axes throughout."""
    shape = list(shape)
    while shape and shape[0] == 1:
        del shape[0]
    return tuple(shape)
