"""The readers that tests/fuzz.py tries: for each, a few well-made files and what reads one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from demitasse.layers.data import datum, listing, windows
from demitasse.layers.data.lmdb_file import LmdbFile
from demitasse.models.data import options, read
from demitasse.proto import messages, text, weights
from demitasse.proto.printing import format as format_message
from demitasse.solver import snapshots
from demitasse.solver.log import Log
from demitasse.solver.solver import Solver
from tests import fuzz_user_files

NET = """name: "n" # a net
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 decay_mult: .5 }
  convolution_param { num_output: 2 kernel_size: [3, 3] weight_filler { type: 'xavier' } } include { phase: TEST } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param < pool: MAX kernel_size: 2 > }
layer { name: "p" type: "Python" bottom: "pool" top: "p" python_param { module: "m" layer: "L" param_str: "{'a': 1}" } }
"""
V1 = """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 2 kernel_size: 3 } }
layers { name: "l" type: SOFTMAX_LOSS bottom: "c" bottom: "label" top: "l" }
"""
V0 = """name: "old" layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 } bottom: "data" top: "c" }
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "c" top: "p" }
layers { layer { name: "c2" type: "conv" num_output: 2 kernelsize: 3 } bottom: "p" top: "c2" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "multistep" stepvalue: 10 stepvalue: 20 gamma: 0.1
momentum: 0.9 max_iter: 30 snapshot: 10 snapshot_prefix: "s" test_iter: 1 test_interval: 5 solver_mode: CPU type: "Adam"
net_param { layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } } }
"""
WINDOWS = "# 0\na.jpg\n3\n30\n40\n2\n1 0.9 1 2 20 21\n0 0.1 0 0 39 29\n# 1\nb.jpg\n3\n30\n40\n0\n"
LISTING = "a.png 0\nb/c d.png 12\n\nc.jpg -3\n"

TRAINED = """base_lr: 0.01 lr_policy: "fixed" max_iter: 5 snapshot_prefix: "{}/s" random_seed: 1
net_param {{ layer {{ name: "d" type: "DummyData" top: "d" top: "t" dummy_data_param {{
    shape {{ dim: 2 dim: 3 }} shape {{ dim: 2 dim: 1 }} data_filler {{ type: "gaussian" }} }} }}
  layer {{ name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param {{ num_output: 1 }} }}
  layer {{ name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "l" }} }}
