"""`python -m models convert_imageset`: images into a database, as Caffe's tool of this name does.

It is an LMDB or LevelDB folder of Datum records under Caffe's keys, so Caffe reads it, too.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from demitasse.layers.data.database_writer import create_database
from demitasse.layers.data.files import below, read_file
from demitasse.layers.data.images import decode_image, encode_image, resize
from demitasse.layers.data.listing import Entry, read_labelled
from demitasse.models.commands import arguments
from demitasse.netdef.wording import shape_text
from demitasse.proto.arrays import array_to_datum
from demitasse.proto.errors import DataFault, ShapeFault
from demitasse.proto.messages import Datum


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
        name = f"image '{below(root, entry.name)}' ({listing}:{entry.line})"
        try:
            return make_record(read_file(below(root, entry.name), name), entry, name, gray, size, kind), name
        except DataFault as fault:
            return fault, name

    written, first = 0, None
    with create_database(database, backend) as records:
        for number, (record, name) in enumerate(load_ahead(load, entries)):
            if isinstance(record, DataFault):
                report(f"left out: {record}")
                continue
            message, shape = record
            first = first or (shape, name)
            if check_size and shape != first[0]:
                raise ShapeFault(
                    f"{name} is {shape_text(shape)}, but {first[1]} is {shape_text(first[0])} (height x width x "
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


def make_record(data: bytes, entry: Entry, name: str, gray: bool, size, kind: str | None):
    """(Datum, its image's shape).  size: (H, W) in pixels to resize to, or None.  kind: how to encode, "" for raw
    pixels, None for the file's own type."""
    image = decode_image(data, not gray, name)
    if size:
        image = resize(image, *size)
    if kind == "":
        return array_to_datum(image.transpose(2, 0, 1), entry.label), image.shape
    own = os.path.splitext(entry.name)[1].lower().lstrip(".")
    wanted = (kind or own).lower().lstrip(".")
    same_type = wanted == own or {wanted, own} == {"jpg", "jpeg"}
    # A file goes in as it is only if it decodes to the wanted channels without being asked to.
    keeps = same_type and not size and decode_image(data, None, name).shape == image.shape
    return Datum(data=data if keeps else encode_image(image, wanted), encoded=True, label=entry.label), image.shape


def load_ahead(load, items: Iterable) -> Iterator:
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


def add_to(commands) -> None:
    """The command with the arguments and flags (one dash or two) of Caffe's tool."""
    parser = arguments.add_command(commands, "convert_imageset", "write the images of a listing to an LMDB or LevelDB")
    parser.add_argument("root", metavar="ROOT", help="the folder that the listed names are below")
    parser.add_argument("listing", metavar="LIST", help="a text file of lines: name, space, label")
    parser.add_argument("database", metavar="DB", help="the database to make")
    arguments.add_flag(parser, "gray", action="store_true", help="treat images as grey")
    arguments.add_flag(parser, "shuffle", action="store_true", help="write them in a shuffled order")
    arguments.add_database_flags(parser)
    arguments.add_flag(parser, "check_size", action="store_true", help="stop where two images differ in size")
    arguments.add_flag(parser, "encoded", action="store_true", help="store the image files instead of pixels")
    arguments.add_flag(parser, "encode_type", default="", metavar="TYPE", help="store files of this type: png, jpg")
    parser.set_defaults(run=_run_convert)


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
