"""The update rules, Caffe's six and AdamW, and what comes before them, in Caffe's order.

One iteration, from the sum of the gradients of its iter_size passes:

    1. clip_gradients: scale the sum so that its L2 norm over all parameters is at most that
    2. divide by iter_size
    3. add the weight decay: decay * w (L2) or decay * sign(w) (L1)
    4. the rule turns the gradient into an update, and keeps its history
    5. w -= update

The rate is inside the history of SGD and Nesterov (unlike PyTorch's SGD, where it multiplies the
history): a change of the rate acts on new gradients only.

With larc (NVIDIA) every learned array has a rate of its own, by how large it is beside its gradient before 3; lr_mult
then only says whether it is learned.  Source: "Large batch training of convolutional networks" (You et al., 2017).

AdamW takes adamw_decay, times the rate and decay_mult, of each weight off it, which no history sees.  Source:
"Decoupled weight decay regularization" (Loshchilov and Hutter, 2019).

A rule is a list of elementwise steps, which the backend runs on every element of a learned array w, its
gradient g and its histories h, k (contract.UpdateProgram); all but SGD leave the update in g.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demitasse.layers.backend.update_program import UpdateProgram, UpdateStep, UpdateTensor
from demitasse.proto.errors import SolverFault, WeightsFault, did_you_mean
from demitasse.proto.messages import SolverParameter


@dataclass(frozen=True)
class Settings:
    """The constants of all rules, named as in SolverParameter."""

    momentum: float
    momentum2: float
    rms_decay: float
    delta: float

    def scalars(self, rate: float, t: int) -> dict[str, float]:
        """Every scalar that steps may name, but for an array's own.  rate: base_lr by its policy, times lr_mult; t: the
        updates so far, this one counted."""
        return {
            "momentum": self.momentum,
            "fresh": 1 - self.momentum,
            "ahead": 1 + self.momentum,
            "momentum2": self.momentum2,
            "fresh2": 1 - self.momentum2,
            "rms_decay": self.rms_decay,
            "rms_fresh": 1 - self.rms_decay,
            "delta": self.delta,
            "rate": rate,
            "corrected_rate": rate * (math.sqrt(1 - self.momentum2**t) / (1 - self.momentum**t)),
        }


def _steps(text: str) -> tuple[UpdateStep, ...]:
    """Of lines `out = a * b` or `out = sqrt a`."""
    found = []
    for line in text.strip().splitlines():
        out, _, *words = line.split()
        found.append(UpdateStep(out, *words) if len(words) == 2 else UpdateStep(out, words[1], words[0], words[2]))
    return tuple(found)


SCALE = _steps("g = g * scale")
DECAY = {"L2": _steps("t = w * decay\ng = g + t"), "L1": _steps("t = sign w\nt = t * decay\ng = g + t")}
SHRINK = _steps("t = w * shrink\ng = g + t")  # AdamW's
STEP = _steps("w = w - g")
# h, k: running means of g and g^2, corrected for their start at 0;  update rate h / (sqrt(k) + delta)
ADAM = _steps("""
    h = h * momentum
    t = g * fresh
    h = h + t
    k = k * momentum2
    t = g * g
    t = t * fresh2
    k = k + t
    t = sqrt k
    t = t + delta
    g = h / t
    g = g * corrected_rate
