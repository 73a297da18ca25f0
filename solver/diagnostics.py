"""What to tell people before they lose a night: settings that run but cannot learn.

Each check returns lines; none changes the net.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from demitasse.netdef.net import Net
from demitasse.proto.messages import SolverParameter
from demitasse.solver.log_lines import Output
from demitasse.solver.overrides import described, versions

if TYPE_CHECKING:
    from demitasse.solver.solver import Solver

FASTEST, SLOWEST = 10.0, 1e-7  # effective rates per mean loss outside these have never trained anything
SLOWEST_OF_SUMS = 1e-10  # and of losses that sum over pixels: FCN-8s as released has 4e-8 on images of 360x240


def begin(solver: Solver) -> None:
    """Before a solver's first iteration: tell its log what is noteworthy and what is wrong; watch for equal scores."""
    solver.log.event(
        "settings",
        solver=solver.log.path_in_events(solver.where.file),
        values=described(solver.param),
        versions=versions(),
        tests=[solver.log.path_in_events(net.plan.steps[0].where.file) for net in solver.test_nets],
        data=solver.data,
    )
    for name, text in solver.data.items():
        solver.log.detail(f"Data of {name}: {text}")
    for line in normalisation_lines(solver.net, solver.param):
        solver.log.info(line)
    for line in startup_warnings(solver.net, solver.param):
        solver.log.warn(line)
    solver.net.before_forward.append(EqualScores(solver))


def startup_warnings(net: Net, param: SolverParameter) -> list[str]:
    """What is wrong with a net as it stands before its first iteration."""
    return _frozen_at_zero(net) + _dead_chain(net) + schedule_warnings(param) + rate_warnings(net, param)


def unfed_inputs(net: Net) -> list[str]:
    """The inputs of a net that a command runs: no data layer makes them, and no script will."""
    if not net.inputs:
        return []
    names = ", ".join(net.inputs)
    return [
        f"nothing fills the input{'s' * (len(net.inputs) > 1)} {names} of this net: what comes of it is of zeros; give "
        "a net with a data layer, or fill it from Python: net.forward({...})"
    ]


def _is_zero(net, step) -> bool:
    params = step.layer.params
    return step.cls.multiplies and bool(params) and not bool(net.backend.xp.any(params[0].data))


def _frozen_at_zero(net) -> list[str]:
    lines = []
    for step in net.plan.steps:
        if _is_zero(net, step) and step.layer.params[0].lr_mult == 0:
            remedy = "start it as bilinear upsampling with --bilinear, or " * step.cls.upsamples
            lines.append(
                f"the weights of layer {step.label} are all zero and lr_mult 0 keeps them so: its output "
                f"is constant; {remedy}load weights for it"
            )
    return lines


def _dead_chain(net) -> list[str]:
    """Learned layers of zeros behind other layers of zeros: no gradient passes either."""
    dark: set = set()  # values that are zero because a layer before them is
    dead = []
    for step in net.plan.steps:
        zero = _is_zero(net, step)
        if zero and not dark.isdisjoint(step.bottoms) and step.layer.params[0].lr_mult != 0:
            dead.append(step)
        if zero or (step.bottoms and dark.issuperset(step.bottoms)):
            dark.update(step.tops)
    if not dead:
        return []
    more = f" and {len(dead) - 1} more layers" if len(dead) > 1 else ""
    return [
        f"the weights of {dead[0].label}{more} are all zero, and so are those of a layer before: no gradient "
        "passes and nothing is learned; load --weights, or give them a weight_filler"
    ]


# -- the learning rate beside what the loss is divided by -----------------------------------------------


