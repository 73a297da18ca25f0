"""Packs a folder of solver golden cases (net.prototxt, solver.prototxt, data.npz, meta.json each; some with the
snapshots that Caffe wrote) into solver.json and solver.npz.

    python tests/golden/pack_solver.py ../shared/golden/solver

solver.npz holds two arrays: `values`, the numbers of all arrays one after the other, and `files`, the bytes of all
snapshots.  solver.json says of each case its texts, rates and losses, and where its arrays and files lie:
{name: [offset, shape]}, {name: [offset, length]}.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ARRAYS = re.compile(r"(data|label|p\d+_\d+|history10_\d+|resume_15_\d+)$")
FILES = ("snap_iter_10.*",)


def pack(source: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    cases, values, files = {}, [], []
    offset = file_offset = 0
    for folder in sorted(source.iterdir()):
        meta = json.loads((folder / "meta.json").read_text())
        case = {
            "net": (folder / "net.prototxt").read_text(),
            "solver": (folder / "solver.prototxt").read_text(),
            "params": meta["params"],
            "rates": meta["lr"],
            "state": meta["solverstate"],
            "losses": [step[0] for step in meta["loss_after_each_step"]],
            "arrays": {},
            "files": {},
        }
        with np.load(folder / "data.npz", allow_pickle=False) as data:
            for name in sorted(filter(ARRAYS.match, data.files)):
                array = data[name].astype(np.float32, casting="safe")
                case["arrays"][name] = [offset, list(array.shape)]
                values.append(array.ravel())
                offset += array.size
        for path in sorted(path for pattern in FILES for path in (folder / "snapshots").glob(pattern)):
            content = np.fromfile(path, np.uint8)
            case["files"][path.name] = [file_offset, content.size]
            files.append(content)
            file_offset += content.size
        cases[folder.name] = case
    return cases, np.concatenate(values), np.concatenate(files)


if __name__ == "__main__":
    cases, values, files = pack(Path(sys.argv[1]))
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    (HERE / "solver.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(HERE / "solver.npz", values=values, files=files)
    print(f"{len(cases)} cases, {values.size} values, {files.size} bytes of snapshots")
