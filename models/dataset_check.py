"""What is in a folder of images and one of labels: which pairs can be trained on, and what is wrong with the rest.

Some faults are one file's (it cannot be read, its size differs, a label is out of range), others are the whole set's:
masks of black and white, names that end in _mask, pictures of colours.  For those `remedy` is the command that mends
them.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.models.data import read
from demitasse.models.data.folder_layers import SUFFIXES, list_images
from demitasse.models.palette import PALETTE
from demitasse.models.sampling import class_weights
from demitasse.netdef.wording import count_text
from demitasse.proto.errors import DataFault, LabelFault

BLACK, WHITE = 0, 255
MAX_COLOURS = 255  # more are no classes: a photo, or labels that JPEG or a resize has blurred
SHOWN = 12
UNEVEN = 20  # times as many pixels of the most frequent class as of the rarest


@dataclass
class Findings:
    """What a check has found."""

    labels: Path  # the folder
    classes: int | None  # None: not given, so nothing is out of range
    ignore: int = read.IGNORE
    taken: dict[str, Path] = field(default_factory=dict)  # image name -> its path: the good pairs
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # pixels of each class; 255: of none
    stored: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # of each value in all readable labels
    colours: Counter = field(default_factory=Counter)  # (R, G, B) -> pixels, in labels that are pictures of colours
    coloured: int = 0  # such labels
    indexed: int = 0  # those that hold indices
    suffix: str = ""  # that the labels' names have behind the images'
    smallest: tuple[int, int] = (1 << 30, 1 << 30)  # height, width, each on its own
    largest: tuple[int, int] = (0, 0)
    mean: np.ndarray = field(default_factory=lambda: np.zeros(3))  # of the good images' means, BGR
    left_out: list[str] = field(default_factory=list)  # a line for each file that cannot be used
    of_the_set: list[str] = field(default_factory=list)
    remedy: str = ""

    @property
    def images(self) -> int:
        """How many images have a label and can be used."""
        return len(self.taken)

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong, of the set and of single files."""
        return self.of_the_set + self.left_out


def check(
    images: str | Path,
    labels: str | Path,
    classes: int | None,
    ignore: int = read.IGNORE,
    progress=lambda items: items,
) -> Findings:
    """Look at every image and label of two folders."""
    found = Findings(Path(labels), classes, ignore)
    pictures, label_files = _listed(images), {path.stem: path for path in _listed(labels).values()}
    found.suffix = label_suffix({Path(name).stem for name in pictures}, label_files)
    if found.suffix:
        label_files = {stem.removesuffix(found.suffix): path for stem, path in label_files.items()}
    stems: dict[str, str] = {}
    for name, path in progress(pictures.items()):
        stem = Path(name).stem
        label = label_files.get(stem)
        if stem in stems:
            found.left_out.append(f"{path}: has the label of {stems[stem]}, too: names must differ before the suffix")
        elif label is None:
            near = [other for other in label_files if other.lower() == stem.lower()]
            hint = f" (there is {label_files[near[0]].name}: upper and lower case differ)" if near else ""
            found.left_out.append(f"{path}: has no label {Path(labels) / stem}.png{hint}")
        else:
            try:
                _check_pair(found, name, path, label)
            except (DataFault, LabelFault) as fault:
                found.left_out.append(str(fault))
        stems.setdefault(stem, name)
    found.left_out += [
        f"{path}: is a label without an image" for stem, path in label_files.items() if stem not in stems
    ]
    _diagnose(found)
    return found


def _listed(folder: str | Path) -> dict[str, Path]:
    """As list_images; a folder without any is a DataFault."""
    pictures = list_images(folder)
    if not pictures:
        below = sorted(path.name for path in Path(folder).iterdir() if path.is_dir() and list_images(path))
        hint = f": there are some in its folder {below[0]}" if below else f" ({', '.join(SUFFIXES)})"
        raise DataFault(f"{folder}: holds no images{hint}")
    return pictures


