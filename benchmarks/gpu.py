"""python -m benchmarks --device gpu: FCN-8s on a GPU, ours beside torch (eager, channels_last, torch.compile).

At each precision, in turns in one run: forward and training at 500x500, a stream of images of
changing sizes, the first image of a new size, memory, and the least time that the GPU's peak and its memory allow.
Both sides start from the same weights, get host arrays through page-locked memory, choose algorithms by cuDNN's
heuristics, and read the loss after each training step.
"""

from __future__ import annotations

import datetime
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.contenders import Ours, Torch
from benchmarks.nets import net_message
from benchmarks.peers import random_inputs
from demitasse.layers.backend import make_backend
from demitasse.proto.errors import NetError

PRECISIONS = ("fp32", "tf32", "fp16")
KINDS = ("eager", "channels_last", "compile")
SIZES = [(375, 500), (500, 333), (500, 375), (333, 500), (366, 500), (500, 400), (281, 500), (500, 500)]
NEW_SIZES = [(301, 420), (402, 310), (350, 450), (450, 330), (288, 384), (405, 405)]
# What one H200 can do by its datasheet: TFLOP/s without sparsity, and by a measured copy: bytes/s.
PEAKS, BANDWIDTH = {"fp32": 67e12, "tf32": 495e12, "fp16": 990e12}, 4.3e12


class Load(NamedTuple):
    """What the contenders are given; image sizes are (height, width) in pixels."""

    size: tuple[int, int] = (500, 500)
    sizes: Sequence[tuple[int, int]] = SIZES
    new_sizes: Sequence[tuple[int, int]] = NEW_SIZES
    rounds: int = 7
    repeat: int = 10  # images of one size in a round


def seconds(contender, batches) -> float:
    """Time for all batches, from the first call to the last result."""
    contender.wait()
    start = time.perf_counter()
    for arrays in batches:
        contender.run(arrays)
    contender.wait()
    return time.perf_counter() - start


def in_turns(contenders, batches, rounds: int, warm_up: int = 2) -> dict[str, float]:
    """{name: median seconds a batch}; one that fails is left out with a line."""
    times: dict[str, list] = {}
    for contender in list(contenders):
        try:
            for _ in range(warm_up):
                seconds(contender, batches)
        except Exception as error:  # noqa: BLE001 (a peer that cannot, not a fault of ours)
            if contender.name.startswith("ours"):
                raise
            print(f"  {contender.name}: left out: {' '.join(str(error).split())[:160]}", flush=True)
            contenders.remove(contender)
    for _ in range(rounds):
        for contender in contenders:
            times.setdefault(contender.name, []).append(seconds(contender, batches) / len(batches))
    return {name: statistics.median(values) for name, values in times.items()}


def first_images(contenders, inputs_of, sizes) -> dict[str, float]:
    """{name: median seconds of the first image of a size never seen}; torch.compile would compile anew: left out."""
    times: dict[str, list] = {}
    for size, contender in itertools.product(sizes, contenders):
        if not contender.name.endswith("compile"):
            times.setdefault(contender.name, []).append(seconds(contender, [inputs_of(size)]))
    return {name: statistics.median(values) for name, values in times.items()}


def floors(net, precision: str, train: bool) -> tuple[float, float]:
    """(seconds by arithmetic, seconds by memory) that an H200 needs at least: every value and weight read or written
    once by each layer, in training three times, and what the update moves."""
    operations, moved, width = 0, 0, 2 if precision == "fp16" else 4
    for step in net.plan.steps:
        bottoms, tops = ([value.shape for value in values] for values in (step.bottoms, step.tops))
        operations += 2 * step.layer.macs(bottoms, tops)
        if step.cls.type not in ("ReLU", "Dropout", "Input"):
            moved += width * sum(int(np.prod(shape)) for shape in (*bottoms, *tops))
            moved += width * sum(p.count for p in step.layer.params)
    if not train:
        return operations / PEAKS[precision], moved / BANDWIDTH
    learned = sum(p.count for p in net.learnable if p.grad is not None)
    return 3 * operations / PEAKS[precision], (3 * moved + 5 * 4 * learned) / BANDWIDTH


