"""Series of time in a folder of .npy files, as MyCaffe keeps them, and windows of them as samples.

Of each kind, `train`, `test` and `validation`, there are up to six arrays: KIND_observed_num.npy and _observed_cat, of
what is known of past steps only, _known_num and _known_cat, of what is known of future ones, too, each (series, steps,
features); and _static_num and _static_cat, of what holds for all steps, (series, features).  KIND_schema.xml says which
observed number is the target (else the first is), and which steps of a series are there (else all are).
A sample is a window of consecutive steps of one series.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

import numpy as np

from demitasse.layers.data.feed import Source
from demitasse.layers.data.files import no_such_file, read_file
from demitasse.proto.archives import map_npy
from demitasse.proto.errors import DataFault, WeightsFault

LARGEST_SCHEMA = 1 << 26  # bytes
OPTIONAL = ("observed_cat", "known_num", "known_cat", "static_num", "static_cat")


class Series(Source):
    """Windows of series, in their order; or drawn: any window of any series that has one."""

    costly = False
    tops = 8  # how many of a sample's arrays are wanted

    def __init__(self, path: str, past: int, future: int, share: float, draws: bool):
        """path: the folder and the kind, as the files' names begin; past, future: steps of a window; share: of the
        series that are read, from the first on.  DataFault where files are missing or do not fit together."""
        super().__init__()
        self.path, self.past, self.steps, self.draws = path, past, past + future, draws
        self.shuffles = "shuffle_data: true" if draws else ""
        if not os.path.exists(f"{path}_observed_num.npy"):
            raise no_such_file(f"{path}_observed_num.npy", f"data_temporal_param: source: '{path}_observed_num.npy'")
        self.observed = self._array("observed_num")
        rest = [self._array(name) if os.path.exists(f"{path}_{name}.npy") else None for name in OPTIONAL]
        self.observed_categories, self.known, self.known_categories, *self.static = rest
        self.target, first, last = self._schema()
        windows = np.maximum(last - first - self.steps + 1, 0)[: max(1, int(len(first) * share))]
        self.first, self.ends = first, np.cumsum(windows)
        self.long = np.flatnonzero(windows)  # series of which there is a window
        if not len(self.long):
            raise DataFault(f"{path}: none of {len(windows)} series has {self.steps} steps, past and future ones")
        self.windows, self.count = windows, int(self.ends[-1])

    def data_origin(self):
        return (f"{self.path} {self.observed.shape}",)

    def find(self, index):
        return index % self.count

    def load(self, record, rng):
        if self.draws:
            series = int(self.long[rng.integers(len(self.long))])
            step = int(rng.integers(self.windows[series]))
        else:
            series = int(np.searchsorted(self.ends, record, "right"))
            step = record - int(self.ends[series] - self.windows[series])
        begin = int(self.first[series]) + step
        past, future = slice(begin, begin + self.past), slice(begin + self.past, begin + self.steps)
        arrays = [self._static(part, series) for part in self.static]
        for observed, known in ((self.observed, self.known), (self.observed_categories, self.known_categories)):
            parts = [part[series, past] for part in (observed, known) if part is not None]
            arrays.append(np.concatenate(parts, 1) if parts else np.empty((self.past, 0)))
        for known in (self.known, self.known_categories):
            arrays.append(np.empty((self.steps - self.past, 0)) if known is None else known[series, future])
        arrays += [self.observed[series, span, self.target : self.target + 1] for span in (future, past)]
        name = f"{self.path}: series {series + 1} from step {begin + 1} on"
        return [np.asarray(array, np.float32) for array in arrays[: self.tops]], name

    def _array(self, name: str) -> np.ndarray:
        """A part, mapped: (series, steps, features), or (series, features) of a static one."""
        path = f"{self.path}_{name}.npy"
        try:
            array = map_npy(path)
        except WeightsFault as error:
            raise DataFault(f"data_temporal_param: source: {error}") from None
        static = name.startswith("static")
        if static and array.ndim == 3:  # with a step that stands for all
            array = array[:, 0]
        first = name == "observed_num"
        alike = first or array.shape[: 2 - static] == self.observed.shape[: 2 - static]
        if array.dtype.kind not in "fiub" or array.ndim != 3 - static or not alike:
            needed = "(series, features)" if static else "(series, steps, features)"
            beside = "" if first else f" beside {self.observed.shape} of _observed_num.npy"
            raise DataFault(f"{path} has {array.dtype} of shape {array.shape}{beside}: numbers, {needed}, are needed")
        return array

    def _static(self, part, series):
        return np.empty(0) if part is None else part[series]

    def _schema(self):
        """(which observed number is the target; of each series the first step that is there, and the one after the
        last)."""
        series, steps, features = self.observed.shape
        first, last = np.zeros(series, int), np.full(series, steps)
        path = f"{self.path}_schema.xml"
        if not os.path.exists(path):
            return 0, first, last
        data = read_file(path, path)
        if len(data) > LARGEST_SCHEMA or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise DataFault(f"{path} is no schema: it has more than {LARGEST_SCHEMA} bytes or defines entities")
        try:
            root = ET.fromstring(data)
            fields = [field.get("InputType", "") for field in root.findall("Data/Observed/Numeric/Field")]
            lookup = root.find("Lookups/Lookup")
            for i, item in enumerate(lookup.findall("Item")[:series] if lookup is not None else ()):
                begin, end = (int(item.get(f"ValidRange{side}Idx", -1)) for side in ("Start", "End"))
                first[i], last[i] = (0, 0) if begin < 0 else (begin, min(end + 1, steps))
        except (ET.ParseError, ValueError) as error:
            raise DataFault(f"{path} is no schema of series: {error}") from None
        target = next((i for i, kind in enumerate(fields) if "TARGET" in kind), 0)
        if target >= features or (first > steps).any():
            raise DataFault(f"{path} tells of more than the {steps} steps of {features} numbers in _observed_num.npy")
        return target, first, last
