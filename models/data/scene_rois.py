"""The drawn scenes with the boxes of their objects, for an R-CNN: draws the data set where there is none yet."""

from __future__ import annotations

from demitasse.models.data import scenes
from demitasse.models.data.options import size, whole
from demitasse.models.data.roi_data_layer.layer import RoIDataLayer
from demitasse.models.data.scene_layers import FOLDER, SIZE, TRAIN, VAL
from demitasse.proto.input_paths import located


class SceneRoIDataLayer(RoIDataLayer):
    """(data, im_info, gt_boxes) of models/data/scenes.py.  Options as RoIDataLayer's, whose voc_dir is models/demo/data
    unless given; train and val (how many scenes), size (H, W)."""

    options = {
        **RoIDataLayer.options,
        "train": whole(TRAIN, 1, 10**6),
        "val": whole(VAL, 1, 10**6),
        "size": size(SIZE),
    }

    def data_folder(self):
        """The folder of the scenes, drawn by now."""
        given = self.given
        folder = located(given["voc_dir"], self.net_folder) if given["voc_dir"] else FOLDER
        return scenes.write(folder, given["train"], given["val"], tuple(given["size"]))
