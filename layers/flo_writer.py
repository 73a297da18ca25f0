"""FLOWriter (FlowNet): each flow to a .flo file of its own, times `scale`.

The files are folder/prefix + the item's number, of seven digits from 0 on, + suffix + .flo; `file` names one for all,
of which the last item stays.

Source: the prototxts and scripts of FlowNet.
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, ShapeFault
from demitasse.proto.files import replacing


class FLOWriter(Layer):
    type = "FLOWriter"
    fields = ("writer_param",)
    bottoms, tops = (1, 1), (0, 0)
    never_differentiable = (0,)

    def setup(self, shapes):
        self.item = 0
        return []

    def infer(self, shapes):
        if len(shapes[0]) != 4 or shapes[0][1] != 2:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: flows, (N, 2, H, W), are expected")
        return []

    def forward(self, xs):
        param = self.spec.writer_param
        for flow in np.asarray(self.be.to_host(xs[0])) * param.scale:
            name = param.file or f"{param.prefix}{self.item:07d}{param.suffix}.flo"
            self._write(os.path.join(param.folder, name), flow)
            self.item += 1
        return []

    def backward(self, dys, need):
        return [None]

    def _write(self, path: str, flow: np.ndarray) -> None:
        _, height, width = flow.shape
        head = np.array([202021.25], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(head + flow.transpose(1, 2, 0).astype("<f4").tobytes())
        except OSError as error:
            raise DataFault(f"writer_param: '{path}' cannot be written: {error}") from None
