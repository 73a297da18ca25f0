"""The nets of models/family.py by name, as messages and as files.

write("voc-fcn8s", folder)      folder/voc-fcn8s/{train,val,deploy,solver}.prototxt
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from demitasse.models.family import NETS, Recipe
from demitasse.models.fcn import unet
from demitasse.models.text_files import write_files
from demitasse.netdef.plan import Plan
from demitasse.proto import text
from demitasse.proto.errors import SchemaFault, did_you_mean
from demitasse.proto.messages import NetParameter, SolverParameter

WRITTEN = ("own", "demo", "ssd-demo", "ssd-own")  # nets that `write` knows beside those of the family


def recipe(name: str) -> Recipe:
    """A net's recipe; SchemaFault, with the nearest name, where there is none."""
    if name in WRITTEN:
        raise SchemaFault(
            f"{name} has no recipe: `python -m models write {name} OUT` writes its nets and a solver, and "
            "`python -m solver train SOLVER` trains them"
        )
    if name not in NETS:
        raise SchemaFault(
            f"no net '{name}'{did_you_mean(name, [*NETS, *WRITTEN])}; `python -m models list` shows them all"
        )
    return NETS[name]


def nets(
    name: str, *, root: str = "data", classes: int | None = None, width: float = 1.0, random: bool = False
) -> dict[str, NetParameter]:
    """The nets of a recipe by file name: {"train": ..., "val": ..., "deploy": ...} (or trainval and test).

    root: the folder of the data sets.  classes: another number of classes than the data set's.  width: multiplies
    the trunk's channels.  random: with fillers, for training from random weights.
    SchemaFault where `classes` cannot be said of several heads.
    """
    chosen = recipe(name)
    heads, sources = chosen.heads, chosen.sources(root)
    if classes is not None:
        if len(heads) > 1:
            raise SchemaFault(f"{name} has {len(heads)} heads: their class counts cannot be changed by one number")
        heads = (replace(heads[0], classes=classes),)
        if sources[0].module == "voc_layers":
            sources = tuple(replace(source, options={**source.options, "classes": classes}) for source in sources)
    arguments = {**chosen.net, "width": width}
    if chosen.builder is unet:
        heads = heads[0]
    elif random:
        arguments["random"] = True
    built = {
        split: chosen.builder(source, heads, **arguments) for split, source in zip(chosen.splits, sources, strict=True)
    }
    built["deploy"] = chosen.builder(sources[0].deploy(), heads, **arguments)
    return built


def param_count(name: str, width: float = 1.0) -> int:
    """How many learned values a recipe's net has, fixed upsampling counted in; width: a factor on channel counts."""
    return sum(param.count for param in Plan(nets(name, width=width)["deploy"]).learnable)


def solver(name: str) -> SolverParameter:
    """The solver of a recipe, for nets in the folder that it is in."""
    chosen = recipe(name)
    train, test = chosen.splits
    return SolverParameter(train_net=f"{train}.prototxt", test_net=[f"{test}.prototxt"], **chosen.solver)


def files(
    name: str, *, root: str = "data", classes: int | None = None, width: float = 1.0, random: bool = False
) -> dict[str, str]:
    """File name -> text of everything that `write` writes.  The keywords are those of `nets`."""
    head = f"# {name}: {recipe(name).about}.\n"
    built = {
        f"{split}.prototxt": message
        for split, message in nets(name, root=root, classes=classes, width=width, random=random).items()
    }
    built["solver.prototxt"] = solver(name)
    return {path: head + text.format(message) for path, message in built.items()}


def write(name: str, folder: str | Path, folder_name: str = "", *, overwrite: bool = False, **options) -> list[Path]:
    """Write a recipe's prototxts to folder/name/ (or folder/folder_name/); options as of `files`.

    Raises DataFault where files there differ, but with `overwrite`.
    """
    return write_files(Path(folder) / (folder_name or name), files(name, **options), overwrite)
