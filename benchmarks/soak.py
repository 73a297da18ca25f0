"""python -m benchmarks.soak --minutes 5 [--what demo train serve build data threads]

Does the same work over and over and watches what a process must not gather: memory, arrays inside compiled code, file
descriptors, threads.  Prints a table, a row for each thousand calls; exit status 1 where something grows.
"""

from __future__ import annotations

import ast
import gc
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.netdef.net import Net
from demitasse.proto.cli import OneLineParser
from demitasse.proto.text import format as prototxt
from demitasse.proto.text import read_net, read_solver
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver

MEGABYTES = 20  # that memory may grow by after the first row
FILES = 2
DEMO = Path(__file__).resolve().parents[1] / "models" / "demo"
HEADINGS = ("calls", "seconds", "RSS MB", "files", "threads")

TRUNK = """
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "n1" type: "LRN" bottom: "p1" top: "n1" }
layer { name: "c2" type: "Convolution" bottom: "n1" top: "c2"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "up" type: "Deconvolution" bottom: "c2" top: "up"
  convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "bilinear" } } }
layer { name: "score" type: "Crop" bottom: "up" bottom: "data" top: "score" crop_param { offset: 0 } }
"""
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }'
DATA = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 32 dim: 32 } shape { dim: 2 dim: 1 dim: 32 dim: 32 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
SOLVER = 'base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 max_iter: 1000000000 random_seed: 1'


@dataclass
class Row:
    """What a process has at one moment."""

    calls: int
    seconds: float
    megabytes: float
    files: int
    threads: int


def look(calls: int, since: float) -> Row:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    seconds, files = time.monotonic() - since, len(os.listdir("/proc/self/fd"))
    return Row(calls, seconds, resident, files, threading.active_count())


# -- what is done over and over: each gives a function that does it once ---------------------------------


def train(folder: Path) -> Callable[[], None]:
    """An iteration of a solver."""
    (folder / "train.prototxt").write_text(DATA + TRUNK + LOSS)
    (folder / "solver.prototxt").write_text(f'net: "train.prototxt" {SOLVER}')
    solver = Solver(folder / "solver.prototxt", log=Silent())
    return lambda: solver.step(1)


def demo(folder: Path) -> Callable[[], None]:
    """An iteration of the demo's solver on 16 drawn scenes, without an end."""
    kept, layer = read_solver(DEMO / "fcn8s_solver.prototxt")[0], "fcn8s_train.prototxt"
    net = read_net(DEMO / layer)[0]
    options = {**ast.literal_eval(net.layer[0].python_param.param_str), "voc_dir": str(folder), "train": 16, "val": 1}
    net.layer[0].python_param.param_str = repr(options)
    (folder / layer).write_text(prototxt(net))
    kept.ClearField("test_net"), kept.ClearField("test_iter"), kept.ClearField("test_interval")
    kept.max_iter, kept.snapshot, kept.display = 1_000_000_000, 0, 0
    (folder / "solver.prototxt").write_text(prototxt(kept))
    solver = Solver(folder / "solver.prototxt", log=Silent())
    return lambda: solver.step(1)


def sizes() -> Iterator[tuple[int, int]]:
    while True:
        yield from ((height, width) for height in (24, 32, 48) for width in (32, 40, 56))


def serve(folder: Path) -> Callable[[], None]:
    """An image of another size than the one before."""
    net, shapes = Net(INPUT + TRUNK), sizes()
    return lambda: net.forward({"data": np.ones((1, 3, *next(shapes)), np.float32)}) and None


def build(folder: Path) -> Callable[[], None]:
    """A net that is built, run and dropped; it shares its weights with one that stays."""
    first = Net(INPUT + TRUNK)

    def once() -> None:
        net = Net(INPUT + TRUNK, weights=first)
        net.forward()
        net.close()

    return once


def data(folder: Path) -> Callable[[], None]:
    """A net with a data layer that reads images from files, built, run twice and closed."""
    for number in range(4):
        Image.fromarray(np.full((40, 40, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "list.txt").write_text("".join(f"{folder}/{number}.png {number}\n" for number in range(4)))
    text = (
        f'layer {{ name: "data" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f'source: "{folder}/list.txt" batch_size: 2 new_height: 32 new_width: 32 }} }}'
        'layer { name: "quiet" type: "Silence" bottom: "label" }'
    )

    def once() -> None:
        net = Net(text + TRUNK)
        net.forward()
        net.forward()
        net.close()

    return once


def threads(folder: Path) -> Callable[[], None]:
    """One net in four threads that come and go."""
    net, image = Net(INPUT + TRUNK), np.ones((1, 3, 32, 32), np.float32)

    def once() -> None:
        several = [threading.Thread(target=net.forward, args=({"data": image},)) for _ in range(4)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()

    return once


WORK = {function.__name__: function for function in (demo, train, serve, build, data, threads)}


# -- watching ----------------------------------------------------------------------------------------------


def soak(what: str, seconds: float, each: int = 1000, warm: float = 60.0, say=print) -> list[str]:
    """Do one kind of work for so long; what has grown, in words.

    each: calls between two rows.  warm: seconds before the row that the last one is compared with.
    """
    with tempfile.TemporaryDirectory() as folder:
        once, start, calls = WORK[what](Path(folder)), time.monotonic(), 0
        rows: list[Row] = []
        while not rows or rows[-1].seconds < seconds or len(rows) < 3:
            for _ in range(each):
                once()
                calls += 1
                if time.monotonic() - start > seconds and len(rows) >= 2:
                    break
            rows.append(look(calls, start))
            say(what.ljust(8) + "".join(f"{value:>10.4g}" for value in astuple(rows[-1])))
    return grown(what, rows, min(warm, seconds / 2))


def grown(what: str, rows: list[Row], warm: float) -> list[str]:
    """What the last row has more than the first one that is warm (at the latest the last but one)."""
    first, last = next((row for row in rows[:-1] if row.seconds >= warm), rows[-2]), rows[-1]
    found = []
    for name, before, after, allowed in (
        ("RSS", first.megabytes, last.megabytes, MEGABYTES),
        ("files", first.files, last.files, FILES),
        ("threads", first.threads, last.threads, FILES),
    ):
        if after - before > allowed:
            calls = last.calls - first.calls
            found.append(f"{what}: {name} grew from {before:g} to {after:g} over {calls} calls (allowed: {allowed})")
    return found


def main(arguments: Iterable[str] | None = None) -> int:
    parser = OneLineParser(prog="python -m benchmarks.soak", description="Watch for what gathers over many calls")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="for all kinds together (default: 5)")
    parser.add_argument("--what", nargs="+", choices=WORK, default=list(WORK), help="default: all of them, in turn")
    parser.add_argument("--each", type=int, default=1000, metavar="N", help="calls between two rows (default: 1000)")
    options = parser.parse_args(arguments)
    print(" " * 8 + "".join(heading.rjust(10) for heading in HEADINGS))
    seconds = 60 * options.minutes / len(options.what)
    found = []
    for what in options.what:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found += soak(what, seconds, options.each, min(60.0, seconds / 3))
    print("\n".join(found) if found else "nothing grows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
