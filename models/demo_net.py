"""The demo: a slim FCN-8s and its solver on drawn scenes, the files in models/demo/.

    python -m models write demo models        writes them anew

An eighth of VGG-16's channels, both skips, from random weights; small enough to learn the scenes in about two minutes
on two cores.  Adam, since random weights below sixteen layers without normalisation learn slowly by plain SGD.
"""

from __future__ import annotations

from demitasse.models.data.scene_layers import SIZE, VAL
from demitasse.models.data.scenes import CLASSES
from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.proto import text
from demitasse.proto.messages import NetParameter, SolverParameter

BATCH, ITERATIONS = 8, 1000


def nets() -> dict[str, NetParameter]:
    """{"train": ..., "val": ..., "deploy": ...}"""

    def source(split, batch):
        options = {"split": split, "seed": 1337, "batch_size": batch}
        return DataSource(
            labels=("label",), module="scene_layers", layer="SceneSegDataLayer", options=options, size=SIZE
        )

    sources = {"train": source("train", BATCH), "val": source("val", 1), "deploy": source("val", 1).deploy()}
    built = {}
    for split, pixels in sources.items():
        net = fcn(
            pixels,
            [Head(len(CLASSES))],
            stride=8,
            width=1 / 8,
            fc_kernel=3,
            snug=True,
            random=True,
            dropout=False,
            normalize=True,
        )
        net.name = f"demo-fcn8s-{split}"
        built[split] = net
    return built


def of_short_runs(own: SolverParameter) -> SolverParameter:
    """A solver for minutes on drawn scenes, Adam with a falling rate; `own` has the fields that are one net's own."""
    made = SolverParameter(
        type="Adam",
        base_lr=0.002,
        lr_policy="poly",
        power=0.9,
        momentum=0.9,
        momentum2=0.999,
        max_iter=ITERATIONS,
        display=50,
        average_loss=50,
        snapshot=500,
        random_seed=1,
        solver_mode=SolverParameter.CPU,
    )
    made.MergeFrom(own)
    return made


def solver() -> SolverParameter:
    """The demo's solver."""
    return of_short_runs(
        SolverParameter(
            train_net="fcn8s_train.prototxt",
            test_net=["fcn8s_val.prototxt"],
            test_iter=[VAL],
            test_interval=500,
            test_initialization=False,
            snapshot_prefix="runs/demo/fcn8s",
        )
    )


def files() -> dict[str, str]:
    """File name -> text."""
    head = "# A slim FCN-8s on drawn scenes: `make train`.  Written by `python -m models write demo models`.\n"
    messages = {f"fcn8s_{split}.prototxt": net for split, net in nets().items()}
    messages["fcn8s_solver.prototxt"] = solver()
    written = {name: head + text.format(message) for name, message in messages.items()}
    return {**written, "classes.txt": "".join(f"{name}\n" for name in CLASSES)}
