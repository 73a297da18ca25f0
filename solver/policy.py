"""The learning rate as a pure function of the iteration: Caffe's seven policies, and what forks have added.

    fixed      base_lr
    step       base_lr * gamma ^ floor(iter / stepsize)
    exp        base_lr * gamma ^ iter
    inv        base_lr * (1 + gamma * iter) ^ -power
    multistep  base_lr * gamma ^ (how many stepvalues are <= iter)
    poly       base_lr * (1 - iter / max_iter) ^ power                 0 from max_iter on
    sigmoid    base_lr / (1 + exp(-gamma * (iter - stepsize)))
    multifixed stagelr of the first stage that iter is before the stageiter of; the last one for good
    plateau    base_lr * gamma ^ falls                                 schedule.py counts them

With min_lr (NVIDIA) poly ends there, not at 0: min_lr + (base_lr - min_lr) * (1 - iter / max_iter) ^ power.  In the
first rampup_interval iterations (NVIDIA; Intel: warmup_iter) the rate grows in a straight line from rampup_lr
(warmup_start_lr) to base_lr, whatever the policy.

Caffe's multistep moves on by at most one step per question asked; here the rate depends on the
iteration alone, so reading `solver.lr` changes nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from demitasse.proto.errors import SolverFault, did_you_mean
from demitasse.proto.messages import SolverParameter

NEEDS = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma",),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
    "multifixed": (),
    "plateau": ("gamma",),
}
USUAL = {"gamma": "0.1", "stepsize": "10000", "power": "0.9", "max_iter": "100000"}  # for messages


def check_policy(param: SolverParameter) -> None:
    """SolverFault where the fields of a SolverParameter do not describe a learning rate."""
    name = param.lr_policy
    if not name:
        raise SolverFault(f'no lr_policy given: add lr_policy: "fixed", or one of {", ".join(sorted(NEEDS))}')
    if name not in NEEDS:
        hint = did_you_mean(name.lower(), NEEDS)
        raise SolverFault(f"unknown lr_policy '{name}'{hint}; known: {', '.join(sorted(NEEDS))}")
    if name == "multifixed":
        _check_stages(list(param.stagelr), list(param.stageiter))
    elif not param.HasField("base_lr"):
        raise SolverFault("no base_lr given: add, say, base_lr: 0.01")
    if not (math.isfinite(param.base_lr) and param.base_lr >= 0):
        raise SolverFault(f"base_lr is {param.base_lr:g}: it must be a finite number, 0 or more")
    for field in NEEDS[name]:
        if not param.HasField(field):
            raise SolverFault(f"lr_policy '{name}' needs {field}, which is not set: add, say, {field}: {USUAL[field]}")
    if name == "plateau" and (not param.plateau_winsize or min(param.plateau_winsize) <= 0):
        raise SolverFault(
            "lr_policy 'plateau' needs a plateau_winsize, or several: after so many iterations without a lower loss "
            "the rate falls; add, say, plateau_winsize: 10000"
        )
    if name == "step" and param.stepsize <= 0:
        raise SolverFault(f"lr_policy 'step' needs a stepsize of at least 1, not {param.stepsize}")
    if name == "poly" and param.max_iter <= 0:
        raise SolverFault(f"lr_policy 'poly' needs a max_iter of at least 1, not {param.max_iter}")
    if name == "poly" and param.power < 0:
        raise SolverFault(f"lr_policy 'poly' needs a power of 0 or more, not {param.power:g}")
    if name in ("step", "multistep", "exp", "inv", "plateau") and param.gamma < 0:
        raise SolverFault(f"lr_policy '{name}' needs a gamma of 0 or more, not {param.gamma:g}")
    if min(param.rampup_interval, param.warmup_iter) < 0 or (param.rampup_interval and param.warmup_iter):
        raise SolverFault("rampup_interval and warmup_iter say the same: give one of them, of 0 iterations or more")
    if list(param.stepvalue) != sorted(param.stepvalue):
        raise SolverFault(f"stepvalue must not fall: {', '.join(map(str, param.stepvalue))}")


def _check_stages(rates: list[float], ends: list[int]) -> None:
    if not rates or len(rates) != len(ends):
        raise SolverFault(
            f"lr_policy 'multifixed' has {len(rates)} stagelr and {len(ends)} stageiter: each stage needs one of both"
        )
    if ends != sorted(ends):
        raise SolverFault(f"stageiter must not fall: {', '.join(map(str, ends))}")
    if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
        raise SolverFault("stagelr must be finite numbers, 0 or more")


def steps_taken(param: SolverParameter, iteration: int) -> int:
    """How often the rate has stepped down (.solverstate keeps it as current_step); 0 for policies without steps."""
    if param.lr_policy == "step":
        return iteration // param.stepsize
    if param.lr_policy == "multistep":
        return bisect_right(param.stepvalue, iteration)
    return 0


def learning_rate(param: SolverParameter, iteration: int, falls: int = 0) -> float:
    """The rate of a checked SolverParameter at an iteration (0 is the first), after so many falls of plateau."""
    name, base, gamma = param.lr_policy, param.base_lr, param.gamma
    ramp = param.rampup_interval or param.warmup_iter
    if iteration < ramp:
        start = param.rampup_lr if param.rampup_interval else param.warmup_start_lr
        return start + (base - start) * iteration / ramp
    if name == "multifixed":
        return param.stagelr[min(bisect_right(param.stageiter, iteration), len(param.stagelr) - 1)]
    if name == "fixed":
        return base
    if name in ("step", "multistep"):
        return base * _power(gamma, steps_taken(param, iteration))
    if name == "plateau":
        return base * _power(gamma, falls)
    if name == "exp":
        return base * _power(gamma, iteration)
    if name == "inv":
        return base * _power(1 + gamma * iteration, -param.power)
    if name == "poly":
        # Beyond max_iter the base of the power is negative: Caffe's rate is then NaN or grows again.
        least = param.min_lr
        return least + (base - least) * _power(max(0.0, 1 - iteration / param.max_iter), param.power)
    return base / (1 + _power(math.e, -gamma * (iteration - param.stepsize)))


def _power(base: float, exponent: float) -> float:
    try:
        return base**exponent
    except OverflowError:
        return math.inf
