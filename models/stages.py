"""A recipe's stages: what must be trained before, each from the last one's weights, and where their files lie.

runs/voc-fcn8s/0-vgg16-fcn.caffemodel                 the classifier, made convolutional
runs/voc-fcn8s/1-voc-fcn32s/                          nets, solver, snapshot/, log.jsonl, scores.txt
runs/voc-fcn8s/1-voc-fcn32s.caffemodel                what the stage has learned: where it is, the stage is done
runs/voc-fcn8s/2-voc-fcn16s/ ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from demitasse.models import recipes
from demitasse.models.base_weights import BASES
from demitasse.models.surgery import Weights, add_channels, late_fusion
from demitasse.proto.messages import SolverParameter
from demitasse.proto.weights import read_weights

SNAPSHOT = 4000  # where a recipe has none: a run must be able to go on


@dataclass(frozen=True)
class Stage:
    """One step of a recipe: a base to make or a net to train, and where its files are."""

    number: int
    name: str
    folder: Path

    @property
    def trains(self) -> bool:
        """Whether it trains a net; else it makes a base from a classifier."""
        return self.name not in BASES

    @property
    def result(self) -> Path:
        """The weights that the stage leaves."""
        return self.folder.with_name(self.folder.name + ".caffemodel")

    def newest_state(self) -> Path | None:
        """The state to go on from."""
        states = {
            int(found[1]): path
            for path in (self.folder / "snapshot").glob("train_iter_*.solverstate")
            if (found := re.search(r"_iter_(\d+)\.solverstate$", path.name))
        }
        return states[max(states)] if states else None


def stages(name: str, out: Path) -> list[Stage]:
    """What must be done before, and the net itself, in order."""
    order: list[str] = []

    def visit(step: str) -> None:
        if step in order:
            return
        for before in recipes.recipe(step).start if step not in BASES else ():
            visit(before)
        order.append(step)

    visit(name)
    first = 0 if order[0] in BASES else 1
    return [Stage(i, step, out / f"{i}-{step}") for i, step in enumerate(order, first)]


def solver_of(
    stage: Stage, *, snapshot: int | None = None, iterations: int | None = None, seed: int | None = None
) -> SolverParameter:
    """The recipe's solver with this run's paths, and these in the place of its own: a snapshot every `snapshot`
    iterations, max_iter `iterations`, random_seed `seed`."""
    recipe, param = recipes.recipe(stage.name), recipes.solver(stage.name)
    param.train_net, param.test_net[0] = (str(stage.folder / f"{split}.prototxt") for split in recipe.splits)
    param.snapshot_prefix = str(stage.folder / "snapshot" / "train")
    param.snapshot = snapshot or param.snapshot or SNAPSHOT
    param.max_iter = iterations or recipe.iterations or param.max_iter
    if seed is not None:
        param.random_seed = seed
    return param


def starting_weights(stage: Stage, sources: list[Path]) -> tuple[Weights, str]:
    """What a stage's net begins with, from the weights its recipe names; and a sentence about it."""
    weights = [read_weights(path) for path in sources]
    recipe = recipes.recipe(stage.name)
    if recipe.net.get("fusion") == "late":
        made, reports = late_fusion(
            stage.folder / f"{recipe.splits[0]}.prototxt", dict(zip(recipe.sources("")[0].images, weights, strict=True))
        )
        return made, "; ".join(f"{suffix}: {report}" for suffix, report in reports.items())
    made = dict(weights[0])
    if recipe.net.get("fusion") == "early" and "conv1_1" in made:
        made["conv1_1_bgrd"] = add_channels(made.pop("conv1_1"))
        return made, "conv1_1 has a channel more, the mean of the others, and is conv1_1_bgrd"
    return made, ""
