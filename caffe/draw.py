"""Pictures of nets: netdef/picture.py under pycaffe's names."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from demitasse.layers.layer import TEST
from demitasse.netdef import picture


def draw_net(caffe_net, rankdir="TB", ext="png", phase=None, display_lrm=False) -> bytes:
    """The picture of a net (a NetParameter or a path) as the bytes of a png or svg file.

    phase: caffe.TRAIN or caffe.TEST; None: TEST.  rankdir and display_lrm are accepted and change nothing: a net is
    always drawn from top to bottom.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"net.{ext}")
        draw_net_to_file(caffe_net, path, rankdir, phase, display_lrm)
        return path.read_bytes()


def draw_net_to_file(caffe_net, filename: str | os.PathLike, rankdir="LR", phase=None, display_lrm=False) -> None:
    """Write the picture of a net to a .png or .svg file.  Where its data are not there it has no shapes."""
    picture.draw(picture.plan_or_wiring(caffe_net, TEST if phase is None else phase), filename)
