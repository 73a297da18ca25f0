"""HDF5Output: appends its two bottoms to the datasets `data` and `label` of a file."""

from __future__ import annotations

import os
import shutil

import numpy as np

from demitasse.layers.data.hdf5 import library
from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault, WeightsFault
from demitasse.proto.files import replacing
from demitasse.proto.memory import bytes_text

NAMES = ("data", "label")
SPARE = 1 << 18  # bytes that HDF5 may take beyond the numbers: chunks are padded


class HDF5Output(Layer):
    """The first batch replaces the file, later ones are added to it; after every batch it is whole and closed.

    Caffe could write a single batch only.
    """

    type = "HDF5Output"
    bottoms, tops = (2, 2), (0, 0)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        self.path = self.spec.hdf5_output_param.file_name
        if not self.path:
            raise SchemaFault("hdf5_output_param: file_name is not given")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise SchemaFault(f"hdf5_output_param: '{self.path}' is a folder or a device: name a file")
        self.h5py = library("HDF5Output")
        self.started = False
        return []

    def infer(self, shapes):
        if not shapes[0] or not shapes[1] or shapes[0][0] != shapes[1][0]:
            raise ShapeFault(f"HDF5Output: bottoms of shapes {shapes[0]} and {shapes[1]} need as many rows each")
        return []

    def forward(self, xs):
        arrays = [np.asarray(self.be.to_host(x)) for x in xs]
        self._require_room(sum(array.nbytes for array in arrays))
        try:
            if self.started:
                self._append(arrays)
            else:
                self._create(arrays)
        except (OSError, RuntimeError, WeightsFault) as error:  # h5py's, of a write and of a close, and replacing's
            reason = " ".join(str(error).split())
            raise DataFault(f"hdf5_output_param: '{self.path}' cannot be written: {reason}") from None
        self.started = True
        return []

    def _require_room(self, needed: int) -> None:
        """DataFault before a byte is written, where the disk is full: a batch half appended would spoil the others."""
        folder = os.path.dirname(os.path.abspath(self.path))
        free = shutil.disk_usage(folder).free if os.path.isdir(folder) else None
        if free is not None and free < needed + SPARE:
            raise DataFault(
                f"hdf5_output_param: '{self.path}' cannot take the batch: it has {bytes_text(needed)}, and only "
                f"{bytes_text(free)} are free; the batches before it are whole"
            )

    def _create(self, arrays):
        with replacing(self.path) as partial, self.h5py.File(partial, "w") as file:
            for name, array in zip(NAMES, arrays, strict=True):
                file.create_dataset(name, data=array, maxshape=(None, *array.shape[1:]), chunks=True)

    def _append(self, arrays):
        with self.h5py.File(self.path, "a") as file:
            for name, array in zip(NAMES, arrays, strict=True):
                dataset = file[name]
                if dataset.shape[1:] != array.shape[1:]:
                    raise ShapeFault(
                        f"HDF5Output: '{self.path}' holds rows of shape {dataset.shape[1:]} in '{name}', "
                        f"this batch has {array.shape[1:]}; all batches must agree"
                    )
                dataset.resize(len(dataset) + len(array), axis=0)
                dataset[-len(array) :] = array

    def backward(self, dys, need):
        return [None, None]
