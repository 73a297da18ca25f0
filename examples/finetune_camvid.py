"""Fine-tune SqueezeNet's published classifier to name every pixel of CamVid's streets, in three ways.

    python examples/finetune_camvid.py CAMVID squeezenet_v1.0.caffemodel runs/camvid
    python examples/finetune_camvid.py CAMVID squeezenet_v1.0.caffemodel runs/camvid 1500 --runs transplanted

CAMVID has PASCAL VOC's layout (JPEGImages, SegmentationClass, ImageSets/Segmentation/{train,val}.txt) and a
classes.txt.  The net is FCN-8s's sort on SqueezeNet: scores of stride 16, and skips from stride 8 and 4.

    transplanted   from the classifier's weights, all three streams at once
    staged         from the classifier's weights: scores of stride 16 alone, then 8, then 4, each stage from the last
                   one's weights, a third of the iterations each
    random         the same net from random weights

OUT/RUN/ gets the nets, the solver (or one for each stage), the weights, and the predictions in val/; OUT/scores.json
and OUT/scores.md the scores; OUT/predictions.png and OUT/with_truth.png some of the predictions side by side.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demitasse.models.commands.score import save_predictions
from demitasse.models.evaluate import Evaluation
from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.models.palette import colour, legend
from demitasse.models.surgery import interp, param_shapes, transplant, upsampling_layers
from demitasse.proto import text
from demitasse.proto.files import write_text
from demitasse.proto.messages import SolverParameter
from demitasse.proto.weights import read_weights, write_weights
from demitasse.solver.pictures import beside
from demitasse.solver.solver import Solver

STRIDE = 4  # of the finest scores
STAGES = {"transplanted": [STRIDE], "staged": [16, 8, STRIDE], "random": [STRIDE]}
RATES = {"transplanted": [3e-5], "staged": [5e-5, 3e-5, 3e-5], "random": [0.01]}
SCALES = {16: (), 8: (0.5,), 4: (0.5, 0.1)}  # of the skips: the earlier features are the larger ones
MEAN = (104.0, 117.0, 123.0)  # BGR, which SqueezeNet was trained with; pixels are not scaled


def build(data, classes, stride, batch, width, random):
    """{"train": ..., "val": ..., "deploy": ...}: the nets of a stage."""

    def source(split, size):
        options = dict(voc_dir=str(data), split=split, classes=classes, mean=MEAN, batch_size=size, seed=1337)
        return DataSource(labels=("label",), module="voc_layers", layer="VOCSegDataLayer", options=options)

    sources = {"train": source("train", batch), "val": source("val", 1), "deploy": DataSource()}
    return {
        split: fcn(
            pixels,
            [Head(classes)],
            trunk="squeezenet",
            stride=stride,
            skip_scales=SCALES[stride],
            width=width,
            random=random,
            normalize=True,
        )
        for split, pixels in sources.items()
    }


def solver_of(folder, iterations, rate):
    return SolverParameter(
        train_net=str(folder / "train.prototxt"),
        base_lr=rate,
        lr_policy="poly",
        power=0.9,
        momentum=0.9,
        weight_decay=0.0005,
        max_iter=iterations,
        display=20,
        average_loss=20,
        snapshot_prefix=str(folder / "train"),
        random_seed=1,
    )


def start_from(weights, net, path):
    """Write what the net can take of the weights; its upsampling interpolates, its new scores start at zero."""
    shapes = param_shapes(net)
    unlike = [name for name in shapes if name.startswith("upscore")]
    taken, report = transplant({name: arrays for name, arrays in weights.items() if name not in unlike}, shapes)
    print(report)
    write_weights(path, {**taken, **interp(shapes, upsampling_layers(net))}, net=net)


def train(run, options, classes):
    """(folder of the last stage, its weights, the seconds that training took)."""
    weights, seconds, done = None if run == "random" else options.classifier, 0.0, 0
    for i, (stride, rate) in enumerate(zip(STAGES[run], options.rate or RATES[run], strict=False)):
        folder = options.out / run / (f"stride{stride}" if len(STAGES[run]) > 1 else "")
        nets = build(options.data, classes, stride, options.batch, options.width, run == "random")
        iterations = options.iterations * (i + 1) // len(STAGES[run]) - done
        for name, message in {**nets, "solver": solver_of(folder, iterations, rate)}.items():
            write_text(folder / f"{name}.prototxt", text.format(message))
        start = None
        if weights:
            start = str(folder / "start.caffemodel")
            start_from(read_weights(weights), nets["train"], start)
        solver = Solver(str(folder / "solver.prototxt"), weights=start, existing="warn")
        begin = time.perf_counter()
        solver.solve()
        seconds, done = seconds + time.perf_counter() - begin, done + iterations
        solver.close()
        weights = folder / f"train_iter_{iterations}.caffemodel"
    return folder, weights, seconds


def evaluate(folder, weights, predictions):
    """Scores on the val split; the predictions go into a folder."""
    evaluation = Evaluation(folder / "val.prototxt", weights)
    for example in evaluation:
        save_predictions(predictions, example)
    print(evaluation.text())
    scores = evaluation.scores()["score"]
    evaluation.close()
    return scores


def summary(runs, names):
    """The scores of all runs as tables in Markdown."""
    lines = ["| run | iterations | training | pixel accuracy | mean accuracy | mean IU |", "|---|---|---|---|---|---|"]
    for run, got in runs.items():
        metrics = " | ".join(f"{got[key]:.3f}" for key in ("pixel_accuracy", "mean_accuracy", "mean_iu"))
        lines.append(f"| {run} | {got['iterations']} | {got['seconds']:.0f} s | {metrics} |")
    lines += ["", "| IU | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for run, got in runs.items():
        lines.append(f"| {run} | " + " | ".join("-" if iu is None else f"{iu:.2f}" for iu in got["class_iu"]) + " |")
    return "\n".join(lines) + "\n"


def pictures(options, runs, names, count=4):
    """Rows of predictions, with a legend, of images that lie evenly over the val split: predictions.png; and with
    the truth before them, which is the data set's and not ours to pass on: with_truth.png."""
    listed = (options.data / "ImageSets/Segmentation/val.txt").read_text().split()
    chosen = listed[len(listed) // (2 * count) :: max(1, len(listed) // count)][:count]
    columns = {"truth": options.data / "SegmentationClass", **{run: options.out / run / "val" for run in runs}}
    palette = np.array(Image.open(columns["truth"] / f"{chosen[0]}.png").getpalette(), np.uint8).reshape(-1, 3)
    palette = np.concatenate([palette, np.zeros((256 - len(palette), 3), np.uint8)])
    key = np.asarray(legend(range(len(names)), names, palette))
    for file, titles in (("predictions.png", list(runs)), ("with_truth.png", list(columns))):
        panels = [column(title, [columns[title] / f"{name}.png" for name in chosen], palette) for title in titles]
        shown = Image.fromarray(beside([beside(panels), key], gap=12))
        # Few colours: as a palette PNG it is small.
        shown.quantize(64, dither=Image.Dither.NONE).save(options.out / file, optimize=True)
        print(f"{options.out / file}: {' | '.join(titles)}")


def column(title, files, palette, gap=4):
    """Label images below each other, under their title."""
    images = [colour(np.asarray(Image.open(file)), palette) for file in files]
    head = Image.new("RGB", (images[0].shape[1], 16), "white")
    ImageDraw.Draw(head).text((2, 1), title, fill="black")
    parts = [np.asarray(head)]
    for image in images:
        parts += [image, np.full((gap, image.shape[1], 3), 255, np.uint8)]
    return np.concatenate(parts[:-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of CamVid, or of any data set in VOC's layout")
    parser.add_argument("classifier", type=Path, help="SqueezeNet 1.0's weights")
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("iterations", type=int, nargs="?", default=600, help="of each run (default: 600)")
    parser.add_argument("--runs", default=",".join(STAGES), help=f"default: {','.join(STAGES)}")
    parser.add_argument("--batch", type=int, default=4, help="images in each iteration (default: 4)")
    parser.add_argument("--rate", type=float, nargs="*", help="the learning rate of each stage, for a single run")
    parser.add_argument("--width", type=float, default=1.0, help="multiply the trunk's channels (as the classifier's)")
    options = parser.parse_args(arguments)
    options.data, names = options.data.resolve(), (options.data / "classes.txt").read_text().split()
    file = options.out / "scores.json"
    runs = json.loads(file.read_text()) if file.is_file() else {}  # of earlier calls
    for run in options.runs.split(","):
        folder, weights, seconds = train(run, options, len(names))
        scores = evaluate(folder, weights, options.out / run / "val")
        runs[run] = dict(
            iterations=options.iterations,
            batch=options.batch,
            seconds=seconds,
            pixel_accuracy=scores.pixel_accuracy,
            mean_accuracy=scores.mean_accuracy,
            mean_iu=scores.mean_iu,
            class_iu=[None if np.isnan(iu) else float(iu) for iu in scores.class_iu],
        )
        write_text(file, json.dumps(runs, indent=1))
    write_text(options.out / "scores.md", summary(runs, names))
    print(summary(runs, names))
    pictures(options, runs, names)


if __name__ == "__main__":
    main()