def label_suffix(images: set[str], labels: Iterable[str]) -> str:
    """What most label names that are no image's have behind the name of one, such as _mask; "" where there is none."""
    strangers = [stem for stem in labels if stem not in images]
    endings = Counter(
        stem[i:] for stem in strangers for i, sign in enumerate(stem) if sign in "_-. " and stem[:i] in images
    )
    ending, count = endings.most_common(1)[0] if endings else ("", 0)
    return ending if 2 * count > len(strangers) else ""


def _check_pair(found: Findings, name: str, image: Path, label: Path) -> None:
    if label.suffix.lower() != ".png":
        _look_at_colours(found, label)
        raise DataFault(f"{label}: is no PNG: other formats do not keep class indices")
    try:
        indices = read.label_png(label)
    except DataFault:
        _look_at_colours(found, label)
        raise
    found.indexed += 1
    found.stored += np.bincount(indices.ravel(), minlength=256)
    picture = read.labelled(image, indices.shape)
    size = picture.shape[:2]
    if found.ignore != read.IGNORE:
        indices = np.where(indices == found.ignore, np.uint8(read.IGNORE), indices)
    if indices.shape != size:
        raise DataFault(
            f"{label}: is {indices.shape[0]}x{indices.shape[1]}, its image {image.name} "
            f"{size[0]}x{size[1]} (height x width)"
        )
    read.checked(indices, found.classes, label)
    found.counts += np.bincount(indices.ravel(), minlength=256)
    found.taken[name] = image
    found.mean += (picture.mean(axis=(0, 1))[::-1] - found.mean) / found.images
    found.smallest = tuple(map(min, found.smallest, size))
    found.largest = tuple(map(max, found.largest, size))


