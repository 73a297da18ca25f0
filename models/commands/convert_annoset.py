"""`python -m models convert_annoset`: images and their boxes into a database for AnnotatedData, as SSD's tool of this
name does.

The boxes come from PASCAL VOC's XML files.  Corners are shares of the image's sides: a box that ends with the image's
last pixel ends at 1, one that begins with its first at 0 (SSD's tool puts it at one pixel's share, as VOC counts
from 1).
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

from demitasse.layers.data.database_writer import create_database
from demitasse.layers.data.detections import read_label_map
from demitasse.layers.data.files import below, read_file
from demitasse.layers.data.images import decode_image
from demitasse.layers.data.listing import Entry, read_lines, read_pairs
from demitasse.models.commands import arguments
from demitasse.models.commands.convert_imageset import load_ahead, make_record
from demitasse.models.data.annotations import read_annotations
from demitasse.models.palette import VOC_CLASSES
from demitasse.proto.errors import DataFault, ShapeFault, did_you_mean
from demitasse.proto.messages import AnnotatedDatum

SPLITS = "ImageSets/Main"


def convert_annoset(
    root: str,
    listing: str,
    database: str,
    *,
    labels: Mapping[str, int],
    shuffle: bool = False,
    backend: str = "lmdb",
    size: tuple[int, int] | None = None,
    report=print,
) -> int:
    """Write images and boxes as AnnotatedDatum records; how many were written.

    listing: a file of lines "image annotation", names below root; or a split of root/ImageSets/Main in a folder as
    PASCAL VOC lays it out.  labels: {class: its number}; an object of another class is a DataFault.  size: resize to
    (height, width), else the image files are stored as they are.  What cannot be read is reported and left out; the
    database appears when it is whole.
    """
    entries, listing_name = _entries(root, listing)
    if shuffle:
        random.Random(0).shuffle(entries)

    def load(entry: Entry):
        try:
            return _record(
                root, entry, f"image '{below(root, entry.name)}' ({listing_name}:{entry.line})", labels, size
            )
        except DataFault as fault:
            return fault

    written = 0
    with create_database(database, backend) as records:
        for number, record in enumerate(load_ahead(load, entries)):
            if isinstance(record, DataFault):
                report(f"left out: {record}")
                continue
            key = f"{number:08d}_{entries[number].name}".encode(errors="surrogateescape")
            records.put(key, record.SerializeToString())
            written += 1
            if written % 1000 == 0:
                report(f"Processed {written} files.")
        if not written:
            raise DataFault(f"none of the {len(entries)} images of '{listing}' can be used; is '{root}' their folder?")
    left_out = f", {len(entries) - written} left out" if written < len(entries) else ""
    report(f"Processed {written} files{left_out}; wrote {database}")
    return written


def _entries(root: str, listing: str) -> tuple[list[Entry], str]:
    """The pairs of image and annotation below root, and the file that lists them."""
    split = os.path.join(root, SPLITS, f"{listing}.txt")
    if os.path.exists(listing) or not os.path.exists(split):
        return read_pairs(listing, "the list of images and annotations"), listing
    names = [(line, text.split()[0]) for line, text in read_lines(split, "the split", "the name of an image")]
    return [Entry(f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml", line) for line, name in names], split


def _record(root: str, entry: Entry, place: str, labels: Mapping[str, int], size):
    """The AnnotatedDatum of an image and its annotation."""
    data = read_file(below(root, entry.name), place)
    height, width = decode_image(data, True, place).shape[:2]
    path = below(root, entry.label)
    annotated, objects = read_annotations(path)
    if min(annotated) > 0 and annotated != (height, width):
        raise DataFault(
            f"{place} is {height} x {width} (height x width), but {path} is of an image of {annotated[0]} x "
            f"{annotated[1]}; were the images resized?"
        )
    record = AnnotatedDatum(type=AnnotatedDatum.BBOX)
    record.datum.CopyFrom(make_record(data, Entry(entry.name, 0, entry.line), place, False, size, None)[0])
    groups = {}
    for each in objects:
        if each.name not in labels:
            raise DataFault(
                f"{path}: an object is a '{each.name}', which is no class{did_you_mean(each.name, labels)}; "
                "--label_map_file FILE names the classes"
            )
        label = labels[each.name]
        if label not in groups:
            groups[label] = record.annotation_group.add(group_label=label)
        group = groups[label]
        annotation = group.annotation.add(instance_id=len(group.annotation))
        x1, y1, x2, y2 = each.corners
        annotation.bbox.xmin, annotation.bbox.xmax = (min(max(x / width, 0), 1) for x in (x1, x2 + 1))
        annotation.bbox.ymin, annotation.bbox.ymax = (min(max(y / height, 0), 1) for y in (y1, y2 + 1))
        annotation.bbox.difficult = each.difficult
    return record


def add_to(commands) -> None:
    """The command with the arguments and flags (one dash or two) of SSD's tool."""
    parser = arguments.add_command(
        commands, "convert_annoset", "write images and the boxes of PASCAL VOC's XML files to a database for SSD"
    )
    parser.add_argument("root", metavar="ROOT", help="the folder that the listed names are below")
    parser.add_argument(
        "listing", metavar="LIST", help=f"a text file of lines: image, space, XML; or a split of ROOT/{SPLITS}"
    )
    parser.add_argument("database", metavar="DB", help="the database to make")
    arguments.add_flag(
        parser, "label_map_file", default="", metavar="FILE", help="a LabelMap of the classes (default: VOC's)"
    )
    arguments.add_flag(parser, "shuffle", action="store_true", help="write them in a shuffled order")
    arguments.add_database_flags(parser)
    parser.set_defaults(run=_run)


def _run(options) -> None:
    size = options.resize_height, options.resize_width
    if bool(size[0]) != bool(size[1]):
        raise ShapeFault(f"resize_height {size[0]} and resize_width {size[1]}: give both, or neither to keep the sizes")
    if options.label_map_file:
        labels = {name: label for label, name in read_label_map(options.label_map_file).items()}
    else:
        labels = {name: label for label, name in enumerate(VOC_CLASSES)}
    convert_annoset(
        options.root,
        options.listing,
        options.database,
        labels=labels,
        shuffle=options.shuffle,
        backend=options.backend,
        size=size if size[0] else None,
    )