""")
RULES = {
    # h = momentum h + rate g;  update h, which g is not replaced by
    "SGD": _steps("""
        h = h * momentum
        t = g * rate
        h = h + t
        w = w - h
    """),
    # h' = momentum h + rate g;  update (1 + momentum) h' - momentum h
    "Nesterov": _steps("""
        t = h * momentum
        h = g * rate
        h = h + t
        g = h * ahead
        g = g - t
    """)
    + STEP,
    # h += g^2;  update rate g / (sqrt(h) + delta)
    "AdaGrad": _steps("""
        t = g * g
        h = h + t
        t = sqrt h
        t = t + delta
        g = g / t
        g = g * rate
    """)
    + STEP,
    # h = rms_decay h + (1 - rms_decay) g^2;  update rate g / (sqrt(h) + delta)
    "RMSProp": _steps("""
        h = h * rms_decay
        t = g * g
        t = t * rms_fresh
        h = h + t
        t = sqrt h
        t = t + delta
        g = g / t
        g = g * rate
    """)
    + STEP,
    # running means (momentum) h of g^2 and k of update^2;  update g sqrt((k + delta) / (h + delta)), times rate
    "AdaDelta": _steps("""
        h = h * momentum
        t = g * g
        t = t * fresh
        h = h + t
        t = k + delta
        u = h + delta
        t = t / u
        t = sqrt t
        g = g * t
        k = k * momentum
        t = g * g
        t = t * fresh
        k = k + t
        g = g * rate
    """)
    + STEP,
    "Adam": ADAM + STEP,
    "AdamW": ADAM + SHRINK + STEP,
}
TWO_HISTORIES = ("AdaDelta", "Adam", "AdamW")


@functools.cache
def update_program(rule: str, scaled: bool, decay: str | None) -> UpdateProgram:
    """The steps of one update.  scaled: the gradient is multiplied by `scale` first.  decay: "L1", "L2" or None."""
    steps = SCALE * scaled + (DECAY[decay] if decay else ()) + RULES[rule]
    arrays = ("w", "g", "h", "k") if rule in TWO_HISTORIES else ("w", "g", "h")
    written = {step.out for step in steps}
    scalars = {name: None for step in steps for name in (step.a, step.b) if name and name not in (*arrays, *written)}
    return UpdateProgram(arrays, tuple(scalars), steps)


def check_update(param: SolverParameter) -> None:
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
    if param.larc_policy not in ("scale", "clip") or (param.larc and param.larc_eta <= 0):
        raise SolverFault(f"larc_policy '{param.larc_policy}', larc_eta {param.larc_eta:g}: scale or clip, above 0")
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
        self.clip, self.regularization = param.clip_gradients, param.regularization_type
        self.weight_decay, self.shrinks_by = param.weight_decay, param.adamw_decay
        self.larc = (param.larc_eta, param.larc_policy) if param.larc else None
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
        """One update of every param from scale * its gradient.  rate: base_lr by its policy; t counts the updates from
        1."""
        self.be.invalidate_weight_cache()
        groups: dict[UpdateProgram, list[UpdateTensor]] = {}
        by_rates: dict[tuple[float, float], tuple[UpdateProgram, tuple[float, ...]]] = {}  # by rate and decay_mult
        for i, p in enumerate(self.params):
            if not self._learned(p):
                continue
            own, decay = self._own_rate(p, rate, scale), self.weight_decay * p.decay_mult
            rates = own, p.decay_mult
            if rates not in by_rates:
                program = update_program(self.type, scale != 1, self.regularization if decay else None)
                shrink = own * self.shrinks_by * p.decay_mult
                named = self.settings.scalars(own, t) | {"scale": scale, "decay": decay, "shrink": shrink}
                by_rates[rates] = program, tuple([named[name] for name in program.scalars])
            program, scalars = by_rates[rates]
            arrays = p.data, p.grad, *[histories[i] for histories in self.history]
            groups.setdefault(program, []).append(UpdateTensor(arrays, scalars))
        for program, tensors in groups.items():
            self.be.update(program, tensors)

    def _own_rate(self, p, rate: float, scale: float) -> float:
        """The rate of a learned array whose gradient is scale * p.grad."""
        if self.larc is None:
            return rate * p.lr_mult
        eta, policy = self.larc
        size, gradient = (math.sqrt(float(self.be.xp.vdot(each, each))) for each in (p.data, p.grad))
        ratio = eta * size / (scale * gradient) if size and gradient else 1.0
        return min(rate, ratio) if policy == "clip" else rate * ratio

    def updates_to_grads(self) -> None:
        """Put the last update into each gradient, where Caffe leaves it (snapshot_diff writes it)."""
        if self.type == "SGD":
            for p, h in zip(self.params, self.history[0], strict=True):
                if h is not None:
                    p.grad[...] = h

    def host_history(self) -> list[np.ndarray]:
        """All histories on the host, each of its param's shape, in Caffe's file order: the first of every param, then
        the second ones."""
        return [self.be.to_host(self.be.zeros(p.shape) if h is None else h) for p, h in self._in_file_order()]

    def _in_file_order(self):
        return [(p, h) for histories in self.history for p, h in zip(self.params, histories, strict=True)]

    def check_history(self, arrays: Sequence[np.ndarray]) -> None:
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

    def load_history(self, arrays: Sequence[np.ndarray]) -> None:
        """Take histories that have passed check_history."""
        for (p, h), array in zip(self._in_file_order(), arrays, strict=True):
            if h is not None:
                h[...] = self.be.asarray(array.reshape(p.shape), dtype=h.dtype)


def _trimmed(shape):
    """A shape without leading ones: files of old Caffe have four axes throughout."""
    shape = list(shape)
    while shape and shape[0] == 1:
        del shape[0]
    return tuple(shape)
