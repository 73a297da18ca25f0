"""Where a NaN or an infinity began, once a loss is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from demitasse.proto.errors import SolverFault

if TYPE_CHECKING:
    from demitasse.solver.solver import Solver


class Diverged(SolverFault):
    """A loss that updates have made infinite or NaN, not the data or the weights that training began with."""


def loss_fault(solver: Solver, loss: float, state_before: dict) -> SolverFault:
    """The fault for a loss that is not finite: it names the first layer where a value is not.

    That is, in the order of what came first: weights before any update of this run; data of the iteration before,
    whose gradients spoilt the weights although the loss was still finite; weights after an update; and of this
    iteration, run again from `state_before` (net.state() before it), the first layer that gives such a value.
    """
    net, iteration = solver.net, solver.iter
    what = f"iteration {iteration}: the loss is {loss:g}"
    remedy = f"lower base_lr (now {solver.lr:g}), set clip_gradients, or look at the data and labels of this iteration"
    spoilt = _spoilt_weights(net)
    if spoilt and not solver.updates:
        step, array, count = spoilt
        source = f"since {solver.loaded_from} was loaded" if solver.loaded_from else "before the first update"
        return SolverFault(
            f"{what}; {count} weights (array {array}) of this layer have been NaN or infinite {source}, the first such "
            "layer: start from other weights",
            step.where,
            step.label,
        )
    if spoilt:
        for state in solver.states_before:
            step, location = _first_not_finite(net, state)
            if step and not step.bottoms:
                return SolverFault(
                    f"{what}; the data of this layer held a NaN or an infinity in iteration {iteration - 1} "
                    f"({location}), which its update has put into the weights: correct them",
                    step.where,
                    step.label,
                )
        step, array, _ = spoilt
        return Diverged(
            f"{what}; an update has made the weights (array {array}) of this layer NaN or infinite, "
            f"the first such layer: {remedy}",
            step.where,
            step.label,
        )
    step, location = _first_not_finite(net, state_before)
    if step is None:
        return Diverged(f"{what}, and finite when the same pass is run again: {remedy}")
    why = (
        f"the first values that are not finite come out of this layer ({location}): {remedy}"
        if step.bottoms
        else f"the data of this layer hold a NaN or an infinity ({location}): correct them"
    )
    kind = Diverged if step.bottoms else SolverFault
    return kind(f"{what}; {why}", step.where, step.label)


def _spoilt_weights(net):
    """(step, number of the array, how many of its values) of the first weights that are not finite; or None."""
    for step in net.plan.steps:
        for i, p in enumerate(step.layer.params):
            finite = net.backend.xp.isfinite(p.data)
            if not bool(finite.all()):
                return step, i, int(p.count - finite.sum())
    return None


def _first_not_finite(net, state: dict):
    """(step, location) of the first layer that gives a value which is not finite in the pass that begins at `state`;
    (None, "") where none does."""
    found: list[tuple] = []

    def hook(index: int) -> None:
        step = net.plan.steps[index]
        for value in step.tops if not found else ():
            array = net.blobs.get(value.name)
            if array is not None and not bool(net.backend.xp.isfinite(array).all()):
                found.append((step, _locate(net, value.name, array)))
                break

    now = net.state()
    net.load_state(state)
    net.after_forward.append(hook)
    try:
        net.forward()
    finally:
        net.after_forward.remove(hook)
        net.load_state(now)
    return found[0] if found else (None, "")


def _locate(net, name: str, array) -> str:
    """ "blob data, image 2, at 0,5,7": where the first value that is not finite stands."""
    values = net.backend.to_host(array)
    index = [int(i) for i in np.argwhere(~np.isfinite(values))[0]]
    image = f", image {index[0]} of the batch" if values.ndim > 1 else ""
    at = ",".join(map(str, index[1:] if values.ndim > 1 else index))
    return f"blob {name}{image}{', at ' * bool(at)}{at}"
