"""What Caffe says of whole nets (tests/golden/pack_nets.py), and the recipe of the weights it was asked with."""

import functools
import json
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
REFERENCE = ROOT.parent / "shared" / "reference-nets"
SAMPLES = 1000  # drawn of each array; the first of them are in the golden file


@functools.cache
def table(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@functools.cache
def arrays(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def random_of(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


def sampled(name, array, count):
    return array.reshape(-1)[random_of(name).randint(0, array.size, SAMPLES)[:count]]


def made_up_weights(steps):
    """{layer: arrays}: bilinear for Deconvolution, else normal by the layer's name, small for scores."""
    weights = {}
    for step in steps:
        shapes = [param.shape for param in step.layer.params]
        if step.spec.type == "Deconvolution":
            kernel = np.zeros(shapes[0], np.float32)
            each = range(len(kernel))
            kernel[each, each] = bilinear(shapes[0][-1])
            weights[step.name] = [kernel]
        elif shapes:
            random, gain = random_of(step.name), 0.05 if step.name.startswith("score") else 1.0
            scales = [gain * np.sqrt(2.0 / np.prod(shapes[0][1:])), 0.1]
            weights[step.name] = [
                (random.standard_normal(shape) * scale).astype(np.float32)
                for shape, scale in zip(shapes, scales, strict=False)
            ]
    return weights


def bilinear(size):
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    line = 1 - abs(np.arange(size) - center) / factor
    return line[:, None] * line


def made_up_inputs(height, width):
    image = np.random.RandomState(20150308).standard_normal((1, 3, height, width)) * 50
    random = np.random.RandomState(777)
    label = random.randint(0, 21, (1, 1, height, width))
    label[random.uniform(size=label.shape) < 0.1] = 255
    return {"data": image.astype(np.float32), "label": label}
