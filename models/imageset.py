"""Caffe's data tools: images into a database, the mean of a database, a net's features into a database.

The databases are LMDB or LevelDB folders of Datum records under Caffe's keys, so Caffe reads them, too.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.data import datum
from demitasse.layers.data.database import create_database, open_database
from demitasse.layers.data.files import below, read_file
from demitasse.layers.data.images import decode_image, encode_image, resize
from demitasse.layers.data.listing import Entry, read_labelled
from demitasse.models import arguments
from demitasse.proto.errors import DataFault, GraphFault, ShapeFault
from demitasse.proto.messages import Datum
from demitasse.proto.weights import write_mean

BACKENDS = ("lmdb", "leveldb")


def convert_imageset(
    root: str,
    listing: str,
    database: str,
    *,
    gray: bool = False,
    shuffle: bool = False,
    backend: str = "lmdb",
    height: int = 0,
    width: int = 0,
    check_size: bool = False,
    encoded: bool = False,
    encode_type: str = "",
    report=print,
) -> int:
    """Write the images of a listing ("name label" lines, names below root) as Datum records; how many were written.

    height, width: resize to (both, or neither).  encoded: store image files, of encode_type or as they are, instead
    of pixels.  check_size: ShapeFault where two images differ in size.  shuffle: into an order that is always the
    same.  An image that cannot be read is reported and left out, as Caffe does; the database appears when it is whole.
    """
    if bool(height) != bool(width):
        raise ShapeFault(f"resize_height {height} and resize_width {width}: give both, or neither to keep the sizes")
    entries = read_labelled(listing, "the list of images")
    if shuffle:
        random.Random(0).shuffle(entries)
    size = (height, width) if height else None
    kind = encode_type or (None if encoded else "")

    def load(entry: Entry):
        place = f"image '{below(root, entry.name)}' ({listing}:{entry.line})"
        try:
            return _record(read_file(below(root, entry.name), place), entry, place, gray, size, kind), place
        except DataFault as fault:
            return fault, place

    written, first = 0, None
    with create_database(database, backend) as records:
        for number, (record, place) in enumerate(_ahead(load, entries)):
            if isinstance(record, DataFault):
                report(f"left out: {record}")
                continue
            message, shape = record
            first = first or (shape, place)
            if check_size and shape != first[0]:
                raise ShapeFault(
                    f"{place} is {_by(shape)}, but {first[1]} is {_by(first[0])} (height x width x "
                    "channels); resize them, or leave check_size away"
                )
            records.put(
                f"{number:08d}_{entries[number].name}".encode(errors="surrogateescape"), message.SerializeToString()
            )
            written += 1
            if written % 1000 == 0:
                report(f"Processed {written} files.")
        if not written:
            raise DataFault(f"none of the {len(entries)} images of '{listing}' can be read; is '{root}' their folder?")
    left_out = f", {len(entries) - written} left out" if written < len(entries) else ""
    report(f"Processed {written} files{left_out}; wrote {database}")
    return written


def _record(data: bytes, entry: Entry, place: str, gray: bool, size, kind: str | None):
    """(Datum, its image's shape); kind: how to encode, "" for raw pixels, None for the file's own type."""
    image = decode_image(data, not gray, place)
    if size:
        image = resize(image, *size)
    if kind == "":
        return datum.from_pixels(image.transpose(2, 0, 1), entry.label), image.shape
    own = os.path.splitext(entry.name)[1].lower().lstrip(".")
    wanted = (kind or own).lower().lstrip(".")
    same_type = wanted == own or {wanted, own} == {"jpg", "jpeg"}
    # A file goes in as it is only if it decodes to the wanted channels without being told to.
    keeps = same_type and not size and decode_image(data, None, place).shape == image.shape
    return Datum(data=data if keeps else encode_image(image, wanted), encoded=True, label=entry.label), image.shape


def _ahead(load, items: Iterable) -> Iterator:
    """load(item) of each item in order, computed by threads a little ahead."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def compute_image_mean(database: str, output: str | None = None, *, report=print) -> np.ndarray:
    """The mean (channels, height, width) of a database's images, summed in float64; output: a .binaryproto."""
    total, count = None, 0
    with open_database(database, "the database") as reader:
        for key, value in reader:
            place = reader.place(key)
            image = datum.pixels(datum.parse(value, place), None, place)
            if total is None:
                total = np.zeros(image.shape)
            if image.shape != total.shape:
                raise ShapeFault(
                    f"{place} is {_by(image.shape)}, the images before it are {_by(total.shape)} "
                    "(channels x height x width); convert them with one size"
                )
            total += image
            count += 1
            if count % 10000 == 0:
                report(f"Processed {count} files.")
    mean = (total / count).astype(np.float32)
    report(f"Processed {count} files.")
    if output:
        write_mean(output, mean)
        report(f"Write to {output}")
    for channel, value in enumerate(mean.mean(axis=(1, 2), dtype=np.float64)):
        report(f"mean_value channel [{channel}]: {value:g}")
    return mean


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
                    writer.put(b"%010d" % rows[name], datum.from_pixels(row, 0).SerializeToString())
                    rows[name] += 1
    for name, count in rows.items():
        report(f"Extracted features of {count} query images for feature blob {name}")
    return max(rows.values(), default=0)


def _by(shape) -> str:
    return " x ".join(str(n) for n in shape)


def add_to(commands) -> None:
    """The three commands of `python -m models`, with the arguments and flags (one dash or two) of Caffe's tools."""
    parser = arguments.add_command(commands, "convert_imageset", "write the images of a listing to an LMDB or LevelDB")
    parser.add_argument("root", metavar="ROOT", help="the folder that the listed names are below")
    parser.add_argument("listing", metavar="LIST", help="a text file of lines: name, space, label")
    parser.add_argument("database", metavar="DB", help="the database to make")
    _flag(parser, "gray", action="store_true", help="treat images as grey")
    _flag(parser, "shuffle", action="store_true", help="write them in a shuffled order")
    _flag(parser, "backend", choices=BACKENDS, default="lmdb", help="of the database (default: lmdb)")
    _flag(parser, "resize_height", type=int, default=0, metavar="H", help="resize every image to H rows")
    _flag(parser, "resize_width", type=int, default=0, metavar="W", help="resize every image to W columns")
    _flag(parser, "check_size", action="store_true", help="stop where two images differ in size")
    _flag(parser, "encoded", action="store_true", help="store the image files instead of pixels")
    _flag(parser, "encode_type", default="", metavar="TYPE", help="store files of this type: png, jpg, ...")
    parser.set_defaults(run=_run_convert)
    parser = arguments.add_command(commands, "compute_image_mean", "the mean image of a database, for mean_file")
    parser.add_argument("database", metavar="DB", help="of images, as convert_imageset makes them")
    parser.add_argument("output", metavar="OUT", nargs="?", help="the .binaryproto to write")
    _flag(parser, "backend", choices=BACKENDS, help="not needed: it is seen from the files")
    parser.set_defaults(run=_run_mean)
    parser = arguments.add_command(commands, "extract_features", "write blobs of a net that reads data to databases")
    parser.add_argument("weights", metavar="WEIGHTS", help="files, joined by commas")
    parser.add_argument("net", metavar="NET", help="a prototxt with a data layer")
    parser.add_argument("blobs", metavar="BLOB[,BLOB]", help="what to extract")
    parser.add_argument("databases", metavar="DB[,DB]", help="the databases to make, one for each blob")
    parser.add_argument("batches", metavar="BATCHES", type=int, help="how many of the data layer's")
    parser.add_argument(
        "backend", metavar="DB_TYPE", nargs="?", choices=BACKENDS, default="lmdb", help="lmdb (default) or leveldb"
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
        "device", metavar="DEVICE", nargs="?", type=int, default=0, help="the GPU's number (default: 0)"
    )
    parser.set_defaults(run=_run_extract)


def _flag(parser, name: str, **options) -> None:
    parser.add_argument(f"--{name}", f"-{name}", **options)


def _run_convert(options) -> None:
    convert_imageset(
        options.root,
        options.listing,
        options.database,
        gray=options.gray,
        shuffle=options.shuffle,
        backend=options.backend,
        height=options.resize_height,
        width=options.resize_width,
        check_size=options.check_size,
        encoded=options.encoded,
        encode_type=options.encode_type,
    )


def _run_mean(options) -> None:
    compute_image_mean(options.database, options.output)


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
