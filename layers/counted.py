"""What layers have in common whose numbers depend on how far training is: they count passes; none sees a solver."""

from __future__ import annotations


class CountsPasses:
    """A base beside Layer: `passes`, which its layer counts up, goes on where a restart begins."""

    passes = 0

    def state(self) -> dict:
        """The passes so far."""
        return {"passes": self.passes}

    def load_state(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.passes = state["passes"]
