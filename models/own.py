"""Nets for one's own images: a folder of images and a folder of label PNGs in place of a published data set.

    python -m models write own nets --images my/images --labels my/labels --classes my/classes.txt
    python -m solver train nets/own/solver.prototxt
    python -m models segment new/ --net nets/own/deploy.prototxt --weights nets/own/snapshot/train_iter_2000.caffemodel

`own` is a slim FCN-8s (an eighth of VGG16's channels) that learns from random weights in minutes; any net of `list`
with one image and one head takes a folder, too: then `train --weights` gives it its classifier's weights.
A fifth of the images, drawn at random but always the same, is kept for validation.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from demitasse.models import recipes
from demitasse.models.data.folder_layers import class_names, list_images
from demitasse.models.fcn import Head, Source, fcn
from demitasse.proto import text
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.files import write_text
from demitasse.proto.messages import NetParameter, SolverParameter

SLIM = dict(stride=8, width=1 / 8, random=True, snug=True, fc_kernel=3, dropout=False)
VAL_SHARE = 5  # one image in five


def split(images: str | Path, labels: str | Path, seed: int = 1) -> tuple[list[str], list[str]]:
    """(training, validation) image names of those that have a label; at least one each."""
    there = {path.stem for path in list_images(labels).values() if path.suffix.lower() == ".png"}
    names = [name for name in list_images(images) if Path(name).stem in there]
    if len(names) < 2:
        raise DataFault(
            f"{images}: {len(names) or 'no'} image{'' if len(names) == 1 else 's'} with a label PNG of the "
            f"same name in {labels}: at least 2 are needed, one to train on and one to validate with"
        )
    random.Random(seed).shuffle(names)
    count = max(1, len(names) // VAL_SHARE)
    return sorted(names[count:]), sorted(names[:count])


def write(
    name: str,
    out: str | Path,
    images: str | Path,
    labels: str | Path,
    classes: str | int,
    *,
    iterations: int = 2000,
    resize: int | None = None,
    crop: tuple[int, int] | None = None,
    balance: bool = False,
    ignore: int = 255,
    width: float = 1.0,
    random: bool = False,
) -> list[Path]:
    """Write out/name/{train,val,deploy,solver}.prototxt, train.txt, val.txt and classes.txt; what was written.

    name: `own`, or a recipe.  resize: the shorter side of every image.  crop: (H, W) of what is trained on.
    balance: thin out frequent classes in training.  ignore: the stored label that means "no class".
    width, random: as of `fcn`, for recipes.
    """
    folder, names = Path(out).resolve() / name, class_names(classes)
    train, val = split(images, labels)
    files = {
        "train.txt": "\n".join(train) + "\n",
        "val.txt": "\n".join(val) + "\n",
        "classes.txt": "\n".join(names) + "\n",
    }
    options = {
        "images": str(Path(images).resolve()),
        "labels": str(Path(labels).resolve()),
        "classes": str(folder / "classes.txt"),
        "seed": 1337,
        **({"resize": resize} if resize else {}),
        **({"ignore_label": ignore} if ignore != 255 else {}),
    }
    training = {"mirror": True, **({"crop": crop} if crop else {}), **({"balance": True} if balance else {})}
    sources = {
        part: Source(
            labels=("label",),
            module="folder_layers",
            layer="FolderSegDataLayer",
            options={**options, "split": str(folder / f"{part}.txt"), **(training if part == "train" else {})},
        )
        for part in ("train", "val")
    }
    sources["deploy"] = sources["val"].deploy()
    head = f"# {name}, for {len(names)} classes on {images}.\n"
    for part, source in sources.items():
        files[f"{part}.prototxt"] = head + text.format(_net(name, source, len(names), width, random))
    fresh = random or name == "own" or not recipes.recipe(name).start
    files["solver.prototxt"] = head + text.format(_solver(folder, len(val), iterations, fresh))
    for file, words in files.items():
        write_text(folder / file, words)
    return [folder / file for file in files]


def _net(name: str, source: Source, classes: int, width: float, random: bool) -> NetParameter:
    """The loss is averaged over pixels: rates do not depend on the images' sizes."""
    if name == "own":
        return fcn(source, [Head(classes)], normalize=True, **SLIM)
    recipe = recipes.recipe(name)
    if len(recipe.heads) > 1 or len(recipe.sources("")[0].images) > 1:
        raise SchemaFault(f"{name} has several heads or images: a folder of images fits nets with one of each")
    arguments = {**recipe.net, "normalize": True, "width": width}
    if recipe.builder is fcn:
        return fcn(source, [replace(recipe.heads[0], classes=classes)], random=random, **arguments)
    return recipe.builder(source, Head(classes), **arguments)


def _solver(folder: Path, val: int, iterations: int, fresh: bool) -> SolverParameter:
    """Adam: the same rate suits slim nets from random weights and, ten times smaller, published weights."""
    often = max(1, iterations // 4)
    return SolverParameter(
        train_net=str(folder / "train.prototxt"),
        test_net=[str(folder / "val.prototxt")],
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
        snapshot_prefix=str(folder / "snapshot" / "train"),
        random_seed=1,
    )
