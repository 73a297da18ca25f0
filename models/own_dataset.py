"""Nets for one's own images: a folder of images and a folder of label PNGs in place of a published data set.

    python -m models write own nets --images my/images --labels my/labels --classes my/classes.txt
    python -m solver train nets/own/solver.prototxt
    python -m models segment new/ --net nets/own/deploy.prototxt --weights nets/own/snapshot/train_iter_2000.caffemodel

`own` is a slim FCN-8s (an eighth of VGG16's channels) that learns from random weights in minutes; any net of `list`
with one image and one head takes a folder, too: then `train --weights` gives it its classifier's weights.
A fifth of the images, drawn at random but always the same, is kept for validation.  What is written names its files
relative to itself, so that the folder can be copied and moved.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from demitasse.models import dataset_check, recipes
from demitasse.models.data.folder_layers import class_names
from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.models.sampling import class_weights
from demitasse.models.text_files import write_files
from demitasse.proto import text
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.files import make_folder
from demitasse.proto.messages import NetParameter, SolverParameter

SLIM = dict(stride=8, width=1 / 8, random=True, snug=True, fc_kernel=3, dropout=False)
AUGMENT = {"scale": (0.75, 1.33), "rotate": 10, "colour": 0.5}
VAL_SHARE = 5  # one image in five
SNAPSHOTS = "snapshot"  # the folder


def split(names: Iterable[str], seed: int = 1) -> tuple[list[str], list[str]]:
    """(training, validation) image names, always the same; at least one each."""
    names = sorted(names)
    random.Random(seed).shuffle(names)
    count = max(1, len(names) // VAL_SHARE)
    return sorted(names[count:]), sorted(names[:count])


@dataclass(frozen=True)
class OwnData:
    """A folder of images, one of labels, and what is made of them.

    classes: how many, or a file of their names.  ignore: the stored label that means "no class".  resize: the shorter
    side of every image.  crop: (H, W) of what is trained on.  balance: thin out frequent classes in training.
    augment: train on images scaled, turned and recoloured at random.  class_weights: weight classes in the training
    loss, the rarer the more.
    """

    images: str | Path
    labels: str | Path
    classes: str | int
    ignore: int = 255
    resize: int | None = None
    crop: tuple[int, int] | None = None
    balance: bool = False
    augment: bool = False
    class_weights: bool = False

    def source(self, folder: Path, part: str) -> DataSource:
        """The data layer of the net "train" or "val" in `folder`."""
        options: dict[str, Any] = {
            "images": _from(folder, self.images),
            "labels": _from(folder, self.labels),
            "classes": "./classes.txt",
            "seed": 1337,
        }
        if self.resize:
            options["resize"] = self.resize
        if self.ignore != 255:
            options["ignore_label"] = self.ignore
        options["split"] = f"./{part}.txt"
        if part == "train":
            options |= {"mirror": True, **(AUGMENT if self.augment else {})}
            options |= {"crop": self.crop} if self.crop else {}
            options |= {"balance": True} if self.balance else {}
        return DataSource(labels=("label",), module="folder_layers", layer="FolderSegDataLayer", options=options)


def write(
    name: str,
    out: str | Path,
    data: OwnData,
    *,
    iterations: int = 2000,
    width: float = 1.0,
    random: bool = False,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda text: None,
    progress=lambda items: items,
) -> list[Path]:
    """Check the data and write out/name/{train,val,deploy,solver}.prototxt, train.txt, val.txt and classes.txt; their
    paths.

    name: `own`, or a recipe.  iterations: the solver's max_iter.  width, random: as of `fcn`, for recipes.  overwrite:
    replace files that were edited.  report: called with what was found.  Raises DataFault where the set as a whole is
    wrong; single files that are, are left out.
    """
    folder, names = Path(out) / name, class_names(data.classes)
    _require_known(name)
    found = dataset_check.check(data.images, data.labels, len(names), data.ignore, progress)
    _require_usable(found, data.images, data.labels)
    report(dataset_check.summary(found, names))
    if found.left_out:
        report("left out:\n" + "\n".join(dataset_check.fault_lines(found.left_out, "file")))
    train, val = split(found.taken)
    lists = {"train.txt": train, "val.txt": val, "classes.txt": names}
    files = {name: "\n".join(lines) + "\n" for name, lines in lists.items()}
    sources = {part: data.source(folder, part) for part in ("train", "val")}
    sources["deploy"] = sources["val"].deploy()
    head = f"# {name}, for {len(names)} classes on {data.images}.\n"
    for part, source in sources.items():
        net = _net(name, source, len(names), width, random)
        if part == "train" and data.class_weights:
            _weight(net, class_weights(found.counts[: len(names)]))
        files[f"{part}.prototxt"] = head + text.format(net)
    fresh = random or name == "own" or not recipes.recipe(name).start
    files["solver.prototxt"] = head + text.format(_solver(len(val), iterations, fresh))
    written = write_files(folder, files, overwrite)
    make_folder(folder / SNAPSHOTS)  # so that they go here, from whatever directory the solver is run
    return written


def _require_known(name: str) -> None:
    if name == "own":
        return
    recipe = recipes.recipe(name)
    if len(recipe.heads) > 1 or len(recipe.sources("")[0].images) > 1:
        raise SchemaFault(f"{name} has several heads or images: a folder of images fits nets with one of each")


def _require_usable(found: dataset_check.Findings, images: str | Path, labels: str | Path) -> None:
    remedy = f"; this mends the labels: {found.remedy}" if found.remedy else ""
    if found.of_the_set:
        raise DataFault("; ".join(found.of_the_set) + remedy)
    if found.images < 2:
        first = f"; {found.left_out[0]}" if found.left_out else ""
        more = f" (and {len(found.left_out) - 1} more: `python -m models check`)" if len(found.left_out) > 1 else ""
        raise DataFault(
            f"{images}: {found.images or 'no'} image{'s' * (found.images != 1)} with a label PNG of the same name in "
            f"{labels}: at least 2 are needed, one to train on and one to validate with{first}{more}{remedy}"
        )


def _from(folder: Path, data: str | Path) -> str:
    """A folder of data as a net in `folder` names it: relative to the net, unless it was given from the root."""
    if Path(data).is_absolute():
        return str(data)
    path = os.path.relpath(os.path.realpath(data), os.path.realpath(folder)).replace(os.sep, "/")
    return path if path.startswith("../") else f"./{path}"


def _net(name: str, source: DataSource, classes: int, width: float, random: bool) -> NetParameter:
    """The loss is averaged over pixels: rates do not depend on the images' sizes."""
    if name == "own":
        return fcn(source, [Head(classes)], normalize=True, **SLIM)
    recipe = recipes.recipe(name)
    arguments = {**recipe.net, "normalize": True, "width": width}
    if recipe.builder is fcn:
        return fcn(source, [replace(recipe.heads[0], classes=classes)], random=random, **arguments)
    return recipe.builder(source, Head(classes), **arguments)


def _weight(net: NetParameter, weights: np.ndarray) -> None:
    """Put the classes' weights into the loss, three digits each."""
    for layer in net.layer:
        if layer.type == "SoftmaxWithLoss":
            layer.loss_param.class_weight.extend(float(f"{weight:.3g}") for weight in weights)


def _solver(val: int, iterations: int, fresh: bool) -> SolverParameter:
    """Adam: the same rate suits slim nets from random weights and, ten times smaller, published weights."""
    often = max(1, iterations // 4)
    return SolverParameter(
        train_net="./train.prototxt",
        test_net=["./val.prototxt"],
        test_iter=[val],
        test_interval=often,
        test_initialization=False,
        type="Adam",
        base_lr=1e-3 if fresh else 1e-4,
        momentum=0.9,
        momentum2=0.999,
        lr_policy="poly",
        power=0.9,
        iter_size=4,
        max_iter=iterations,
        display=20,
        average_loss=20,
        snapshot=often,
        snapshot_prefix=f"./{SNAPSHOTS}/train",
        random_seed=1,
    )
