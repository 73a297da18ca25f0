"""HDF5Data: rows of datasets, named as the tops, from the .h5 files that a text file lists."""

from __future__ import annotations

import contextlib
import itertools
import os

import numpy as np

from demitasse.layers.data.feed import Batch, FeedLayer, Source
from demitasse.layers.data.files import require_file
from demitasse.layers.data.hdf5 import dataset, library
from demitasse.layers.data.listing import read_lines
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.input_paths import located

BLOCK = 64 << 20  # bytes that are read at once where rows come in order
LARGEST_RATIO = 1100  # of deflate's compression: a smaller file that promises more is lying


class Hdf5Rows(Source):
    """Rows of the files in turn; shuffled, the files come in another order, and so do the rows within each file."""

    def __init__(self, listing: str, folder: str, names: list[str], shuffle: bool):
        """folder: where files lie that are not in the working directory.  names: of the datasets."""
        super().__init__()
        self.listing, self.names, self.shuffle = listing, names, shuffle
        self.h5py = library("HDF5Data")
        self.files = [
            (located(name, folder), f"{listing}:{line}")
            for line, name in read_lines(listing, "hdf5_data_param: source", "the path of an .h5 file")
        ]
        shapes = [self._look(*file) for file in self.files]
        self.rows = np.array([shape[0][0] for shape in shapes])
        self.count, self.shuffles = int(self.rows.sum()), "shuffle: true" * shuffle
        self.shapes = [shape[1:] for shape in shapes[0]]
        for (name, where), others in zip(self.files, shapes, strict=True):
            for top, shape, other in zip(names, self.shapes, others, strict=True):
                if other[1:] != shape:
                    raise ShapeFault(
                        f"{where}: dataset '{top}' of '{name}' has rows of shape {other[1:]}, "
                        f"'{self.files[0][0]}' has {shape}; all files must agree"
                    )
        row_bytes = 4 * sum(int(np.prod(shape)) for shape in self.shapes)
        self.block = int(self.rows.max()) if shuffle else max(1, BLOCK // max(1, row_bytes))
        self._held = None, None  # (file, block) and its arrays
        self._plan = None, None, None  # (seed, epoch), the files' order, where each one ends
        self._order = None, None  # (seed, epoch, file) and its rows' order

    def data_origin(self):
        return (f"{name} {rows} rows" for (name, _), rows in zip(self.files, self.rows, strict=True))

    @contextlib.contextmanager
    def _open(self, name, where):
        require_file(name, where)
        try:
            with self.h5py.File(name, "r") as file:
                yield file
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataFault(f"{where}: '{name}' is not a readable HDF5 file: {' '.join(str(error).split())}") from None

    def _look(self, name, where):
        """The datasets' shapes."""
        with self._open(name, where) as file:
            sets = [dataset(file, top, f"{where}: '{name}'") for top in self.names]
            if None in sets:
                there = sorted(itertools.islice(file, 20))
                raise DataFault(
                    f"{where}: '{name}' has no dataset '{self.names[sets.index(None)]}', the name of a top; "
                    f"it has {', '.join(there) or 'none'}"
                )
            shapes = [one.shape for one in sets]
            promised = sum(one.nbytes for one in sets)
            if promised > LARGEST_RATIO * os.path.getsize(name):
                raise DataFault(
                    f"{where}: '{name}' promises {promised} bytes of data but has only "
                    f"{os.path.getsize(name)}; write it again"
                )
            kinds = [one.dtype.kind for one in sets]
        for top, shape, kind in zip(self.names, shapes, kinds, strict=True):
            if kind not in "fiub":
                raise DataFault(f"{where}: dataset '{top}' of '{name}' does not hold numbers")
            if not shape or shape[0] != shapes[0][0] or not shape[0]:
                raise ShapeFault(
                    f"{where}: dataset '{top}' of '{name}' has shape {shape}, '{self.names[0]}' has "
                    f"{shapes[0]}; all need the same number of rows, at least 1"
                )
        return shapes

    def find(self, index):
        """(file, row, epoch) of a position in the stream."""
        epoch, position = divmod(index, int(self.rows.sum()))
        if self._plan[0] != (self.seed, epoch):
            order = self.order(epoch, len(self.rows)) if self.shuffle else np.arange(len(self.rows))
            self._plan = (self.seed, epoch), order, np.cumsum(self.rows[order])
        _, order, ends = self._plan
        turn = int(np.searchsorted(ends, position, side="right"))
        return int(order[turn]), position - int(ends[turn] - self.rows[order[turn]]), epoch

    def batch(self, indices):
        tops = [np.empty((len(indices), *shape), np.float32) for shape in self.shapes]
        rows_of_files = enumerate(self.find(index) for index in indices)

        def block(item):
            file, row, epoch = item[1]
            return file, row // self.block, epoch

        for (file, number, epoch), group in itertools.groupby(rows_of_files, key=block):
            at, rows = zip(*((i, position[1]) for i, position in group), strict=True)
            rows = np.array(rows) - number * self.block
            if self.shuffle:
                rows = self._row_order(epoch, file)[rows]
            for top, array in zip(tops, self._read(file, number), strict=True):
                top[list(at)] = array[rows]
        return Batch(tops, [f"row {index}" for index in indices])

    def _row_order(self, epoch: int, file: int) -> np.ndarray:
        """The shuffled order of a file's rows in an epoch."""
        key = self.seed, epoch, file
        if self._order[0] != key:
            self._order = key, np.random.default_rng((*key, 1)).permutation(self.rows[file])
        return self._order[1]

    def _read(self, file: int, number: int):
        """The datasets of a block of rows, kept until another is asked for."""
        if self._held[0] != (file, number):
            self._held = None, None  # free the old before reading the new
            name, where = self.files[file]
            rows = slice(number * self.block, (number + 1) * self.block)
            with self._open(name, where) as opened:
                sets = [dataset(opened, top, f"{where}: '{name}'") for top in self.names]
                if any(
                    one is None or one.shape != (self.rows[file], *shape)
                    for one, shape in zip(sets, self.shapes, strict=True)
                ):
                    raise DataFault(f"{where}: '{name}' was written anew while it was read; build the net again")
                arrays = [one[rows].astype(np.float32, copy=False) for one in sets]
            self._held = (file, number), arrays
        return self._held[1]


class HDF5Data(FeedLayer):
    """Rows of the datasets that the tops are named after, from a list of HDF5 files."""

    type = "HDF5Data"
    fields = ("data_param",)
    tops = (1, None)

    def open(self):
        fields = self.spec.hdf5_data_param
        if self.spec.HasField("transform_param"):
            raise SchemaFault(
                "HDF5Data does not transform its data; remove transform_param and store what the net needs"
            )
        return Hdf5Rows(fields.source, self.folder, list(self.spec.top), fields.shuffle), fields.batch_size, 0
