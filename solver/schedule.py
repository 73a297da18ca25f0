"""The learning rate of a run: the policy's, by the iteration and, with lr_policy plateau, by the losses so far.

With plateau (SSD's fork) the rate is base_lr * gamma ^ falls.  It falls once plateau_winsize[falls] iterations have
passed since the smoothed loss was last lower than ever before, or since the rate fell; when all of plateau_winsize has
been used it stays.
"""

from __future__ import annotations

import math

from demitasse.proto.messages import SolverParameter
from demitasse.solver.policy import learning_rate, steps_taken


class Schedule:
    """The rates of a checked SolverParameter."""

    def __init__(self, param: SolverParameter):
        self._param = param
        self._falls, self._lowest, self._since = 0, math.inf, 0

    def rate(self, iteration: int) -> float:
        """The rate at an iteration, 0 the first, by what is known of losses."""
        return learning_rate(self._param, iteration, self._falls)

    def after(self, iteration: int, loss: float) -> float:
        """The rate of the update of an iteration, in view of its smoothed loss."""
        windows = self._param.plateau_winsize
        if loss < self._lowest:
            self._lowest, self._since = loss, iteration
        if self._param.lr_policy == "plateau" and self._falls < len(windows):
            if iteration - self._since >= windows[self._falls]:
                self._falls, self._since = self._falls + 1, iteration
        return self.rate(iteration)

    def steps(self, iteration: int) -> int:
        """How often the rate has stepped down, as .solverstate keeps it."""
        return self._falls if self._param.lr_policy == "plateau" else steps_taken(self._param, iteration)

    def state(self) -> dict:
        """What a resumed run needs, as JSON values."""
        return {"falls": self._falls, "lowest": self._lowest, "since": self._since}

    def load_state(self, state: dict) -> None:
        """Go on from a state."""
        self._falls, self._lowest, self._since = int(state["falls"]), float(state["lowest"]), int(state["since"])
