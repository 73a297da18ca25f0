"""One's own data: a folder of images and a folder of label PNGs, (data, label).

images/*.jpg (png, bmp, webp, tif), labels/*.png of the same names: class indices, 255 for none

python_param { module: "folder_layers"  layer: "FolderSegDataLayer"
  param_str: "{'images': 'my/images', 'labels': 'my/labels', 'classes': 'my/classes.txt', 'mirror': True}" }
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.layers.data.images import resize, resize_nearest
from demitasse.models.data import augment, read
from demitasse.models.data.options import (
    LARGEST,
    REQUIRED,
    classes,
    colour,
    flag,
    share,
    side_or_size,
    size,
    text,
    whole,
)
from demitasse.models.data.scenes import MEAN
from demitasse.models.data.seg_layer import SegDataLayer
from demitasse.models.sampling import balance_loss, sample_loss
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.input_paths import MissingFile
from demitasse.proto.warning import warn

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class FolderSegDataLayer(SegDataLayer):
    """Options, beside those of every data layer:

    images, labels    the two folders: as in a solver, paths are looked for in the working directory and beside the
                      prototxt (those that begin with ./ or ../ there first)
    classes           a file with one class name a line, a list of names, or their number
    split             a file with one image name (with or without suffix) a line; by default every image with a label
    mean              BGR, subtracted
    ignore_label      the stored label that means "no class" (255)
    resize            (H, W), or one number for the shorter side: bilinear, as Caffe resizes; labels take the nearest
                      pixel
    crop              (H, W) cut from the image, at random while training, else from its middle; where the image is
                      smaller it is filled up with the mean colour, labels with 255
    mirror, flip      left to right, upside down at random while training
    scale             (low, high): larger or smaller by a factor drawn between them while training
    rotate            turned by at most so many degrees while training; what comes into sight is mean colour, labels 255
    colour            0 to 1: how much brightness, contrast, saturation and hue change while training
    balance           thin out frequent classes in the loss while training (models/sampling.py)
    keep, cell        the share of the loss that counts while training, in cells of so many pixels
    """

    paths = ("images", "labels", "classes", "split")
    options = {
        "images": text(REQUIRED),
        "labels": text(REQUIRED),
        "classes": classes(REQUIRED),
        "split": text(""),
        "mean": colour(MEAN),
        "ignore_label": whole(255, 0, 255),
        "resize": side_or_size(None),
        "crop": size(None),
        **augment.OPTIONS,
        "balance": flag(False),
        "keep": share(1.0),
        "cell": whole(1, 1, LARGEST),
    }

    def open(self, options):
        self.set = options
        self.classes = class_names(options["classes"])
        self.augmentation = augment.Augmentation.of(options)
        images = list_images(options["images"])
        self.label_files = {
            path.stem: path for path in list_images(options["labels"]).values() if path.suffix.lower() == ".png"
        }
        if self.split:
            stems = {path.stem: name for name, path in images.items()}
            names = read.lines(self.split)
            missing = [name for name in names if name not in images and name not in stems]
            if missing:
                raise DataFault(f"{self.split}: no image '{missing[0]}' in {options['images']}")
            chosen = [name if name in images else stems[name] for name in names]
        else:
            chosen = [name for name in images if Path(name).stem in self.label_files]
            self._tell_of_unlabelled([name for name in images if Path(name).stem not in self.label_files], len(images))
            self.split = "train"
        if not chosen:
            raise DataFault(f"{options['images']}: no image has a label of the same name in {options['labels']}")
        self.images = images
        return chosen

    def _tell_of_unlabelled(self, names, count):
        if 0 < len(names) < count:
            labels = self.set["labels"]
            warn(f"images without a label in {labels} are left out: {len(names)} of {count}, the first {names[0]}")

    def looks(self):
        cut = (f"crop: {self.set['crop']}",) if self.set["crop"] else ()
        return cut + ("mirror: True",) * self.set["mirror"]

    def data_origin(self):
        for name in self.indices:
            sizes = [path.stat().st_size for path in (self.images[name], self._label_path(name)) if path.exists()]
            yield f"{name} {sizes}"

    def mean_of(self, top):
        return tuple(self.set["mean"])

    def names_of(self, top):
        return self.classes

    def load(self, name, rng):
        labels = self.load_label(name)
        image = read.labelled(self.images[name], labels.shape)
        if image.shape[:2] != labels.shape:
            raise DataFault(
                f"{self.images[name]}: is {image.shape[0]}x{image.shape[1]}, but its label "
                f"{self._label_path(name)} is {labels.shape[0]}x{labels.shape[1]}"
            )
        if self.set["resize"]:
            size = target_size(labels.shape, self.set["resize"])
            image, labels = resize(image, *size), resize_nearest(labels, *size)
        if self.random:
            image, labels = self.augmentation(image, labels, rng)
        blob = read.bgr(image, self.set["mean"])
        if self.set["crop"]:
            blob, labels = crop(blob, labels, self.set["crop"], rng if self.random else None)
        if self.random and (self.set["balance"] or self.set["keep"] < 1):
            if self.set["balance"]:
                labels = balance_loss(labels, rng)
            if self.set["keep"] < 1:
                labels = sample_loss(labels, self.set["keep"], rng, self.set["cell"])
        return blob, labels[None]

    def load_label(self, name: str) -> np.ndarray:
        """(H, W) uint8, 255 where there is no class."""
        path, ignored = self._label_path(name), self.set["ignore_label"]
        labels = read.label_png(path)
        if ignored != read.IGNORE:
            labels = np.where(labels == ignored, np.uint8(read.IGNORE), labels)
        return read.checked(labels, len(self.classes), path)

    def _label_path(self, name: str) -> Path:
        stem = Path(name).stem
        return self.label_files.get(stem, Path(self.set["labels"]) / f"{stem}.png")


def list_images(folder: str | Path) -> dict[str, Path]:
    """File name -> path of every picture in a folder, sorted.  DataFault where there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataFault(f"{folder}: no such folder")
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    }


def class_names(classes: str | int | list[str] | tuple[str, ...]) -> list[str]:
    """Names from a file, a list, or a number.  SchemaFault for none, or more than 255."""
    if isinstance(classes, str):
        if not Path(classes).exists():
            raise MissingFile(classes, f"classes: no file '{classes}': give their number, or a file with a name a line")
        names = read.lines(classes)
    elif isinstance(classes, int):
        names = [str(i) for i in range(classes)]
    else:
        names = list(classes)
    if not 1 <= len(names) <= 255:
        where = f"{classes}: " if isinstance(classes, str) else ""
        raise SchemaFault(f"{where}{len(names)} classes: there must be 1 to 255")
    return names


def target_size(size: tuple[int, int], to: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W) that an image of this (H, W) gets; `to` is (H, W) or the shorter side."""
    if not isinstance(to, int):
        return to
    scale = to / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def crop(
    blob: np.ndarray, labels: np.ndarray, size: tuple[int, int], rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """`size` (H, W) of a (C, H, W) blob and (H, W) labels, anywhere or (without rng) from the middle."""
    window, target = [], []
    for have, want in zip(labels.shape, size, strict=True):
        spare = max(0, have - want)
        start = int(rng.integers(spare + 1)) if rng else spare // 2
        window.append(slice(start, start + min(have, want)))
        target.append(slice(0, min(have, want)))
    cut = np.zeros((blob.shape[0], *size), blob.dtype)
    cut_labels = np.full(size, read.IGNORE, labels.dtype)
    cut[(slice(None), *target)] = blob[(slice(None), *window)]
    cut_labels[tuple(target)] = labels[tuple(window)]
    return cut, cut_labels
