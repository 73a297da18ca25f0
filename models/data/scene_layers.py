"""The drawn scenes as a data layer: draws its data set where there is none yet, then is VOC's layer."""

from __future__ import annotations

from pathlib import Path

from demitasse.models.data import scenes
from demitasse.models.data.options import size, text, whole
from demitasse.models.data.voc_layers import VOCSegDataLayer

FOLDER = Path(__file__).resolve().parents[1] / "demo" / "data"
TRAIN, VAL, SIZE = 1600, 100, (96, 96)


class SceneSegDataLayer(VOCSegDataLayer):
    """(data, label) of models/data/scenes.py; options as VOCSegDataLayer's, but every one has a default.

    voc_dir ('': models/demo/data), split ('train'), train and val (how many scenes), size (H, W).
    """

    options = {
        **VOCSegDataLayer.options,
        "voc_dir": text(""),
        "split": text("train"),
        "classes": whole(len(scenes.CLASSES), 1, 255),
        "train": whole(TRAIN, 1, 10**6),
        "val": whole(VAL, 1, 10**6),
        "size": size(SIZE),
    }

    def open(self, options):
        folder = scenes.write(options["voc_dir"] or FOLDER, options["train"], options["val"], tuple(options["size"]))
        return super().open({**options, "voc_dir": str(folder)})
