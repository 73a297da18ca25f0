"""Packs a folder of single-layer golden cases (net.prototxt, data.npz, meta.json each) into layers.json and layers.npz.

    python tests/golden/pack.py ../shared/golden/layers

layers.npz holds one array `values`, the numbers of all arrays of all cases one after the other; layers.json says of
each case its net, phase and flags, and where among the values each of its arrays lies: {name: [offset, shape]}.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
KEPT = ["phase", "params", "tops", "inplace", "bottom_diff", "param_diff", "propagate_down", "note"]


def pack(source: Path) -> tuple[dict, np.ndarray]:
    cases, values, offset = {}, [], 0
    for folder in sorted(source.iterdir()):
        meta = json.loads((folder / "meta.json").read_text())
        case = {key: meta[key] for key in KEPT if meta.get(key) not in (None, [])}
        case["net"] = (folder / "net.prototxt").read_text()
        case["arrays"] = {}
        with np.load(folder / "data.npz", allow_pickle=False) as data:
            for name in sorted(data.files):
                array = data[name].astype(np.float32, casting="safe")
                case["arrays"][name] = [offset, list(array.shape)]
                values.append(array.ravel())
                offset += array.size
        cases[folder.name] = case
    return cases, np.concatenate(values)


if __name__ == "__main__":
    cases, values = pack(Path(sys.argv[1]))
    lines = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    (HERE / "layers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(HERE / "layers.npz", values=values)
    print(f"{len(cases)} cases, {values.size} values")
