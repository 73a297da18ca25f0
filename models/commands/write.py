"""`python -m models write`: the nets of models/recipes.py as prototxt files."""

from __future__ import annotations

from pathlib import Path

from demitasse.models import demo_net, own_dataset, rcnn_demo, recipes, ssd_demo
from demitasse.models.commands import arguments
from demitasse.models.data.folder_layers import class_names
from demitasse.models.text_files import write_files
from demitasse.proto.cli import progress
from demitasse.proto.errors import SchemaFault
from demitasse.proto.option_values import integer, number_or_name, size, whole_number

OWN_SIDE = 192  # of the images that ssd-own sees
DEMOS = {
    "demo": ("demo", demo_net.files),
    "rcnn-demo": ("rcnn_demo", rcnn_demo.files),
    "ssd-demo": ("ssd_demo", ssd_demo.files),
}


def add_to(commands) -> None:
    """The command `write` and its options."""
    parser = arguments.add_command(commands, "write", "write a net's train, test, deploy and solver prototxts")
    parser.add_argument(
        "name",
        metavar="NET",
        help="a net of `list`, `all` of them, `demo`, `ssd-demo`, `rcnn-demo`, `ssd-own`: a small SSD for own boxes, "
        "or `own`: a slim FCN-8s for own images",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write to; each net gets a folder in it")
    parser.add_argument(
        "--classes",
        type=number_or_name,
        metavar="N|FILE",
        help="other classes (one head only): how many, or a file of names, one a line",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are there already, edited ones too"
    )
    arguments.add_width(parser)
    parser.add_argument("--data", default="data", metavar="DIR", help="the folder of the data sets (default: data)")
    parser.add_argument("--random", action="store_true", help="with fillers, to train from random weights")
    own_data = parser.add_argument_group("own data", "a folder of images and one of label PNGs of the same names")
    own_data.add_argument("--images", metavar="DIR", help="photos of any size")
    own_data.add_argument("--labels", metavar="DIR", help="PNGs of class indices; 255: no class")
    own_data.add_argument("--resize", type=whole_number, metavar="N", help="the shorter side of every image")
    own_data.add_argument("--crop", type=size, metavar="HxW", help="train on parts of this size, cut at random")
    own_data.add_argument("--balance", action="store_true", help="thin out frequent classes in the training loss")
    own_data.add_argument(
        "--ignore", type=integer, default=255, metavar="L", help="the label of no class (default: 255)"
    )
    own_data.add_argument(
        "--class-weights", action="store_true", help="weight classes in the training loss by what the labels hold"
    )
    own_data.add_argument(
        "--augment", action="store_true", help="train on images scaled, turned and recoloured at random, too"
    )
    own_data.add_argument(
        "--iterations", type=whole_number, default=2000, metavar="N", help="of the solver (default: 2000)"
    )
    parser.set_defaults(run=run)


def _write_own_boxes(options) -> None:
    """The small SSD for the databases of --data, with the classes of a file."""
    if not isinstance(options.classes, str):
        raise SchemaFault("ssd-own needs --classes FILE: the names in the annotations, one a line")
    if options.images or options.labels:
        raise SchemaFault(
            "ssd-own takes no --images and --labels: `convert_annoset` makes databases of photos and boxes, and --data "
            "names their folder"
        )
    names = [name for name in class_names(options.classes) if name != "background"]
    side = options.resize or OWN_SIDE
    task = ssd_demo.Task(["background", *names], (side, side), options.data)
    print("\n".join(map(str, write_files(options.out / "ssd_own", ssd_demo.files(task), options.overwrite))))


def run(options) -> None:
    """Write the nets, and print what was written.  SchemaFault where options do not go together."""
    if options.name in DEMOS:
        folder, files = DEMOS[options.name]
        written = write_files(options.out / folder, files(), options.overwrite)
        print("\n".join(map(str, written)))
        return
    if options.name == "ssd-own":
        _write_own_boxes(options)
        return
    classes = options.classes
    if classes == 0:
        raise SchemaFault("--classes 0: there must be something to tell apart")
    if options.images or options.labels or options.name == "own":
        if not (options.images and options.labels and classes):
            raise SchemaFault("own data need all three: --images DIR --labels DIR --classes N|FILE")
        for path in own_dataset.write(
            options.name,
            options.out,
            own_dataset.OwnData(
                options.images,
                options.labels,
                classes,
                ignore=options.ignore,
                resize=options.resize,
                crop=options.crop,
                balance=options.balance,
                augment=options.augment,
                class_weights=options.class_weights,
            ),
            iterations=options.iterations,
            width=options.width,
            random=options.random,
            overwrite=options.overwrite,
            report=print,
            progress=lambda items: progress(items, len(items)),
        ):
            print(path)
        return
    known = class_names(classes) if isinstance(classes, str) else []
    names = recipes.NETS if options.name == "all" else [options.name]
    for name in names:
        written = recipes.write(
            name,
            options.out,
            root=options.data,
            classes=len(known) or classes,
            width=options.width,
            random=options.random,
            overwrite=options.overwrite,
        )
        if known:
            names_file = {"classes.txt": "".join(f"{line}\n" for line in known)}
            written += write_files(options.out / name, names_file, options.overwrite)
        print("\n".join(map(str, written)))
