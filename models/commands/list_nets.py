"""`python -m models list`: the nets of models/recipes.py, and the classifiers that they start from."""

from __future__ import annotations

from demitasse.models import recipes
from demitasse.models.base_weights import BASES
from demitasse.models.commands import arguments


def add_to(commands) -> None:
    """The command `list` and its options."""
    parser = arguments.add_command(commands, "list", "the nets that there are")
    parser.set_defaults(run=run)


def run(_) -> None:
    """A line a net: its learned values in millions, the weights it starts from, what it is."""
    print(f"{'net':24} {'values':>8}  {'starts from':37} data, net")
    for name, recipe in recipes.NETS.items():
        start = " and ".join(recipe.start) or "random weights"
        print(f"{name:24} {recipes.param_count(name) / 1e6:6.1f} M  {start:37} {recipe.about}")
    print(
        "\nand by `write`\n"
        "own                      a slim FCN-8s for a folder of images and one of labels\n"
        "demo                     a slim FCN-8s for the drawn scenes of `make train`"
    )
    print(
        "\n"
        + "\n".join(
            f"{name:24} {classifier}'s weights, by `python -m models prepare {name}`"
            for name, (_, classifier) in BASES.items()
        )
    )
