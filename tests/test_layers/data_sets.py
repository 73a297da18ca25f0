"""Small data sets drawn for the tests, and the layers that read them: no download."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.backend import make_backend
from demitasse.layers.data.database_writer import create_database
from demitasse.layers.layer import TEST, TRAIN, layer_class
from demitasse.proto.arrays import array_to_datum
from demitasse.proto.messages import NetParameter
from demitasse.proto.text import parse

# Seven segments of a digit in a 5 x 3 box: (row, column, rows, columns), and which digits light them.
SEGMENTS = [
    ((0, 0, 1, 3), "02356789"),
    ((0, 2, 3, 1), "01234789"),
    ((2, 2, 3, 1), "013456789"),
    ((4, 0, 1, 3), "0235689"),
    ((2, 0, 3, 1), "0268"),
    ((0, 0, 3, 1), "045689"),
    ((2, 0, 1, 3), "2345689"),
]


def digits(count: int, seed: int = 0):
    """MNIST-like: (count, 28, 28) uint8 and labels 0 to 9; digits of several sizes and strengths, with noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, 28, 28))
    labels = rng.integers(10, size=count)
    for image, label in zip(images, labels, strict=True):
        unit = int(rng.integers(3, 6))
        top, left = rng.integers(0, 28 - 5 * unit + 1), rng.integers(0, 28 - 3 * unit + 1)
        for (row, col, rows, cols), members in SEGMENTS:
            if str(label) in members:
                image[top + row * unit : top + (row + rows) * unit, left + col * unit : left + (col + cols) * unit] += (
                    int(rng.integers(120, 215))
                )
    return images.clip(0, 255).astype(np.uint8), labels


def pictures(count: int, seed: int = 0):
    """CIFAR-like: (count, 32, 32, 3) uint8 and labels 0 to 9; a shape in one colour on a ground of another."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=count)
    images = np.empty((count, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        y, x = np.mgrid[0:32, 0:32] - rng.integers(13, 19, (2, 1, 1))
        size = rng.integers(7, 13)
        far, wide = np.maximum(abs(x), abs(y)), abs(x) + abs(y)
        shape = [
            far < size,
            x**2 + y**2 < size**2,
            wide < size,
            (far < size) & (far > size - 4),
            (wide < size + 4) & (wide > size - 2),
            np.minimum(abs(x), abs(y)) < 3,
            (y // 4) % 2 == 0,
            (x // 4) % 2 == 0,
            ((x // 5) + (y // 5)) % 2 == 0,
            ((x + y) // 5) % 2 == 0,
        ][label]
        ground, paint = rng.integers(0, 256, (2, 3))
        if abs(ground - paint).sum() < 150:
            paint = 255 - ground
        image[:] = np.where(shape[:, :, None], paint, ground) + rng.normal(0, 12, (32, 32, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def write_files(folder, images, labels, names="{:04d}.png", listing="list.txt"):
    """Image files and a listing "name label" in the folder; the listing's path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = names.format(i)
        Image.fromarray(image).save(folder / name)
        lines.append(f"{name} {label}\n")
    (folder / listing).write_text("".join(lines), encoding="utf-8")
    return folder / listing


def write_database(path, images, labels, backend="lmdb"):
    """A database of raw Datum records of (C, H, W) images; the test skips where its library is missing."""
    pytest.importorskip("lmdb" if backend == "lmdb" else "plyvel")
    with create_database(str(path), backend) as database:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            database.put(b"%08d" % i, array_to_datum(image, int(label)).SerializeToString())
    return path


def layer(text: str, phase: str = "TEST", seed: int = 1, be=None):
    """The layer of `layer { ... }`'s inside, set up and sized as a net does it."""
    net, _ = parse(f"layer {{ {text} }}", NetParameter)
    be = be or make_backend("generic")
    be.seed(seed)
    made = layer_class(net.layer[0].type)(net.layer[0], TRAIN if phase == "TRAIN" else TEST, be)
    made.params = made.setup([])
    made.infer([])
    return made


def batches(made, count: int):
    """The next batches as lists of arrays, each checked against what infer had said."""
    result = []
    for _ in range(count):
        shapes = [tuple(shape) for shape in made.infer([])]
        tops = made.forward([])
        assert [top.shape for top in tops] == shapes
        assert all(top.dtype == np.float32 for top in tops)
        result.append(tops)
    return result


def same(left, right) -> bool:
    """Whether two runs of batches are equal to the bit."""
    return len(left) == len(right) and all(
        np.array_equal(a, b)
        for tops, others in zip(left, right, strict=True)
        for a, b in zip(tops, others, strict=True)
    )
