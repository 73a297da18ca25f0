"""A small SSD and its solver on drawn scenes, the files in models/ssd_demo/; or on boxes of one's own.

    python -m models write ssd-demo models                                writes them anew
    python -m models write ssd-own nets --classes names.txt --data boxes  for boxes/train_lmdb and boxes/val_lmdb

Eleven normalised convolutions from random weights, with boxes predicted from the maps of 12, 6 and 3 cells a side, and
the published training: priors matched at an overlap of 0.5, three hard negatives for each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from demitasse.models.data.scene_layers import SIZE, VAL
from demitasse.models.data.scenes import CLASSES, MEAN
from demitasse.models.demo_net import of_short_runs
from demitasse.netdef.spec import L, NetSpec
from demitasse.proto import text
from demitasse.proto.messages import LabelMap, NetParameter, SolverParameter

BATCH, TEST_BATCH = 8, 10
WIDTHS = (8, 16, 32, 64, 96, 96)  # channels of the stages, each half the size of the one before
HEADS = {3: (14, 26), 4: (26, 46), 5: (46, 78)}  # by stage: the sides of its square boxes
RATIOS = [2]
PER_CELL = 2 + 2 * len(RATIOS)
OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)  # that a part of an image has with an object, at least, where one is cut out


class Task(NamedTuple):
    """What is to be found."""

    classes: Sequence[str]  # their names, the background first
    size: tuple[int, int] = SIZE  # height and width of what the net sees
    data: str = ""  # the folder of train_lmdb and val_lmdb, of `convert_annoset`; none: scenes are drawn


DEMO = Task(CLASSES)


def net(phase: str, task: Task = DEMO) -> NetParameter:
    """The net that is trained ("train"), tested ("val") or used ("deploy")."""
    n = NetSpec()
    if phase == "deploy":
        n.data = L.Input(shape={"dim": [1, 3, *task.size]})
    elif task.data:
        n.data, n.label = _own_data(phase, task)
    else:
        options = {"split": phase, "batch_size": BATCH if phase == "train" else TEST_BATCH, "seed": 1337}
        n.data, n.label = L.Python(module="box_layers", layer="SceneBoxDataLayer", ntop=2, param_str=repr(options))
    top, heads = n.data, []
    for stage, width in enumerate(WIDTHS):
        for part in "ab"[: 1 if stage == len(WIDTHS) - 1 else 2]:
            top = _conv(n, top, f"{stage + 1}{part}", width)
        if stage in HEADS:
            sides = tuple(round(side * min(task.size) / min(SIZE)) for side in HEADS[stage])
            heads.append(_head(n, top, f"conv{stage + 1}", sides, len(task.classes)))
        if stage + 1 < len(WIDTHS):
            n[f"pool{stage + 1}"] = top = L.Pooling(top, kernel_size=2, stride=2)
    for name, parts in zip(("loc", "conf", "priors"), zip(*heads, strict=True), strict=True):
        n[name] = L.Concat(*parts, axis=2 if name == "priors" else 1)
    if phase == "train":
        n.loss = L.MultiBoxLoss(
            n.loc,
            n.conf,
            n.priors,
            n.label,
            num_classes=len(task.classes),
            code_type="CENTER_SIZE",
            propagate_down=[True, True, False, False],
        )
    else:
        _detections(n, len(task.classes))
    if phase == "val":
        n.precision = L.DetectionEvaluate(n.found, n.label, num_classes=len(task.classes))
    message = n.to_proto()
    message.name = f"{'own' if task.data else 'demo'}-ssd-{phase}"
    return message


def _own_data(phase: str, task: Task):
    """Images and boxes of a database; in training they are mirrored, recoloured, and parts of them cut out."""
    height, width = task.size
    transform = {"mean_value": list(MEAN), "resize_param": [{"height": height, "width": width}]}
    annotated = {}
    if phase == "train":
        transform |= {"mirror": True, "emit_constraint": {"emit_type": "CENTER"}}
        transform["distort_param"] = {
            **{"brightness_prob": 0.5, "brightness_delta": 32, "hue_prob": 0.5, "hue_delta": 18},
            **{"contrast_prob": 0.5, "contrast_lower": 0.5, "contrast_upper": 1.5},
            **{"saturation_prob": 0.5, "saturation_lower": 0.5, "saturation_upper": 1.5},
        }
        shape = {"min_scale": 0.3, "max_scale": 1, "min_aspect_ratio": 0.5, "max_aspect_ratio": 2}
        parts = [
            {"sampler": shape, "sample_constraint": {"min_jaccard_overlap": overlap}, "max_sample": 1, "max_trials": 50}
            for overlap in OVERLAPS
        ]
        annotated = {"batch_sampler": [{"max_sample": 1, "max_trials": 1}, *parts]}
    return L.AnnotatedData(
        ntop=2,
        data_param={
            "source": os.path.join(task.data, f"{phase}_lmdb"),
            "backend": "LMDB",
            "batch_size": BATCH if phase == "train" else TEST_BATCH,
        },
        transform_param=transform,
        annotated_data_param=annotated,
    )


def _conv(n: NetSpec, bottom, name: str, channels: int):
    """A convolution, batch normalisation and ReLU."""
    n[f"conv{name}"] = L.Convolution(
        bottom, num_output=channels, kernel_size=3, pad=1, bias_term=False, weight_filler={"type": "msra"}
    )
    n[f"norm{name}"] = L.BatchNorm(n[f"conv{name}"], moving_average_fraction=0.95, in_place=True)
    n[f"scale{name}"] = L.Scale(n[f"norm{name}"], bias_term=True, in_place=True)
    n[f"relu{name}"] = L.ReLU(n[f"scale{name}"], in_place=True)
    return n[f"relu{name}"]


def _head(n: NetSpec, top, name: str, sides: tuple[int, ...], classes: int):
    """What the boxes of a map are predicted from: places, scores and priors."""
    flat = []
    for kind, each in (("loc", 4), ("conf", classes)):
        n[f"{name}_{kind}"] = L.Convolution(
            top, num_output=PER_CELL * each, kernel_size=3, pad=1, weight_filler={"type": "xavier"}
        )
        n[f"{name}_{kind}_perm"] = L.Permute(n[f"{name}_{kind}"], order=[0, 2, 3, 1])
        n[f"{name}_{kind}_flat"] = L.Flatten(n[f"{name}_{kind}_perm"])
        flat.append(n[f"{name}_{kind}_flat"])
    n[f"{name}_priors"] = L.PriorBox(
        top, n.data, min_size=[sides[0]], max_size=[sides[1]], aspect_ratio=RATIOS, variance=[0.1, 0.1, 0.2, 0.2]
    )
    return (*flat, n[f"{name}_priors"])


def _detections(n: NetSpec, classes: int) -> None:
    n.conf_rows = L.Reshape(n.conf, shape={"dim": [0, -1, classes]})
    n.conf_prob = L.Softmax(n.conf_rows, axis=2)
    n.conf_flat = L.Flatten(n.conf_prob)
    n.found = L.DetectionOutput(
        n.loc,
        n.conf_flat,
        n.priors,
        detection_output_param={
            "num_classes": classes,
            "code_type": "CENTER_SIZE",
            "nms_param": {"nms_threshold": 0.45, "top_k": 100},
            "keep_top_k": 50,
            "confidence_threshold": 0.01,
        },
    )


def solver(task: Task = DEMO) -> SolverParameter:
    """How it is trained and tested."""
    return of_short_runs(
        SolverParameter(
            train_net="train.prototxt",
            test_net=["val.prototxt"],
            test_iter=[VAL // TEST_BATCH],
            test_interval=500,
            test_initialization=False,
            eval_type="detection",
            ap_version="MaxIntegral",
            show_per_class_result=True,
            snapshot_prefix=f"runs/ssd-{'own' if task.data else 'demo'}/ssd",
        )
    )


def files(task: Task = DEMO) -> dict[str, str]:
    """File name -> text; with a label map for `convert_annoset` where the boxes are one's own."""
    kind = "own boxes" if task.data else "drawn scenes"
    head = f"# A small SSD on {kind}.  Written by `python -m models write ssd-{'own' if task.data else 'demo'} "
    head += "...`.\n" if task.data else "models`.\n"
    written = {f"{phase}.prototxt": net(phase, task) for phase in ("train", "val", "deploy")}
    written["solver.prototxt"] = solver(task)
    if task.data:
        items = [{"name": name, "label": label, "display_name": name} for label, name in enumerate(task.classes)]
        written["labelmap.prototxt"] = LabelMap(item=items)
    texts = {name: head + text.format(message) for name, message in written.items()}
    return {**texts, "classes.txt": "".join(f"{name}\n" for name in task.classes)}