def _look_at_colours(found: Findings, label: Path) -> None:
    """Count the colours, or the values of gray, of a label that holds no indices; DataFault if it cannot be read."""
    shown = read.image(label)
    with Image.open(label) as picture:
        coloured = len(picture.getbands()) > 1
    if not coloured:
        found.stored += np.bincount(shown[:, :, 0].ravel(), minlength=256)
        return
    found.coloured += 1
    if len(found.colours) <= MAX_COLOURS:
        codes, counts = np.unique(shown.astype(np.int64) @ [65536, 256, 1], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            found.colours[code >> 16, code >> 8 & 255, code & 255] += count


# -- the whole set's faults ------------------------------------------------------------------------------


def _diagnose(found: Findings) -> None:
    options = _of_colours(found) if found.coloured > found.indexed else _of_values(found)
    if found.suffix:
        found.of_the_set.append(f"{found.labels}: names have {found.suffix} behind those of their images")
        options = [f"--strip={found.suffix}", *(options or ["--values"])]
    if options is not None:
        source = str(found.labels)
        words = [source, f"{source.rstrip('/')}-indices", *options]
        found.remedy = f"python -m models prepare labels {' '.join(map(shlex.quote, words))}"


def _of_values(found: Findings) -> list[str] | None:
    """Faults in labels that are read as indices; the options of `prepare labels` that mend them, None: it cannot."""
    values, total = np.flatnonzero(found.stored).tolist(), max(1, found.stored.sum())
    if not values:
        return None
    ends = (found.stored[:32].sum() + found.stored[-32:].sum()) / total
    if found.ignore == WHITE and values in ([BLACK, WHITE], [WHITE]):
        found.of_the_set.append(
            f"{found.labels}: holds black-and-white masks: their only values are "
            f"{' and '.join(map(str, values))}, and 255 means no class, so there would be nothing to tell apart"
        )
        return ["--map=255=1"]
    between = [value for value in values if (found.classes or 2) <= value < WHITE]
    if between and ends > 0.9 and found.stored[-32:].any() and (found.classes or 2) == 2:
        found.of_the_set.append(
            f"{found.labels}: holds black-and-white masks with blurred borders: {len(values)} values from "
            f"{values[0]} to {values[-1]}"
        )
        return ["--threshold=128"]
    known = [value for value in values if value not in (found.ignore, WHITE)]
    if found.classes == 1 and known == [0, 1]:
        found.of_the_set.append(
            f"{found.labels}: holds the values 0 and 1, but there is 1 class: what is not the thing is a class, too "
            "(name it first, such as background)"
        )
    elif len(known) == 1 and known[0] < (found.classes or 256):
        found.of_the_set.append(f"{found.labels}: the only class in all labels is {known[0]}: nothing to tell apart")
    elif found.classes and known[-1] >= found.classes >= len(known) > 1:
        found.of_the_set.append(f"{found.labels}: the values are {_listing(known)}, not 0 to {found.classes - 1}")
        return ["--map=" + ",".join(f"{value}={c}" for c, value in enumerate(known) if value != c)]
    return None


def _of_colours(found: Findings) -> list[str] | None:
    """The same for labels that are pictures of colours."""
    colours = sorted(found.colours)
    few = len(colours) <= MAX_COLOURS
    if few and colours in ([(0, 0, 0), (255, 255, 255)], [(255, 255, 255)]):
        found.of_the_set.append(f"{found.labels}: holds black-and-white masks, saved as colours")
        return ["--map=255=1"]
    if few and all(len(set(colour)) == 1 for colour in colours) and colours[-1][0] < (found.classes or 32):
        found.of_the_set.append(f"{found.labels}: labels are class indices saved as gray colours")
        return ["--values"]
    if few and set(colours) <= {tuple(colour) for colour in PALETTE.tolist()}:
        found.of_the_set.append(f"{found.labels}: {found.coloured} labels are pictures of PASCAL VOC's colours")
        return []
    if not few:
        found.of_the_set.append(
            f"{found.labels}: {found.coloured} labels are pictures of more than {MAX_COLOURS} colours: photos, or "
            "labels that a resize or JPEG has blurred"
        )
        return None
    listing = _listing([" ".join(map(str, colour)) for colour, _ in found.colours.most_common()], "; ")
    found.of_the_set.append(
        f"{found.labels}: {found.coloured} labels are pictures of {len(colours)} colours: {listing}; write them into "
        "a file colours.txt, a line `R G B name` each, class 0 first"
    )
    return ["--colours=colours.txt"]


def _listing(items: Sequence, joint: str = ", ") -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return joint.join(map(str, items[:SHOWN])) + more


# -- in words --------------------------------------------------------------------------------------------


def summary(found: Findings, names: Sequence[str] | None = None) -> str:
    """What is there, in lines: the good pairs, their sizes and mean colour, and the share of each class (or, without
    names, of each value)."""
    lines = [count_text(found.images, "image") + " with good labels"]
    if not found.images:
        return lines[0]
    lines[0] += f", heights {found.smallest[0]} to {found.largest[0]}, widths {found.smallest[1]} to {found.largest[1]}"
    lines.append(f"  mean colour (B,G,R)  {','.join(f'{value:.3f}' for value in found.mean)}")
    if names is None:
        last = max(np.flatnonzero(found.counts[:WHITE]), default=-1)
        names = [f"value {value}" if found.counts[value] else "" for value in range(last + 1)]
    total, width = max(1, found.counts.sum()), max(map(len, names), default=4)
    shares = [*zip(names, found.counts, strict=False), ("(none)" if found.counts[WHITE] else "", found.counts[WHITE])]
    lines += [
        f"  {name:{width}}  {count / total:7.2%}" + ("   never occurs" if not count else "")
        for name, count in shares
        if name
    ]
    lines += _weights(found.counts[: len(names)])
    return "\n".join(lines)


def _weights(counts: np.ndarray) -> list[str]:
    """Where the classes' shares differ much, the weights that would level them in the loss."""
    present = counts[counts > 0]
    if len(present) < 2 or present.max() < UNEVEN * present.min():
        return []
    weights = " ".join(f"class_weight: {weight:.3g}" for weight in class_weights(counts))
    return [f"  to level the classes: --class-weights (or --balance) at `write`; by hand, loss_param {{ {weights} }}"]


def fault_lines(faults: Sequence[str], what: str, shown: int = 20) -> list[str]:
    """The first faults, how many more there are, and their number, called `what`."""
    more = [f"and {len(faults) - shown} more"] if len(faults) > shown else []
    return [*faults[:shown], *more, count_text(len(faults), what) if faults else f"no {what}s"]