def _softmax_losses(net) -> list:
    """(step, by how much its loss is larger than the mean over all labels) of every softmax loss: 250000 for a
    500x500 image with normalize: false, 1 where the loss is such a mean."""
    found = []
    for step in net.plan.steps:
        if step.cls.takes_softmax and step.tops[0].loss_weight:
            shape = step.bottoms[1].shape
            pixels, images = math.prod(shape), shape[0] if shape else 1
            found.append((step, pixels / step.layer.divisor(images, pixels // images) if pixels else 1.0))
    return found


def normalisation_lines(net: Net, param: SolverParameter) -> list[str]:
    """For each loss that is a sum over pixels: what the learning rate would be for the mean."""
    return [
        f"layer {step.label} sums its loss over {factor:g} labels: base_lr {param.base_lr:g} acts as "
        f"{param.base_lr * factor:.3g} would on the mean"
        for step, factor in _softmax_losses(net)
        if factor > 1
    ]


def per_label_losses(net: Net, outputs: Sequence[Output]) -> dict[str, float]:
    """{output: loss per label} of the softmax losses that are sums."""
    factors = {step.tops[0].name: factor for step, factor in _softmax_losses(net) if factor > 1}
    return {output.name: float(output.values) / factors[output.name] for output in outputs if output.name in factors}


def schedule_warnings(param: SolverParameter) -> list[str]:
    """Schedules that never do anything: steps beyond max_iter, fields that are missing."""
    lines = []
    if param.base_lr == 0:
        lines.append("base_lr is 0: nothing is learned")
    if param.lr_policy == "multistep" and not param.stepvalue:
        lines.append(
            "lr_policy is multistep without a stepvalue: the rate stays at base_lr; add, say, "
            f"stepvalue: {max(1, param.max_iter // 2)}"
        )
    if param.lr_policy in ("step", "multistep", "exp", "plateau") and param.gamma >= 1:
        does = "grows" if param.gamma > 1 else "stays at base_lr"
        lines.append(f"gamma is {param.gamma:g}: with lr_policy {param.lr_policy} the rate {does}; 0.1 is usual")
    if param.max_iter:
        steps = {"step": [param.stepsize], "multistep": param.stepvalue}.get(param.lr_policy, ())
        late = [step for step in steps if step >= param.max_iter]
        if late:
            field = "stepsize" if param.lr_policy == "step" else "stepvalue"
            lines.append(f"{field} {late[0]} is not before max_iter {param.max_iter}: the rate never gets there")
    return lines


def rate_warnings(net: Net, param: SolverParameter) -> list[str]:
    """Rates at which nothing has ever been learned, in view of how the loss is summed."""
    if param.type not in ("SGD", "Nesterov"):
        return []
    lines = []
    for step, factor in _softmax_losses(net):
        factor *= abs(step.tops[0].loss_weight)
        rate = param.base_lr * factor / (1 - param.momentum)
        if rate > FASTEST:
            remedy = "normalize: true in its loss_param, or " if factor > 1 else ""
            lines.append(
                f"base_lr {param.base_lr:g} with momentum {param.momentum:g} on layer {step.label}, whose "
                f"loss is {factor:g} times its mean, will very likely end in NaN: {remedy}a base_lr near "
                f"{0.1 * (1 - param.momentum) / factor:.0e}"
            )
        elif 0 < rate < (SLOWEST if factor <= 1 else SLOWEST_OF_SUMS):
            over = "is its mean over the labels" if factor <= 1 else f"sums over {factor:g} labels"
            why = "such rates belong to normalize: false" if factor <= 1 else "the slowest published nets take 1e-14"
            lines.append(
                f"base_lr {param.base_lr:g} on layer {step.label}, whose loss {over}, changes next to nothing: {why}"
            )
    return lines


# -- scores that are all the same -----------------------------------------------------------------------


class EqualScores:
    """A before_forward hook that finds softmax losses whose scores stay equal although they have been taught.

    Equal scores are how FCN starts: its score layers are zero.  But labelled pixels give such a layer a gradient, and
    after one update at any rate its scores differ, unless zeros lie between it and the loss.  So a loss is looked at
    until its scores differ, and reported where they are equal after an update that had labels to learn from.
    """

    def __init__(self, solver):
        self.solver, self.net = solver, solver.net
        # Step of each loss under watch -> the iteration that should have taught it, once there was one.
        self.taught: dict[int, int | None] = {
            step.index: None for step in self.net.plan.steps if step.cls.takes_softmax and step.tops[0].loss_weight
        }

    def __call__(self, index: int) -> None:
        if not self.taught:
            self.net.before_forward.remove(self)
        if index not in self.taught:
            return
        step, taught = self.net.plan.steps[index], self.taught[index]
        scores, axis = self.net.blobs[step.bottoms[0].name], step.spec.softmax_param.axis
        classes = scores.shape[axis] if scores.size else 0
        if classes < 2 or float((scores.max(axis) - scores.min(axis)).max()) != 0:
            del self.taught[index]
        elif taught is None:
            if self.solver.lr and self._has_labels(step):
                self.taught[index] = self.solver.iter
        elif self.solver.iter > taught:
            del self.taught[index]
            zeros = [above.label for above in _above(step.bottoms[0]) if _is_zero(self.net, above)]
            why = f"the weights of {' and of '.join(zeros)} are zero" if zeros else "nothing before it has changed them"
            self.solver.log.warn(
                f"the scores that layer {step.label} reads are still all the same after an update, so "
                f"that its loss stays at ln {classes} = {math.log(classes):.4f} per label: {why}"
            )

    def _has_labels(self, step) -> bool:
        labels = self.net.blobs[step.bottoms[1].name]
        return step.layer.ignore is None or bool((labels != step.layer.ignore).any())


def _above(value) -> list:
    """The steps that a value comes from, the nearest first."""
    found = [value.producer]
    for step in found:
        found += [bottom.producer for bottom in step.bottoms if bottom.producer not in found]
    return found
