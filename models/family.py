"""The FCN family as data: data sets, heads, solvers and beginnings of the nets that were published, and of some that
the paper has but its release lacks.

Two regimes of training.  Heavy: batch 1, a loss summed over the pixels, momentum 0.99, a tiny rate.  Accumulated
(FCN-AlexNet): 20 images an update, a loss averaged over the pixels, momentum 0.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demitasse.models.data.scenes import MEAN
from demitasse.models.fcn import DataSource, Head, fcn, unet

# Data sets.  Each gives (source of the training split, source of the test split) under a root folder.


def voc(root: str) -> tuple[DataSource, DataSource]:
    """PASCAL VOC 2011, trained on SBDD."""
    train = {"sbdd_dir": f"{root}/sbdd/dataset", "seed": 1337, "split": "train", "mean": MEAN}
    val = {"voc_dir": f"{root}/pascal/VOC2011", "seed": 1337, "split": "seg11valid", "mean": MEAN}
    return (
        DataSource(labels=("label",), module="voc_layers", layer="SBDDSegDataLayer", options=train),
        DataSource(labels=("label",), module="voc_layers", layer="VOCSegDataLayer", options=val),
    )


def nyud(*images: str) -> Callable[[str], tuple[DataSource, DataSource]]:
    """NYUDv2, with these of its images: color, depth, hha."""

    def sources(root: str) -> tuple[DataSource, DataSource]:
        # One image's top is called data, whatever it shows.
        tops = images if len(images) > 1 else ("data",)
        return tuple(
            DataSource(
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


def siftflow(root: str) -> tuple[DataSource, DataSource]:
    """SIFT Flow, with semantic and geometric labels."""
    return tuple(
        DataSource(
            labels=("sem", "geo"),
            module="siftflow_layers",
            layer="SIFTFlowSegDataLayer",
            size=(256, 256),
            options={"siftflow_dir": f"{root}/sift-flow", "seed": 1337, "split": split},
        )
        for split in ("trainval", "test")
    )


def pascalcontext(root: str) -> tuple[DataSource, DataSource]:
    """PASCAL-Context."""
    return tuple(
        DataSource(
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

    sources: Callable[[str], tuple[DataSource, DataSource]]
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


OFTEN = dict(snapshot=4000, snapshot_prefix="snapshot/train")


def _voc() -> dict[str, Recipe]:
    nets = {
        f"voc-fcn{stride}s": Recipe(
            voc,
            dict(stride=stride),
            _heavy(rate, 100000, 736, **OFTEN),
            (before,),
            f"PASCAL VOC, {stride} pixel stride",
        )
        for stride, rate, before in ((32, 1e-10, "vgg16-fcn"), (16, 1e-12, "voc-fcn32s"), (8, 1e-14, "voc-fcn16s"))
    }
    nets["voc-fcn8s-atonce"] = Recipe(
        voc,
        dict(stride=8, skip_scales=(0.01, 0.0001)),
        _heavy(1e-10, 300000, 736, **OFTEN),
        ("vgg16-fcn",),
        "PASCAL VOC, all three streams trained at once, skips scaled",
    )
    nets["voc-fcn-alexnet"] = Recipe(
        voc,
        dict(trunk="alexnet", normalize=True),
        _accumulated(1e-4, 100000, 736, **OFTEN),
        ("alexnet-fcn",),
        "PASCAL VOC, on AlexNet, 32 pixel stride",
    )
    return nets


def _nyud() -> dict[str, Recipe]:
    classifier, single = ("vgg16-fcn",), ("nyud-fcn32s-color", "nyud-fcn32s-hha")
    kinds = {
        "color": (("color",), {}, 1e-10, classifier, "colour"),
        "hha": (("hha",), {}, 1e-10, classifier, "HHA (height, disparity, angle from depth)"),
        "color-d": (("color", "depth"), {"fusion": "early"}, 1e-10, classifier, "colour and depth in one trunk"),
        "color-hha": (
            ("color", "hha"),
            {"fusion": "late"},
            1e-12,
            single,
            "colour and HHA, a trunk each, scores averaged",
        ),
    }
    return {
        f"nyud-fcn32s-{name}": Recipe(
            nyud(*images),
            dict(stride=32, **more),
            _heavy(rate, 300000, 654, snapshot=2000, snapshot_prefix="snapshot/train"),
            start,
            f"NYUDv2, {about}",
            ("trainval", "test"),
            (Head(40),),
            iterations=100000,
        )
        for name, (images, more, rate, start, about) in kinds.items()
    }


def _siftflow() -> dict[str, Recipe]:
    return {
        f"siftflow-fcn{stride}s": Recipe(
            siftflow,
            dict(stride=stride),
            _heavy(rate, 300000, 200),
            (before,),
            f"SIFT Flow, semantic and geometric heads, {stride} pixel stride",
            ("trainval", "test"),
            SIFT_HEADS,
            iterations=100000,
        )
        for stride, rate, before in (
            (32, 1e-10, "vgg16-fcn"),
            (16, 1e-12, "siftflow-fcn32s"),
            (8, 1e-12, "siftflow-fcn16s"),
        )
    }


def _pascalcontext() -> dict[str, Recipe]:
    return {
        f"pascalcontext-fcn{stride}s": Recipe(
            pascalcontext,
            dict(stride=stride),
            _heavy(rate, 300000, 5105, **OFTEN),
            (before,),
            f"PASCAL-Context, {stride} pixel stride",
            heads=(Head(60),),
        )
        for stride, rate, before in (
            (32, 1e-10, "vgg16-fcn"),
            (16, 1e-12, "pascalcontext-fcn32s"),
            (8, 1e-14, "pascalcontext-fcn16s"),
        )
    }


def _further() -> dict[str, Recipe]:
    return {
        "voc-fcn-googlenet": Recipe(
            voc,
            dict(trunk="googlenet", normalize=True),
            _accumulated(5e-5, 100000, 736, **OFTEN),
            ("googlenet",),
            "PASCAL VOC, on GoogLeNet, 32 pixel stride (in the paper, never released)",
        ),
        "voc-fcn8s-vgg19": Recipe(
            voc,
            dict(trunk="vgg19", stride=8, skip_scales=(0.01, 0.0001)),
            _heavy(1e-10, 300000, 736, **OFTEN),
            ("vgg19-fcn",),
            "PASCAL VOC, on VGG19, all three streams at once",
        ),
        # Its early features are large (docs/finetuning.md): unscaled skips end in NaN.
        "voc-fcn4s-squeezenet": Recipe(
            voc,
            dict(trunk="squeezenet", stride=4, skip_scales=(0.5, 0.1), normalize=True),
            {**_accumulated(3e-5, 20000, 736, **OFTEN), "iter_size": 4},
            ("squeezenet",),
            "PASCAL VOC, on SqueezeNet, 4 pixel stride: 3 MB of weights",
        ),
        "voc-unet": Recipe(
            voc, {}, _accumulated(1e-2, 100000, 736, **OFTEN), (), "PASCAL VOC, U-Net from random weights", builder=unet
        ),
    }


PUBLISHED = {**_voc(), **_nyud(), **_siftflow(), **_pascalcontext()}
NETS = {**PUBLISHED, **_further()}
