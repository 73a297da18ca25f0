"""`python -m models compute_image_mean`: the mean image of a database, for mean_file."""

from __future__ import annotations

import numpy as np

from demitasse.layers.data import datum
from demitasse.layers.data.database import open_database
from demitasse.models.commands import arguments
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import ShapeFault
from demitasse.proto.weights import write_mean


def compute_image_mean(database: str, output: str | None = None, *, report=print) -> np.ndarray:
    """The mean (channels, height, width) of a database's images, summed in float64; output: a .binaryproto.

    ShapeFault where sizes differ.
    """
    total, count = None, 0
    with open_database(database, "the database") as reader:
        for key, value in reader:
            where = reader.where(key)
            image = datum.pixels(datum.parse(value, where), None, where)
            if total is None:
                total = np.zeros(image.shape)
            if image.shape != total.shape:
                raise ShapeFault(
                    f"{where} is {shape_text(image.shape)}, the images before it are {shape_text(total.shape)} "
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


def add_to(commands) -> None:
    """The command with the arguments and flags (one dash or two) of Caffe's tool."""
    parser = arguments.add_command(commands, "compute_image_mean", "the mean image of a database, for mean_file")
    parser.add_argument("database", metavar="DB", help="of images, as convert_imageset makes them")
    parser.add_argument("output", metavar="OUT", nargs="?", help="the .binaryproto to write")
    arguments.add_flag(parser, "backend", choices=arguments.DATABASES, help="not needed: it is seen from the files")
    parser.set_defaults(run=_run_mean)


def _run_mean(options) -> None:
    compute_image_mean(options.database, options.output)
