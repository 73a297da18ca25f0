"""Real streets: a slim FCN-8s trained on CamVid from random weights, here and in PyTorch.

    python -m benchmarks.camvid FOLDER [--iterations 2000] [--seed 1] [--engines ours,torch]

FOLDER: CamVid in the layout of PASCAL VOC (JPEGImages, SegmentationClass, ImageSets/Segmentation), 11 classes.
Both engines get the same net, initial weights, images in the same order and learning-rate schedule; dropout draws
from each engine's own generator.  Prints pixel accuracy, mean IU on the validation split, and the time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.netdef.net import Net
from demitasse.proto import text
from demitasse.proto.messages import SolverParameter
from demitasse.solver.score import Scores, confusion, scores
from demitasse.solver.solver import Solver

CLASSES = 11


def definitions(folder: str, width: float, batch: int):
    """(train net, validation net)."""

    def source(split, size):
        options = {"voc_dir": folder, "split": split, "classes": CLASSES, "seed": 1337, "batch_size": size}
        return DataSource(labels=("label",), module="voc_layers", layer="VOCSegDataLayer", options=options)

    def net(split, size):
        message = fcn(
            source(split, size), [Head(CLASSES)], stride=8, width=width, random=True, snug=True, normalize=True
        )
        message.name = f"camvid-fcn8s-{split}"
        return message

    return net("train", batch), net("val", 1)


def solver_message(train, iterations: int, rate: float, seed: int = 1):
    message, _ = text.parse(
        f'base_lr: {rate} lr_policy: "poly" power: 0.9 momentum: 0.9 weight_decay: 0.0005 max_iter: {iterations} '
        f"display: 100 average_loss: 100 random_seed: {seed} snapshot_after_train: false",
        SolverParameter,
    )
    message.train_net_param.CopyFrom(train)
    return message


def next_batch(net: Net):
    """Images and labels of a net's data layer."""
    layer = net.layers[0]
    layer.infer([])
    return layer.forward([])


def evaluate(val: Net, predict) -> Scores:
    """predict: data (1, 3, H, W) -> (H, W) classes."""
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for _ in val.layers[0].user.indices:
        data, label = next_batch(val)
        matrix += confusion(label[0, 0], predict(data), CLASSES)
    return scores(matrix)


def train_ours(message, val):
    solver = Solver(message)
    start = time.perf_counter()
    solver.step(message.max_iter)
    seconds = time.perf_counter() - start
    val.share_with(solver.net)

    def predict(data):
        after_data = val.layer_names[1]
        return val.forward({"data": data}, start=after_data, end="score")["score"][0].argmax(0)

    return evaluate(val, predict), seconds


def train_torch(message, val, threads):
    import torch

    from benchmarks.torch_net import CaffeSGD, TorchNet
    from demitasse.solver.policy import learning_rate

    torch.manual_seed(message.random_seed)
    torch.set_num_threads(threads)
    net = Solver(message).net  # the same weights and the same images
    module = TorchNet.like(net, keep=("score",))
    sgd = CaffeSGD(module, message.momentum, message.weight_decay)
    module.train()
    start, losses = time.perf_counter(), []
    for iteration in range(message.max_iter):
        data, label = (torch.from_numpy(array.copy()) for array in next_batch(net))
        loss = module({"data": data, "label": label})["loss"]
        loss.backward()
        sgd.step(learning_rate(message, iteration))
        losses.append(loss.item())
        if iteration % 100 == 0:
            print(f"torch: iteration {iteration}, loss = {np.mean(losses[-100:]):.4f}", flush=True)
    seconds = time.perf_counter() - start
    module.eval()

    def predict(data):
        with torch.no_grad():
            zeros = torch.zeros(data[:, :1].shape)
            return module({"data": torch.from_numpy(data.copy()), "label": zeros})["score"][0].argmax(0).numpy()

    return evaluate(val, predict), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", default="ours,torch")
    parser.add_argument("--seed", type=int, default=1, help="of the initial weights and of dropout")
    options = parser.parse_args()
    folder = str(Path(options.folder).resolve())
    train, val = definitions(folder, options.width, options.batch)
    message = solver_message(train, options.iterations, options.rate, options.seed)
    for engine in options.engines.split(","):
        evaluation = Net(val, "TEST")
        run = train_ours if engine == "ours" else lambda m, v: train_torch(m, v, options.threads)
        result, seconds = run(message, evaluation)
        print(
            f"{engine}: {options.iterations} iterations of {options.batch} images in {seconds:.0f} s; {result}",
            flush=True,
        )


if __name__ == "__main__":
    main()
