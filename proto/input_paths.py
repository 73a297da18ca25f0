"""Where the files named in a prototxt are: in the working directory, as Caffe has it, or else beside the prototxt.

A path that begins with ./ or ../ is looked for beside the prototxt first, so that a folder of nets can be copied
and moved.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from google.protobuf.message import Message

from demitasse.proto.errors import DataFault
from demitasse.proto.messages import is_repeated
from demitasse.proto.warning import warn

READ = (  # fields of layers that are paths
    *("source", "mean_file", "root_folder", "name_size_file", "label_map_file"),
    *("image_list_path", "label_list_path"),
)


class MissingFile(DataFault):
    """A file or folder is not there; where its path is relative, it says where that begins, which is what mostly went
    wrong."""

    told: Sequence[tuple[int, ...]] = ()  # the shapes of the first tops that a data layer has all the same

    def __init__(self, path: str, what: str):
        self.path, self.relative = path, not os.path.isabs(path)
        super().__init__(f"{what}; looked for from {os.getcwd()}" if self.relative else what)

    def also_beside(self, folder: str) -> None:
        """Say that it was looked for beside the prototxt, too, and where to go if it is there from further up."""
        if self.relative and folder and os.path.abspath(folder) != os.getcwd():
            self.what += f", and beside the prototxt in {folder}"
        self.what += from_above(self.path, folder)


def from_file(path: str) -> bool:
    """Whether a path says by its first dot that it is relative to the file that it stands in."""
    return path.startswith(("./", "../"))


def from_above(path: str, folder: str) -> str:
    """ "; from DIR it is there: cd DIR first" where DIR is above `folder` or the working directory; else nothing.

    Caffe's own solvers and nets name files from Caffe's folder on, to be trained from there.
    """
    for start in () if os.path.isabs(path) or from_file(path) else (os.path.abspath(folder or "."), os.getcwd()):
        while (parent := os.path.dirname(start)) != start:
            start = parent
            if os.path.exists(os.path.join(start, path)):
                return f"; from {start} it is there: cd {shlex.quote(start)} first"
    return ""


def located(path: str, folder: str) -> str:
    """A path that a file in `folder` names: where there is something by that name."""
    beside = os.path.normpath(os.path.join(folder, path))
    candidates = (beside, path) if from_file(path) else (path, beside)
    return next((path for path in candidates if os.path.exists(path)), candidates[0] if from_file(path) else path)


def find_files(message: Message, folder: str) -> None:
    """Put in the place of each path to read, in the messages of a layer, where the file is.

    A warning where there are two different ones.
    """
    for field, value in message.ListFields():
        if field.message_type and not is_repeated(field):
            find_files(value, folder)
        elif field.name in READ and value and "\0" not in value:
            found = located(value, folder)
            other = value if found != value else os.path.join(folder, value)
            if os.path.exists(found) and os.path.exists(other) and not os.path.samefile(found, other):
                warn(f"{message.DESCRIPTOR.name} {field.name}: '{value}' is there twice: {found} is read, not {other}")
            setattr(message, field.name, found)
