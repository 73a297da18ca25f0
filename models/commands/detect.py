"""`python -m models detect`: the objects in images, as pictures with boxes and a text of all that was found."""

from __future__ import annotations

from pathlib import Path

from demitasse.layers.backend.options import BackendOptions
from demitasse.layers.data.detections import read_label_map
from demitasse.models.class_names import names_of
from demitasse.models.commands import arguments
from demitasse.models.commands.segment import find_images, mean_of, result_names
from demitasse.models.data import read
from demitasse.models.data.scenes import MEAN
from demitasse.models.detect import SHORT_SIDE, Detector, Found, draw_boxes
from demitasse.models.palette import save_picture
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import DataFault, ShapeFault
from demitasse.proto.files import write_text
from demitasse.proto.option_values import finite, whole_number

TEXT = "detections.txt"


def add_to(commands) -> None:
    """The command `detect` and its options."""
    parser = arguments.add_command(commands, "detect", "find objects in images: boxes, classes, scores")
    parser.add_argument("net", metavar="NET", help="a deploy prototxt: SSD's, YOLO's, Faster R-CNN's or R-FCN's")
    parser.add_argument("weights", metavar="W,...", help="weights files, joined by commas")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE|FOLDER|GLOB", help="files, folders of them, or quoted patterns"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("detected"), metavar="DIR", help="where results go (default: detected)"
    )
    parser.add_argument(
        "--threshold", type=finite, default=0.5, metavar="S", help="the least score of a box (default: 0.5)"
    )
    parser.add_argument(
        "--mean",
        default=",".join(map(str, MEAN)),
        metavar="B,G,R",
        help="subtracted: numbers, or a .binaryproto (default: VOC's %(default)s)",
    )
    parser.add_argument(
        "--scale", type=finite, default=1.0, metavar="S", help="multiplies after the mean is off (default: 1)"
    )
    parser.add_argument(
        "--short-side",
        type=whole_number,
        default=SHORT_SIDE,
        metavar="N",
        help="what an R-CNN's images are resized to (default: %(default)s)",
    )
    parser.add_argument("--rgb", action="store_true", help="the net takes RGB (default: BGR, as Caffe's nets do)")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="class names: one a line, the background first, or a label map, .prototxt (default: NET's classes.txt)",
    )
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Look at the images, and say what was found; 1 where one could not be read."""
    paths = find_images(options.images)
    arguments.require_another_folder(options.out, paths, "looked at")
    detector = Detector(
        options.net,
        options.weights,
        backend=BackendOptions.of(options).make(),
        mean=mean_of(options.mean),
        scale=options.scale,
        rgb=options.rgb,
        threshold=options.threshold,
        short_side=options.short_side,
    )
    arguments.warn_of_missing(detector.net)
    class_names(options.classes, [], options.net)  # what is wrong with the file is told before the first image
    lines, bad = [], 0
    with detector.net.backend.frozen_weights():
        for path, name in zip(progress(paths), result_names(paths), strict=True):
            try:
                image = read.upright(path)
                found = detector(image)
            except (DataFault, ShapeFault, MemoryError) as error:
                bad += 1
                arguments.passed_over(path, error)
                continue
            names = class_names(options.classes, found, options.net)
            save_picture(options.out / f"{name}.jpg", draw_boxes(image, found, names))
            lines += [_line(path, each, names) for each in found]
    write_text(options.out / TEXT, "".join(lines))
    print(f"{len(lines)} objects in {len(paths) - bad} of {len(paths)} images: see {options.out}")
    return 1 if bad else 0


def class_names(file: str | None, found: list[Found], net: str) -> list[str]:
    """Names for the classes up to the largest that was found."""
    classes = max((each.label for each in found), default=0) + 1
    if file and file.endswith((".prototxt", ".pbtxt")):
        known = read_label_map(file, "--classes", display=True)
        return [known.get(label, f"class {label}") for label in range(classes)]
    beside = Path(net).with_name("classes.txt")
    return names_of(file or (str(beside) if beside.is_file() else None), (), classes, net)


def _line(path: Path, found: Found, names: list[str]) -> str:
    """image, class, score and corners in pixels, by tabs."""
    box = "\t".join(f"{number:.1f}" for number in found.box)
    return f"{path}\t{names[found.label]}\t{found.score:.4f}\t{box}\n"