"""

Reader = tuple[list[bytes], Callable[[Path], object]]


def readers(folder: Path) -> dict[str, Reader]:
    """{name: (well-made files, what reads a path)}; `folder` is for files on the way."""
    made = _of_weights(folder) | _of_texts() | _of_data(folder) | fuzz_user_files.readers(folder)
    for name, (seeds, reader) in made.items():  # what is well made is read
        for seed in seeds:
            (folder / "well-made").write_bytes(seed)
            reader(folder / "well-made")
            assert seed, name
    return made


def _of_weights(folder: Path) -> dict[str, Reader]:
    net, _ = text.read_net(NET)
    rng = np.random.default_rng(1)
    layers = {
        "conv": [rng.normal(size=(2, 3, 3, 3)), np.zeros(2)],
        "in/1x1": [rng.normal(size=(4, 2))],
        "/x": [np.ones(1)],
    }
    written = {}
    for ending in ("caffemodel", "h5", "npz", "safetensors"):
        grads = layers if ending in ("caffemodel", "h5") else None
        weights.write_weights(folder / f"w.{ending}", layers, net=net, grads=grads)
        written[ending] = (folder / f"w.{ending}").read_bytes()
    packed = io.BytesIO()
    np.savez_compressed(packed, **{"conv.weight": np.zeros((50, 50)), "conv.bias": np.arange(3)})
    state = weights.SolverFile(7, "w.caffemodel", [np.ones((2, 3)), np.zeros(4)], 2)
    for ending in ("solverstate", "solverstate.h5"):
        weights.write_state(folder / f"s.{ending}", state)
        written[ending] = (folder / f"s.{ending}").read_bytes()
    weights.write_mean(folder / "mean.binaryproto", np.ones((3, 4, 5)))
    array = io.BytesIO()
    np.save(array, np.ones((3, 4, 5)))
    return {
        "caffemodel": ([written["caffemodel"], _old_model()], weights.read_model),
        "hdf5": ([written["h5"]], weights.read_weights),
        "gradients": ([written["caffemodel"], written["h5"]], weights.read_grads),
        "npz": ([written["npz"], packed.getvalue()], weights.read_weights),
        "safetensors": ([written["safetensors"]], weights.read_weights),
        "matconvnet": (_matconvnet(), weights.read_weights),
        "solverstate": ([written["solverstate"], written["solverstate.h5"]], weights.read_state),
        "binaryproto": ([(folder / "mean.binaryproto").read_bytes(), array.getvalue()], weights.read_mean),
    }


def _old_model() -> bytes:
    """Generations V1 and V0, legacy shapes, doubles, half floats."""
    net = messages.NetParameter(name="old", input=["data"], input_dim=[1, 3, 8, 8])
    layer = net.layers.add(name="c", type=messages.V1LayerParameter.CONVOLUTION, bottom=["data"], top=["c"])
    layer.convolution_param.num_output, layer.convolution_param.kernel_size[:] = 2, [1]
    layer.blobs.add(num=1, channels=1, height=2, width=3, data=range(6))
    layer.blobs.add(double_data=[1.5, 2]).shape.dim.extend([2])
    half = layer.blobs.add(raw_data_type=2, raw_data=np.ones(4, "<f2").tobytes())
    half.shape.dim.extend([2, 2])
    inner = net.layers.add(bottom=["c"], top=["d"]).layer
    inner.name, inner.type = "d", "relu"
    inner.blobs.add(num=1, channels=1, height=1, width=1, data=[1])
    return net.SerializeToString()


def _matconvnet() -> list[bytes]:
    cell = np.empty((1, 1), object)
    arrays = np.empty((1, 2), object)
    arrays[0, 0], arrays[0, 1] = np.ones((3, 3, 2, 4), np.float32), np.ones((1, 4), np.float32)
    cell[0, 0] = {"name": "conv1", "type": "conv", "weights": arrays}
    made = []
    for packed in (False, True):
        file = io.BytesIO()
        scipy.io.savemat(file, {"layers": cell, "meta": {"classes": "a b"}}, do_compression=packed)
        made.append(file.getvalue())
    return made


def _of_texts() -> dict[str, Reader]:
    def printed(path):
        return text.read_net(format_message(text.read_net(path)[0]) + "\n")

    known = {
        "mirror": options.flag(False),
        "seed": options.whole(0, 0, 2**31),
        "mean": options.colour((1, 2, 3)),
        "crop": options.size(None),
        "split": options.text("train"),
    }
    return {
        "net": ([NET.encode(), NET.encode(), V1.encode(), V0.encode()], printed),
        "solver": ([SOLVER.encode()], text.read_solver),
        "listing": ([LISTING.encode()], lambda path: listing.read_labelled(str(path), "source")),
        "pairs": ([b"a.png b.png\nc.png d.png\n"], lambda path: listing.read_pairs(str(path), "source")),
        "windows": ([WINDOWS.encode()], lambda path: windows.read_windows(str(path), "source")),
        "param_str": (
            [b"{'seed': 2, 'mean': (1., 2e1, 3), 'crop': (4, 5), 'split': 'val', 'mirror': True}"],
            lambda path: options.parse_options(path.read_text("utf-8", "replace"), known),
        ),
    }


def _of_data(folder: Path) -> dict[str, Reader]:
    record = messages.Datum(channels=3, height=4, width=5, data=bytes(60), label=2)
    floats = messages.Datum(channels=1, height=2, width=2, float_data=[1, 2, 3, 4])
    image = io.BytesIO()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(image, "PNG")
    encoded = messages.Datum(data=image.getvalue(), encoded=True, label=1)
    records = [message.SerializeToString() for message in (record, floats, encoded)]
    made = {
        "datum": (records, lambda path: datum.pixels(datum.parse(path.read_bytes(), "record 0"), None, "record 0")),
        "mat": (_labels_of_matlab(), lambda path: read.mat(path, "GTcls", 0, "Segmentation")),
    }
    made["side file"] = _side_file(folder)
    database = _lmdb(folder, records)
    if database:
        made["lmdb"] = ([database], _read_lmdb)
    return made


def _side_file(folder: Path) -> Reader:
    """What lies beside a .solverstate, in JSON."""
    solver = Solver(TRAINED.format(folder), log=Log(stream=io.StringIO()))
    solver.step(2)
    state = snapshots.write(solver)
    return [Path(f"{state}.json").read_bytes()], lambda path: snapshots._read_side_file(solver, str(path))


def _labels_of_matlab() -> list[bytes]:
    made = []
    for packed in (False, True):
        file = io.BytesIO()
        scipy.io.savemat(file, {"GTcls": {"Segmentation": np.ones((4, 5), np.uint8)}}, do_compression=packed)
        made.append(file.getvalue())
    return made


def _lmdb(folder: Path, records: list[bytes]) -> bytes:
    """A small database's file; empty without the package that makes one."""
    try:
        import lmdb
    except ImportError:
        return b""
    with lmdb.open(str(folder / "lmdb"), map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for i in range(40):
            transaction.put(b"%08d" % i, records[i % len(records)] * (1 + 30 * (i == 7)))
    data = (folder / "lmdb" / "data.mdb").read_bytes()
    return data[: 4096 * 16]


def _read_lmdb(path: Path) -> None:
    from demitasse.proto.errors import DataFault

    try:
        file = LmdbFile(os.fspath(path))
        try:
            for address in file.addresses():
                file.record(address)
        finally:
            file.close()
    except ValueError as error:  # LmdbReader adds the place
        raise DataFault(str(error)) from None