def rows(title: str, times: dict[str, float], note: str = "") -> list[str]:
    """A line for each contender: milliseconds, images a second, ours as a share of it."""
    lines = [f"{title}{note}"]
    for name, value in times.items():
        ratio = times["ours"] / value
        lines.append(f"  {name:22} {1e3 * value:9.2f} ms {1 / value:9.1f} images/s   ours / it {ratio:.2f}")
    return lines


def compare(message, precision: str, train: bool, say, load: Load, devices=("gpu", "cuda"), kinds=KINDS) -> None:
    """Say all figures of one precision and mode; devices: ours, torch's."""
    ours = Ours(message, precision, train, devices[0])
    contenders = [ours]
    for kind in kinds:
        try:
            contenders.append(Torch(ours, precision, train, kind, devices[1]))
        except Exception as error:  # noqa: BLE001
            say(f"  torch {kind}: left out: {' '.join(str(error).split())[:160]}")
    shapes = {name: ours.net.shapes[name] for name in ours.net.inputs}

    classes = next((step.bottoms[0].shape[1] for step in ours.net.plan.steps if step.tops[0].loss_weight), 2)

    def inputs_of(image):
        return random_inputs({name: (*shape[:2], *image) for name, shape in shapes.items()}, classes)

    mode = "training" if train else "forward"
    arithmetic, memory = floors(ours.net, precision, train)
    fixed = in_turns(contenders, [inputs_of(load.size)] * load.repeat, load.rounds)
    note = f"   (an H200 needs at least {1e3 * arithmetic:.2f} ms to compute, {1e3 * memory:.2f} ms to move)"
    for line in rows(f"{precision} {mode} {load.size[0]}x{load.size[1]}", fixed, note):
        say(line)
    if not train and len(contenders) > 1:
        reference = contenders[1].output()
        difference = np.abs(ours.output() - reference).max() / max(np.abs(reference).max(), 1e-30)
        say(f"  largest difference between ours and torch: {difference:.1e} of the largest score")
    eager = [contender for contender in contenders if not contender.name.endswith("compile")]
    for line in rows(f"{precision} {mode}, first image of a new size", first_images(eager, inputs_of, load.new_sizes)):
        say(line)
    stream = [inputs_of(image) for image in load.sizes] * 3
    for line in rows(f"{precision} {mode}, a stream of {len(load.sizes)} sizes", in_turns(eager, stream, 3, warm_up=1)):
        say(line)
    if devices[0] == "gpu":
        say(
            "  memory: "
            + ", ".join(f"{c.name} {c.memory():.1f} GB" for c in (contenders[0], contenders[-1]))
            + " (torch: all its kinds together)"
        )
    for contender in contenders:
        contender.close()


def main(nets, modes, rounds: int, out: str | None) -> int:
    """Everything; 2 where there is no GPU."""
    try:
        backend = make_backend("gpu")
    except NetError as fault:
        print(f"python -m benchmarks: {fault}", file=sys.stderr)
        return 2
    properties = backend.xp.cuda.runtime.getDeviceProperties(backend.runtime.index)
    device = properties["name"].decode()
    lines = []

    def say(line):
        print(line, flush=True)
        lines.append(line)

    say(f"# {device}, {datetime.date.today()}")
    say(
        f"cuDNN: {'yes' if backend.cudnn is not None else 'missing, convolutions through cuBLAS'}; one image; "
        f"medians of {rounds} rounds in turns"
    )
    for net, precision, mode in itertools.product(nets, PRECISIONS, modes):
        say(f"## {net}")
        compare(net_message(net, mode == "train"), precision, mode == "train", say, load=Load(rounds=rounds))
    name = "".join(c if c.isalnum() else "-" for c in device).strip("-").lower()
    path = Path(out or Path(__file__).parent / "results" / f"{datetime.date.today()}-{name}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(f"written to {path}")
    return 0
