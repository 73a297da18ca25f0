"""`python -m models extract_features`: blobs of a net that reads data, as rows of databases."""

from __future__ import annotations

import contextlib

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.data.database_writer import create_database
from demitasse.models.commands import arguments
from demitasse.proto.arrays import array_to_datum
from demitasse.proto.errors import GraphFault, ShapeFault
from demitasse.proto.option_values import integer


def extract_features(
    weights: str,
    net: str,
    blobs: list[str],
    databases: list[str],
    batches: int,
    *,
    backend: str = "lmdb",
    device: str = "cpu",
    report=print,
) -> int:
    """Run a net with data layers over `batches` batches and write each blob's rows, as float Datums, to its database.

    A blob has at most 4 axes.  How many rows were written per blob.
    GraphFault where there are not as many databases as blobs.
    """
    if len(blobs) != len(databases):
        raise GraphFault(f"{len(blobs)} blobs but {len(databases)} databases; give one database for each blob")
    from demitasse.netdef.net import Net  # the other tools start without the engine

    model = Net(net, "TEST", backend=make_backend(device), weights=weights, keep=blobs)
    try:
        return _extract(model, dict(zip(blobs, databases, strict=True)), batches, backend, report)
    finally:
        model.close()


def _extract(model, databases: dict[str, str], batches: int, backend: str, report) -> int:
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(create_database(path, backend)) for name, path in databases.items()}
        rows = dict.fromkeys(writers, 0)
        stack.enter_context(model.backend.frozen_weights())
        for _ in range(batches):
            model.forward()
            for name, writer in writers.items():
                array = np.asarray(model.backend.to_host(model.blobs[name]), np.float32)
                if not 1 <= array.ndim <= 4:
                    raise ShapeFault(f"blob '{name}' has {array.ndim} axes; a Datum holds rows of at most 3")
                for row in array.reshape(*array.shape, *[1] * (4 - array.ndim)):
                    writer.put(b"%010d" % rows[name], array_to_datum(row, 0).SerializeToString())
                    rows[name] += 1
    for name, count in rows.items():
        report(f"Extracted features of {count} query images for feature blob {name}")
    return max(rows.values(), default=0)


def add_to(commands) -> None:
    """The command with the arguments and flags (one dash or two) of Caffe's tool."""
    parser = arguments.add_command(commands, "extract_features", "write blobs of a net that reads data to databases")
    parser.add_argument("weights", metavar="WEIGHTS", help="files, joined by commas")
    parser.add_argument("net", metavar="NET", help="a prototxt with a data layer")
    parser.add_argument("blobs", metavar="BLOB[,BLOB]", help="what to extract")
    parser.add_argument("databases", metavar="DB[,DB]", help="the databases to make, one for each blob")
    parser.add_argument("batches", metavar="BATCHES", type=integer, help="how many of the data layer's")
    parser.add_argument(
        "backend",
        metavar="DB_TYPE",
        nargs="?",
        choices=arguments.DATABASES,
        default="lmdb",
        help="lmdb (default) or leveldb",
    )
    parser.add_argument(
        "mode",
        metavar="CPU|GPU",
        nargs="?",
        choices=("CPU", "GPU"),
        default="CPU",
        help="where to compute (default: CPU)",
    )
    parser.add_argument(
        "device", metavar="DEVICE", nargs="?", type=integer, default=0, help="the GPU's number (default: 0)"
    )
    parser.set_defaults(run=_run_extract)


def _run_extract(options) -> None:
    device = f"gpu:{options.device}" if options.mode == "GPU" else "cpu"
    extract_features(
        options.weights,
        options.net,
        options.blobs.split(","),
        options.databases.split(","),
        options.batches,
        backend=options.backend,
        device=device,
    )
