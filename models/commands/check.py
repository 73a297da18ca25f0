"""`python -m models check IMAGES LABELS [--classes N]`: everything that would stop or spoil a training on own data.

Files that cannot be read, images without a label and the other way round, sizes that differ, coloured labels, labels
out of range, masks of black and white; how often each class occurs; and the command that mends what can be mended.
"""

from __future__ import annotations

from demitasse.models.commands import arguments
from demitasse.models.data import read
from demitasse.models.data.folder_layers import class_names
from demitasse.models.dataset_check import check, fault_lines, summary
from demitasse.proto.cli import progress
from demitasse.proto.option_values import integer, number_or_name


def add_to(commands) -> None:
    """The command `check` and its options."""
    parser = arguments.add_command(commands, "check", "look for what would stop a training on own images and labels")
    parser.add_argument("images", metavar="IMAGES", help="a folder")
    parser.add_argument("labels", metavar="LABELS", help="a folder of PNGs of the same names")
    parser.add_argument(
        "--classes",
        type=number_or_name,
        metavar="N|FILE",
        help="how many, or a file of names, one a line (default: list the values found)",
    )
    parser.add_argument(
        "--ignore", type=integer, default=read.IGNORE, metavar="L", help="the label of no class (default: 255)"
    )
    parser.set_defaults(run=run)


def run(options) -> int:
    """Print what was found; 1 where there are faults."""
    names = None if options.classes is None else class_names(options.classes)
    found = check(
        options.images,
        options.labels,
        len(names) if names else None,
        options.ignore,
        progress=lambda items: progress(items, len(items)),
    )
    print(summary(found, names))
    # A fault of the whole set makes one of each file, which says nothing new.
    print("\n".join(fault_lines(found.faults, "fault", shown=len(found.of_the_set) + 3 if found.of_the_set else 20)))
    if found.remedy:
        print(f"this mends the labels: {found.remedy}")
    if not names and not found.faults:
        print("--classes N, or a file of their names, checks that no label is out of range")
    return 1 if found.faults or not found.images else 0
