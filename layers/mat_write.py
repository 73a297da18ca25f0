"""MatWrite (DeepLab): each item of its bottoms to a MATLAB file of its own.

`source` lists a name a line (`strip` letters at its end are left out); item n of the data set goes to
prefix + name + _blob_<bottom>.mat, as a variable `data` with the axes (width, height, channels, 1), in every period-th
batch.  The names begin again after the last one.  Where the list is not there nothing is written, with a warning.

Source: the prototxts and MATLAB scripts of DeepLab.
"""

from __future__ import annotations

import io
import os

import numpy as np

from demitasse.layers.data.listing import read_lines
from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.files import replacing
from demitasse.proto.warning import warn


class MatWrite(Layer):
    type = "MatWrite"
    bottoms, tops = (1, None), (0, 0)
    nameless = False  # the list is not there: a published net names that of its author's machine

    def setup(self, shapes):
        param = self.spec.mat_write_param
        if not param.source or not param.period:
            raise SchemaFault("source is missing, or period is 0: write the text file that names the items")
        if self.be is not None and not os.path.exists(param.source):
            warn(f"mat_write_param: nothing is written: source '{param.source}', the items' names, does not exist")
            self.nameless = True
        self.never_differentiable = tuple(range(len(shapes)))
        self.names, self.item, self.batch = [], 0, 0
        return []

    def infer(self, shapes):
        if any(shape[:1] != shapes[0][:1] or len(shape) > 4 or not shape for shape in shapes):
            raise ShapeFault(f"bottoms of shapes {shapes}: as many items each, of at most 4 axes, are needed")
        return []

    def forward(self, xs):
        param = self.spec.mat_write_param
        if self.nameless:
            return []
        if not self.names:
            lines = read_lines(param.source, "mat_write_param: source", "an item's name")
            self.names = [line[: len(line) - param.strip] for _, line in lines]
        writes, self.batch = self.batch % param.period == 0, self.batch + 1
        arrays = [np.asarray(self.be.to_host(x)) for x in xs] if writes else []
        for n in range(len(xs[0])):
            name = self.names[(self.item + n) % len(self.names)]
            for i, array in enumerate(arrays):
                self._write(f"{param.prefix}{name}_blob_{i}.mat", array[n])
        self.item += len(xs[0])
        return []

    def backward(self, dys, need):
        return [None for _ in need]

    def _write(self, path: str, item: np.ndarray) -> None:
        from scipy.io import savemat  # here: SciPy takes longer to import than a small net to load

        buffer = io.BytesIO()
        savemat(buffer, {"data": item.reshape(*(1,) * (4 - item.ndim), *item.shape).transpose(3, 2, 1, 0)})
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(buffer.getvalue())
        except OSError as error:
            raise DataFault(f"mat_write_param: '{path}' cannot be written: {error}") from None
