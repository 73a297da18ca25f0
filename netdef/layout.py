"""Placing a directed graph on a page: sources on top, every edge downwards, few crossings, straight lines.

Four steps, after Sugiyama: each node gets a row (the longest way from a source); edges that skip rows get
a joint in each row they cross; rows are ordered by the mean position of their neighbours; then everything
slides sideways to lie as straight above its neighbours as the widths allow, the longest chain straightest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ORDERINGS, SLIDES = 24, 9  # passes over the rows; the last one goes down
JOINT_WIDTH = 14.0


@dataclass(eq=False)
class Item:
    """A node, or a joint of a long edge (node None): its row, its width, and the x of its middle."""

    node: Hashable
    row: int
    width: float
    x: float = 0.0
    links: list[tuple[Item, float]] = field(default_factory=list)  # neighbours, and how much they pull


@dataclass
class Layout:
    """What goes where."""

    items: dict[Any, Item]
    paths: dict[tuple[Any, Any], list[Item]]  # edge -> node, joints, node
    rows: list[list[Item]]


def lay_out(widths: Mapping[Any, float], edges: Mapping[tuple[Any, Any], float], gap: float) -> Layout:
    """Rows and x for nodes of these widths, at least `gap` apart, in their unit.

    The nodes come in an order in which every edge points forwards; the number of an edge is the width that
    the middle of its lane needs, for a label.
    """
    row_of = _rows_of(widths, edges)
    items = {node: Item(node, row, widths[node]) for node, row in row_of.items()}
    rows: list[list[Item]] = [[] for _ in range(1 + max(row_of.values(), default=0))]
    for item in items.values():
        rows[item.row].append(item)
    paths = {edge: _path(items[edge[0]], items[edge[1]], rows, label) for edge, label in edges.items()}
    chained = _chains(row_of, edges)
    for edge, path in paths.items():
        for upper, lower in zip(path, path[1:], strict=False):
            pull = _pull(upper, lower, edge in chained)
            upper.links.append((lower, pull))
            lower.links.append((upper, pull))
    _order(rows)
    _slide(rows, gap)
    return Layout(items, paths, rows)


def _rows_of(nodes: Iterable, edges: Iterable) -> dict[Hashable, int]:
    """The longest way to each node, in edges."""
    above = defaultdict(list)
    for upper, lower in edges:
        above[lower].append(upper)
    rows: dict[Hashable, int] = {}
    for node in nodes:
        rows[node] = 1 + max((rows[upper] for upper in above[node]), default=-1)
    return rows


def _chains(depths: Mapping[Hashable, int], edges: Iterable) -> set:
    """Edges that make chains, each node in one: from the deepest end up the longest way, then from what is left."""
    above: dict[Hashable, Hashable] = {}
    for upper, lower in edges:
        if lower not in above or depths[upper] > depths[above[lower]]:
            above[lower] = upper
    chained, chosen = set(), set()
    for node in sorted(depths, key=depths.__getitem__, reverse=True):
        while node not in chained:
            chained.add(node)
            if node in above and above[node] not in chained:
                chosen.add((above[node], node))
                node = above[node]
    return chosen


def _path(upper: Item, lower: Item, rows: list[list[Item]], label: float) -> list[Item]:
    joints = [Item(None, row, JOINT_WIDTH) for row in range(upper.row + 1, lower.row)]
    for joint in joints:
        rows[joint.row].append(joint)
    if joints:
        joints[len(joints) // 2].width = max(label, JOINT_WIDTH)
    return [upper, *joints, lower]


def _pull(one: Item, other: Item, chained: bool) -> float:
    """Chains are to be straight, and so are lanes; an edge that leaves a node for its lane may bend."""
    joints = (one.node is None) + (other.node is None)
    return {0: 32.0 if chained else 2.0, 1: 0.5, 2: 8.0}[joints]


def _order(rows: list[list[Item]]) -> None:
    position = {item: index for row in rows for index, item in enumerate(row)}
    for sweep in range(ORDERINGS):
        downwards = sweep % 2 == 0
        for row in rows if downwards else reversed(rows):

            def mean(item: Item, step=-1 if downwards else 1) -> float:
                near = [position[link] for link, _ in item.links if link.row == item.row + step]
                return sum(near) / len(near) if near else position[item]

            row.sort(key=mean)
            position.update((item, index) for index, item in enumerate(row))


def _slide(rows: list[list[Item]], gap: float) -> None:
    for row in rows:
        offsets = _offsets(row, gap)
        for item, offset in zip(row, offsets, strict=True):
            item.x = offset - offsets[-1] / 2
    for sweep in range(SLIDES):
        downwards = sweep % 2 == 0
        for row in rows if downwards else reversed(rows):
            _settle(row, gap, -1 if downwards else 1)


def _offsets(row: list[Item], gap: float) -> list[float]:
    """Where the middles would be if the items stood side by side, the first at 0."""
    offsets = [0.0]
    for left, right in zip(row, row[1:], strict=False):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + gap)
    return offsets


def _settle(row: list[Item], gap: float, step: int) -> None:
    """Move each item to the weighted mean of its neighbours above (step -1) or below (1), as near as the row lets it.

    Without overlaps the wishes, each less its offset, must not decrease from left to right: neighbours
    whose wishes do are merged into a block at their mean (isotonic regression).
    """
    offsets = _offsets(row, gap)
    blocks: list[tuple[float, float, int]] = []  # (mean wish, weight, how many items)
    for item, offset in zip(row, offsets, strict=True):
        near = [(link.x, pull) for link, pull in item.links if (link.row - item.row) * step > 0] or [(item.x, 0.1)]
        weight = sum(pull for _, pull in near)
        wish, count = sum(x * pull for x, pull in near) / weight - offset, 1
        while blocks and blocks[-1][0] > wish:
            before, before_weight, before_count = blocks.pop()
            wish = (before * before_weight + wish * weight) / (before_weight + weight)
            weight, count = before_weight + weight, before_count + count
        blocks.append((wish, weight, count))
    wishes = [wish for wish, _, count in blocks for _ in range(count)]
    for item, wish, offset in zip(row, wishes, offsets, strict=True):
        item.x = wish + offset
