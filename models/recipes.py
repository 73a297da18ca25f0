"""The published nets by name: their data, heads and solvers; and some that the paper has but its release lacks.

    write("voc-fcn8s", folder)      folder/voc-fcn8s/{train,val,deploy,solver}.prototxt

Two regimes of training.  Heavy: batch 1, a loss summed over the pixels, momentum 0.99, a tiny rate.  Accumulated
(FCN-AlexNet): 20 images an update, a loss averaged over the pixels, momentum 0.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from demitasse.models.data.scenes import MEAN
from demitasse.models.fcn import Head, Source, fcn, unet
from demitasse.models.text_files import write_files
from demitasse.netdef.plan import Plan
from demitasse.proto import text
from demitasse.proto.errors import SchemaFault, did_you_mean
from demitasse.proto.messages import NetParameter, SolverParameter

# Data sets.  Each gives (source of the training split, source of the test split) under a root folder.


def voc(root: str) -> tuple[Source, Source]:
    train = {"sbdd_dir": f"{root}/sbdd/dataset", "seed": 1337, "split": "train", "mean": MEAN}
    val = {"voc_dir": f"{root}/pascal/VOC2011", "seed": 1337, "split": "seg11valid", "mean": MEAN}
    return (
        Source(labels=("label",), module="voc_layers", layer="SBDDSegDataLayer", options=train),
        Source(labels=("label",), module="voc_layers", layer="VOCSegDataLayer", options=val),
    )


def nyud(*images: str) -> Callable[[str], tuple[Source, Source]]:
    def sources(root: str) -> tuple[Source, Source]:
        # One image's top is called data, whatever it shows.
        tops = images if len(images) > 1 else ("data",)
        return tuple(
            Source(
                images=tops,
                labels=("label",),
                module="nyud_layers",
                layer="NYUDSegDataLayer",
                size=(425, 560),
                options={"tops": [*images, "label"], "seed": 1337, "nyud_dir": f"{root}/nyud", "split": split},
            )
            for split in ("trainval", "test")
        )

    return sources


def siftflow(root: str) -> tuple[Source, Source]:
    return tuple(
        Source(
            labels=("sem", "geo"),
            module="siftflow_layers",
            layer="SIFTFlowSegDataLayer",
            size=(256, 256),
            options={"siftflow_dir": f"{root}/sift-flow", "seed": 1337, "split": split},
        )
        for split in ("trainval", "test")
    )


def pascalcontext(root: str) -> tuple[Source, Source]:
    return tuple(
        Source(
            labels=("label",),
            module="pascalcontext_layers",
            layer="PASCALContextSegDataLayer",
            options={
                "context_dir": f"{root}/pascal-context",
                "seed": 1337,
                "split": split,
                "voc_dir": f"{root}/pascal",
            },
        )
        for split in ("train", "val")
    )


SIFT_HEADS = (Head(33, "sem", "loss", "_sem"), Head(3, "geo", "loss_geo", "_geo"))


@dataclass(frozen=True)
class Recipe:
    """A net and how it is trained."""

    sources: Callable[[str], tuple[Source, Source]]
    net: dict[str, Any]  # arguments of fcn() or unet()
    solver: dict[str, Any]  # fields of SolverParameter
    start: tuple[str, ...] = ()  # the weights it starts from: recipes, or classifiers
    about: str = ""
    splits: tuple[str, str] = ("train", "val")  # the names of the two net files
    heads: tuple[Head, ...] = (Head(21),)
    builder: Callable = field(default=fcn, repr=False)
    iterations: int = 0  # that it is trained for; 0: its solver's max_iter


def _heavy(rate: float, iterations: int, tests: int, **more) -> dict[str, Any]:
    """Batch 1, unnormalized loss, high momentum."""
    return dict(
        test_iter=[tests],
        test_interval=999999999,
        display=20,
        average_loss=20,
        lr_policy="fixed",
        base_lr=rate,
        momentum=0.99,
        iter_size=1,
        max_iter=iterations,
        weight_decay=0.0005,
        test_initialization=False,
        **more,
    )


def _accumulated(rate: float, iterations: int, tests: int, **more) -> dict[str, Any]:
    """Batches of 20, normalized loss, standard momentum."""
    return {**_heavy(rate, iterations, tests, **more), "momentum": 0.9, "iter_size": 20}


def _family() -> dict[str, Recipe]:
    often = dict(snapshot=4000, snapshot_prefix="snapshot/train")
    voc_names = {32: "voc-fcn32s", 16: "voc-fcn16s", 8: "voc-fcn8s"}
    nets = {}
    for stride, rate, before in ((32, 1e-10, "vgg16-fcn"), (16, 1e-12, "voc-fcn32s"), (8, 1e-14, "voc-fcn16s")):
        nets[voc_names[stride]] = Recipe(
            voc,
            dict(stride=stride),
            _heavy(rate, 100000, 736, **often),
            (before,),
            f"PASCAL VOC, {stride} pixel stride",
        )
    nets["voc-fcn8s-atonce"] = Recipe(
        voc,
        dict(stride=8, skip_scales=(0.01, 0.0001)),
        _heavy(1e-10, 300000, 736, **often),
        ("vgg16-fcn",),
        "PASCAL VOC, all three streams trained at once, skips scaled",
    )
    nets["voc-fcn-alexnet"] = Recipe(
        voc,
        dict(trunk="alexnet", normalize=True),
        _accumulated(1e-4, 100000, 736, **often),
        ("alexnet-fcn",),
        "PASCAL VOC, on AlexNet, 32 pixel stride",
    )
    often = dict(snapshot=2000, snapshot_prefix="snapshot/train")
    for name, images, more, rate, start, about in (
        ("color", ("color",), {}, 1e-10, ("vgg16-fcn",), "colour"),
        ("hha", ("hha",), {}, 1e-10, ("vgg16-fcn",), "HHA (height, disparity, angle from depth)"),
        ("color-d", ("color", "depth"), {"fusion": "early"}, 1e-10, ("vgg16-fcn",), "colour and depth in one trunk"),
        (
            "color-hha",
            ("color", "hha"),
            {"fusion": "late"},
            1e-12,
            ("nyud-fcn32s-color", "nyud-fcn32s-hha"),
            "colour and HHA, a trunk each, scores averaged",
        ),
    ):
        nets[f"nyud-fcn32s-{name}"] = Recipe(
            nyud(*images),
            dict(stride=32, **more),
            _heavy(rate, 300000, 654, **often),
            start,
            f"NYUDv2, {about}",
            ("trainval", "test"),
            (Head(40),),
            iterations=100000,
        )
    for stride, rate, before in (
        (32, 1e-10, "vgg16-fcn"),
        (16, 1e-12, "siftflow-fcn32s"),
        (8, 1e-12, "siftflow-fcn16s"),
    ):
        nets[f"siftflow-fcn{stride}s"] = Recipe(
            siftflow,
            dict(stride=stride),
            _heavy(rate, 300000, 200),
            (before,),
            f"SIFT Flow, semantic and geometric heads, {stride} pixel stride",
            ("trainval", "test"),
            SIFT_HEADS,
            iterations=100000,
        )
    often = dict(snapshot=4000, snapshot_prefix="snapshot/train")
    for stride, rate, before in (
        (32, 1e-10, "vgg16-fcn"),
        (16, 1e-12, "pascalcontext-fcn32s"),
        (8, 1e-14, "pascalcontext-fcn16s"),
    ):
        nets[f"pascalcontext-fcn{stride}s"] = Recipe(
            pascalcontext,
            dict(stride=stride),
            _heavy(rate, 300000, 5105, **often),
            (before,),
            f"PASCAL-Context, {stride} pixel stride",
            heads=(Head(60),),
        )
    return nets


def _further() -> dict[str, Recipe]:
    often = dict(snapshot=4000, snapshot_prefix="snapshot/train")
    return {
        "voc-fcn-googlenet": Recipe(
            voc,
            dict(trunk="googlenet", normalize=True),
            _accumulated(5e-5, 100000, 736, **often),
            ("googlenet",),
            "PASCAL VOC, on GoogLeNet, 32 pixel stride (in the paper, never released)",
        ),
        "voc-fcn8s-vgg19": Recipe(
            voc,
            dict(trunk="vgg19", stride=8, skip_scales=(0.01, 0.0001)),
            _heavy(1e-10, 300000, 736, **often),
            ("vgg19-fcn",),
            "PASCAL VOC, on VGG19, all three streams at once",
        ),
        # Its early features are large (docs/finetuning.md): unscaled skips end in NaN.
        "voc-fcn4s-squeezenet": Recipe(
            voc,
            dict(trunk="squeezenet", stride=4, skip_scales=(0.5, 0.1), normalize=True),
            {**_accumulated(3e-5, 20000, 736, **often), "iter_size": 4},
            ("squeezenet",),
            "PASCAL VOC, on SqueezeNet, 4 pixel stride: 3 MB of weights",
        ),
        "voc-unet": Recipe(
            voc, {}, _accumulated(1e-2, 100000, 736, **often), (), "PASCAL VOC, U-Net from random weights", builder=unet
        ),
    }


PUBLISHED = _family()
NETS = {**PUBLISHED, **_further()}
WRITTEN = ("own", "demo")  # nets that `write` knows beside them


def recipe(name: str) -> Recipe:
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
    """How many learned values a recipe's net has, its fixed upsampling counted in."""
    return sum(param.count for param in Plan(nets(name, width=width)["deploy"]).learnable)


def solver(name: str) -> SolverParameter:
    """The solver of a recipe, for nets in the folder that it is in."""
    chosen = recipe(name)
    train, test = chosen.splits
    return SolverParameter(train_net=f"{train}.prototxt", test_net=[f"{test}.prototxt"], **chosen.solver)


def files(
    name: str, *, root: str = "data", classes: int | None = None, width: float = 1.0, random: bool = False
) -> dict[str, str]:
    """File name -> text of everything that `write` writes."""
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
