"""Boxes of objects in PASCAL VOC's XML files: Annotations/*.xml, one for each image."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demitasse.proto.errors import DataFault
from demitasse.proto.files import write_text

LARGEST = 1 << 24  # bytes of a file


@dataclass(frozen=True)
class Annotation:
    """An object: its class's name, and the corners (x1, y1, x2, y2), its first and last pixels counted from 0."""

    name: str
    corners: Sequence[float]
    difficult: bool = False


def write_annotations(path: Path, image: str, size: tuple[int, int], objects: Sequence[Annotation]) -> None:
    """Write the file of an image of `size` (height, width).  VOC counts pixels from 1."""
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = image
    for name, value in zip(("width", "height", "depth"), (size[1], size[0], 3), strict=True):
        _child(root, "size", name, value)
    for each in objects:
        node = ET.SubElement(root, "object")
        ET.SubElement(node, "name").text = each.name
        ET.SubElement(node, "difficult").text = str(int(each.difficult))
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), each.corners, strict=True):
            _child(node, "bndbox", name, value + 1)
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding="unicode") + "\n")


def read_annotations(path: str | Path) -> tuple[tuple[int, int], list[Annotation]]:
    """((height, width), objects) of a file; DataFault where it is missing or is no such file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataFault(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataFault(f"{path} is no annotation of PASCAL VOC: it is larger than {LARGEST} bytes or defines entities")
    try:
        root = ET.fromstring(data)
        size = _number(root, "size/height"), _number(root, "size/width")
        objects = [_annotation(node) for node in root.iter("object")]
    except (ET.ParseError, ValueError) as error:
        raise DataFault(f"{path} is no annotation of PASCAL VOC: {error}") from None
    return (int(size[0]), int(size[1])), objects


def _annotation(node: ET.Element) -> Annotation:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    corners = [_number(node, f"bndbox/{side}") - 1 for side in ("xmin", "ymin", "xmax", "ymax")]
    if corners[2] < corners[0] or corners[3] < corners[1]:
        raise ValueError(f"the box of a {name} ends before it begins: {[corner + 1 for corner in corners]}")
    return Annotation(name, tuple(corners), (node.findtext("difficult") or "0").strip() == "1")


def _number(node: ET.Element, name: str) -> float:
    text = node.findtext(name)
    if text is None:
        raise ValueError(f"it has no <{name.replace('/', '><')}>")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"its <{name.replace('/', '><')}> is {number}")
    return number


def _child(parent: ET.Element, group: str, name: str, value) -> None:
    found = parent.find(group)
    ET.SubElement(ET.SubElement(parent, group) if found is None else found, name).text = f"{value:g}"
