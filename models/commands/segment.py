"""`python -m models segment`: a net's classes for every pixel of images, as palette PNGs, overlays and a legend."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demitasse.layers.backend.options import BackendOptions
from demitasse.layers.data.images import resize, resize_nearest
from demitasse.models.class_names import names_of
from demitasse.models.commands import arguments
from demitasse.models.data import read
from demitasse.models.data.folder_layers import SUFFIXES
from demitasse.models.data.scenes import MEAN
from demitasse.models.palette import PREDICTED, legend, overlay, require_replaceable, save_labels, save_picture
from demitasse.models.segment import Segmenter, probabilities
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.files import make_folder, replacing
from demitasse.proto.option_values import finite, size, whole_number

LEGEND = "legend"


def find_images(words: Sequence[str]) -> list[Path]:
    """The images that files, folders and patterns name, each once; DataFault where a word names none."""
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            files = [
                file
                for file in sorted(path.iterdir())
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
            ]
        elif glob.has_magic(word) and not path.exists():
            files = [Path(name) for name in sorted(glob.glob(word, recursive=True)) if os.path.isfile(name)]
        else:
            files = [path]  # one that is missing is passed over like any bad file
        if not files:
            raise DataFault(f"{word}: no images there ({', '.join(SUFFIXES)})")
        found.update(dict.fromkeys(files))
    return list(found)


def result_names(paths: Sequence[Path]) -> list[str]:
    """A name for each image's results: its stem, or as much more as tells it from the others and from the legend."""
    for name_of in (lambda path: path.stem, lambda path: path.name, lambda path: "_".join(path.parts).strip("/_")):
        names = [name_of(path) for path in paths]
        if len({*names, LEGEND}) == len(names) + 1:
            return names
    return [f"{i}_{name}" for i, name in enumerate(names, 1)]


def add_to(commands) -> None:
    """The command `segment` and its options."""
    parser = arguments.add_command(commands, "segment", "label every pixel of images")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE|FOLDER|GLOB",
        help="files, folders of them, or quoted patterns (**: any folders)",
    )
    parser.add_argument("--net", required=True, metavar="NET", help="a deploy prototxt")
    parser.add_argument("--weights", required=True, metavar="W,...", help="weights files, joined by commas")
    parser.add_argument(
        "--out", type=Path, default=Path("segmented"), metavar="DIR", help="where results go (default: segmented)"
    )
    parser.add_argument(
        "--mean",
        default=",".join(map(str, MEAN)),
        metavar="B,G,R",
        help="subtracted: numbers, or a .binaryproto (default: VOC's %(default)s)",
    )
    parser.add_argument(
        "--scale", type=finite, default=1.0, metavar="S", help="multiplies after the mean is off (default: 1)"
    )
    parser.add_argument("--rgb", action="store_true", help="the net takes RGB (default: BGR, as Caffe's nets do)")
    parser.add_argument("--blob", default="", metavar="NAME", help="the scores (default: score, or the only map)")
    parser.add_argument(
        "--classes", metavar="FILE", help="a file of class names, one a line (default: classes.txt beside the net)"
    )
    parser.add_argument(
        "--max-side",
        type=whole_number,
        metavar="N",
        help="work on images shrunk to at most N pixels a side (saves memory on photos)",
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="work on images resized to this, for nets of a fixed size"
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="also write NAME.npz with `probabilities` (classes, H, W)"
    )
    parser.add_argument("--no-overlay", action="store_true", help="write labels only")
    arguments.add_auto_crop(parser)
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Segment every image; 1 where one could not be."""
    paths = find_images(options.images)
    arguments.require_another_folder(options.out, paths, "segmented")
    names = result_names(paths)
    for name in (*names, LEGEND):
        require_replaceable(options.out / f"{name}.png")
    segmenter = Segmenter(
        options.net,
        options.weights,
        backend=BackendOptions.of(options).make(),
        mean=mean_of(options.mean),
        scale=options.scale,
        rgb=options.rgb,
        blob=options.blob,
        auto_crop=options.auto_crop,
    )
    arguments.warn_of_missing(segmenter.net)
    class_names = names_of(options.classes, (), segmenter.classes, options.net)
    seen, bad = set(), 0
    with segmenter.net.backend.frozen_weights():
        for path, name in zip(progress(paths), names, strict=True):
            try:
                image = read.upright(path)
                seen.update(_segment(segmenter, image, options, name))
            except (DataFault, ShapeFault, MemoryError) as error:
                bad += 1
                print(f"passed over: {_said(error, path)}", file=sys.stderr)
    if seen:
        save_picture(options.out / f"{LEGEND}.png", legend(sorted(seen), class_names), PREDICTED)
    print(f"{len(paths) - bad} of {len(paths)} images segmented into {options.out}")
    return 1 if bad else 0


def _said(error: Exception, path: Path) -> str:
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory for this size: give --max-side 1000"
    if isinstance(error, ShapeFault) and "memory" in error.what:
        return f"{path}: {error}, or give --max-side 1000"
    if isinstance(error, ShapeFault):
        return f"{path}: {error}; if the net takes one size only, give it: --size HxW"
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _segment(segmenter: Segmenter, image: np.ndarray, options, name: str) -> set[int]:
    """Write one image's results; the classes that are in it."""
    height, width = image.shape[:2]
    size = height, width
    if options.size:
        size = options.size
    elif options.max_side and max(size) > options.max_side:
        size = tuple(max(1, round(side * options.max_side / max(size))) for side in size)
    scores = segmenter(resize(image, *size))
    labels = scores.argmax(axis=0).astype(np.uint8)
    if labels.shape != (height, width):  # of a net that gives coarse scores, or of a resized image
        labels = resize_nearest(labels, height, width)
    if options.probabilities:
        make_folder(options.out)
        with replacing(options.out / f"{name}.npz") as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, probabilities=probabilities(scores))
    if not options.no_overlay:
        save_picture(options.out / f"{name}_overlay.jpg", overlay(image, labels))
    save_labels(options.out / f"{name}.png", labels, comment=PREDICTED)
    return set(np.unique(labels).tolist())


def mean_of(text: str) -> list[float]:
    """The mean that --mean gives: its numbers, or a .binaryproto's means of channels.

    SchemaFault for anything else.
    """
    if text.endswith(".binaryproto"):
        from demitasse.proto.weights import read_mean

        mean = read_mean(text)
        return mean.reshape(-1, *mean.shape[-2:]).mean(axis=(1, 2)).tolist()
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise SchemaFault(f"--mean {text}: give numbers (B,G,R or one) or a .binaryproto file") from None
