"""Packs what Caffe says of whole nets into net_shapes.*, net_values.* and net_mistakes.json.

    python tests/golden/pack_nets.py ../shared/golden

net_shapes: the shape of every blob of 31 FCN prototxts at many input sizes, and of four nets at every height from 1 to
700.  net_values: a hundred values of each blob and each gradient of six nets with made-up weights, the map of the best
classes, the loss.  net_mistakes: texts that are no nets, and what Caffe says of them.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SAMPLES = 100


def pack_shapes(source: Path) -> tuple[dict, dict]:
    """{net: wiring and blob names}, {net: (sizes, blobs, 4)} with -1 for axes that a blob does not have."""
    shapes, infos = (json.loads((source / name).read_text()) for name in ("shapes.json", "shapes_info.json"))
    sweep = json.loads((source / "shape_sweep.json").read_text())
    nets, arrays = {}, {}
    for key, sizes in shapes.items():
        blobs = [blob for blob in next(iter(sizes.values())) if "_split_" not in blob]
        info = infos[key]
        nets[key] = {
            "blobs": blobs,
            "sizes": list(sizes),
            "inputs": info["inputs"],
            "outputs": info["outputs"],
            "params": info["params"],
        }
        rows = [[(table[blob] + [-1] * 4)[:4] for blob in blobs] for table in sizes.values()]
        arrays[key] = np.array(rows, np.int16)
    for key, table in sweep.items():
        nets[key]["swept"] = table["columns"]
        arrays[f"{key}:sweep"] = np.array(table["rows"], np.int16)
    return nets, arrays


def pack_values(source: Path) -> tuple[dict, dict]:
    nets, arrays = {}, {}
    for folder in sorted(source.iterdir()):
        meta = json.loads((folder / "meta.json").read_text())
        most = {
            kind: {name: max(abs(stat["max"]), abs(stat["min"])) for name, stat in meta.get(kind, {}).items()}
            for kind in ("blobs", "grads")
        }
        nets[folder.name] = {
            "size": meta["size"],
            "loss": meta.get("loss"),
            **most,
            "net": (folder / "net.prototxt").read_text(),
        }
        with np.load(folder / "data.npz", allow_pickle=False) as data:
            for name in data.files:
                if name.startswith(("val:", "grad:")):
                    arrays[f"{folder.name}:{name}"] = data[name][:SAMPLES]
            arrays[f"{folder.name}:argmax"] = data["argmax"].astype(np.uint8)
    return nets, arrays


def pack_mistakes(source: Path) -> dict:
    cases = json.loads(source.read_text())
    return {
        name: {"text": case["input"]["text"], "python": case["input"].get("python", ""), "says": case["says"][:1]}
        for name, case in cases.items()
        if "text" in case["input"] and not name.startswith("solver")
    }


def write(name: str, table: dict, arrays: dict | None = None) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table.items()]
    (HERE / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    if arrays:
        np.savez_compressed(HERE / f"{name}.npz", **arrays)
    print(f"{name}: {len(table)} entries")


if __name__ == "__main__":
    golden = Path(sys.argv[1])
    write("net_shapes", *pack_shapes(golden))
    write("net_values", *pack_values(golden / "nets"))
    write("net_mistakes", pack_mistakes(golden / "caffe_errors.json"))
