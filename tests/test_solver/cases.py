"""The solver golden cases: what Caffe computed (CPU, float32) in ten steps of a small net, and the files it wrote."""

import functools
import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@functools.cache
def _packed():
    with np.load(GOLDEN / "solver.npz", allow_pickle=False) as data:
        values, files = data["values"], data["files"]
    values.flags.writeable = False
    return json.loads((GOLDEN / "solver.json").read_text()), values, files


def names(with_files: bool = False) -> list[str]:
    return [name for name, case in _packed()[0].items() if case["files"] or not with_files]


class Case:
    """A case, unpacked into a folder: net.prototxt, solver.prototxt, its data, and Caffe's snapshots."""

    def __init__(self, name: str, folder: Path):
        import h5py

        cases, self._values, files = _packed()
        self.meta = cases[name]
        self.folder = folder
        (folder / "net.prototxt").write_text(self.meta["net"])
        (folder / "solver.prototxt").write_text(self.meta["solver"])
        (folder / "data.txt").write_text("data.h5\n")
        with h5py.File(folder / "data.h5", "w") as file:
            file["data"], file["label"] = self.array("data"), self.array("label")
        (folder / "caffe").mkdir(exist_ok=True)
        for file_name, (offset, length) in self.meta["files"].items():
            (folder / "caffe" / file_name).write_bytes(files[offset : offset + length].tobytes())

    def array(self, name: str) -> np.ndarray:
        offset, shape = self.meta["arrays"][name]
        return self._values[offset : offset + int(np.prod(shape))].reshape(shape)

    def arrays(self, prefix: str) -> list[np.ndarray]:
        """prefix_0, prefix_1, ..."""
        count = sum(name.startswith(prefix + "_") for name in self.meta["arrays"])
        return [self.array(f"{prefix}_{i}") for i in range(count)]

    def params(self, net) -> list:
        """The net's params in the order of the case's arrays."""
        found = []
        for name in self.meta["params"]:
            layer, index = name[:-1].split("[")
            found.append(net.params[layer][int(index)])
        return found


def worst(found, expected) -> float:
    """The largest difference, in units of the largest expected value."""
    return float(np.abs(np.asarray(found, np.float64) - expected).max()) / max(1e-30, float(np.abs(expected).max()))
