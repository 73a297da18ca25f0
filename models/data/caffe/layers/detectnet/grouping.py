"""How clustering.ClusterDetections gathers boxes, in ONNX's operators: one graph for any number of voters and images.

Voters that are alike through others are found by squaring the matrix of those that are alike until paths of any length
are in it.
"""

from __future__ import annotations

import math

from demitasse.layers.onnx.boxes import at, column, columns
from demitasse.layers.onnx.graph import FLOAT, INT, Graph, Tensor

DOUBLE = "float64"
CORNERS = 4
OUTVOTED = 3  # groups smaller than it lie in any other; one of more does in one of more than it


def clustered(graph: Graph, coverage: Tensor, boxes: Tensor, grid, limits, room: int) -> Tensor:
    """(N, room, 5), float32, of coverage (N, H, W) and boxes (N, H, W, 4).

    grid: (rows, columns, cell's height, its width); limits: (least coverage, least votes, eps, least height).
    """
    rows, cols, *cell = grid
    least, votes, eps, height = limits
    images = graph.size(coverage, 0)
    seen = graph.slice(coverage, [0, 0], [rows, cols], [1, 2])
    places = graph.node("NonZero", seen >= least, dtype=INT)
    image, y, x = (graph.gather(places, graph.constant(i, INT), 0) for i in range(3))
    first = [graph.reshape(graph.cast(each, DOUBLE) * side, [-1, 1]) for each, side in ((x, cell[1]), (y, cell[0]))]
    voters = graph.cast(at(graph, boxes, image, y, x), DOUBLE) + graph.concat(first * 2, 1)
    voters = graph.cast(graph.cast(voters, INT), DOUBLE)
    same = _across(graph, image, 1).equals(_across(graph, image, 0))
    if votes > 0:
        means, count, kept = _groups(graph, voters, same, rows * cols, votes, eps)
    else:
        means, count, kept = voters, column(graph, voters, 0) * 0.0 + 1.0, None
    tall = column(graph, means, 3) - column(graph, means, 1) >= height
    kept = tall if kept is None else kept & tall
    found = graph.concat([means, graph.reshape(graph.node("Log", count), [-1, 1])], 1)
    image, found = (graph.chosen(each, kept) for each in (image, graph.cast(found, FLOAT)))
    own = graph.cast(graph.reshape(image, [-1, 1]).equals(graph.arange(images)), INT)
    rank = graph.sum(graph.node("CumSum", own, graph.constant(0, INT)) * own, [1], keep=False) - 1
    image, rank, found = (graph.chosen(each, rank < room) for each in (image, rank, found))
    index = graph.concat([graph.reshape(each, [-1, 1]) for each in (image, rank)], 1)
    return graph.node("ScatterND", graph.filled([images, room, CORNERS + 1]), index, found)


def _groups(graph: Graph, voters: Tensor, same: Tensor, most: int, votes: int, eps: float) -> list[Tensor]:
    """[means (V, 4), sizes (V,), whether a voter is the first of a group that counts]: clustering.group_rectangles."""
    index = graph.arange(graph.size(voters, 0))
    own, other = _across(graph, index, 1), _across(graph, index, 0)
    begin, size = columns(graph, voters, 0, 2), columns(graph, voters, 2, 4)
    edges = graph.concat([begin, begin + size], 1)
    apart = graph.node("Abs", _across(graph, edges, 1) - _across(graph, edges, 0))
    smaller = graph.sum(graph.node("Min", _across(graph, size, 1), _across(graph, size, 0)), [2])
    alike = _all(graph, apart <= smaller * eps * 0.5) & same
    reach = graph.cast(graph.node("Or", alike, own.equals(other)), FLOAT)
    for _ in range(math.ceil(math.log2(max(most, 2)))):
        reach = graph.cast(graph.node("MatMul", reach, reach) > 0.0, FLOAT)
    first = graph.sum(reach * graph.cast(other < own, FLOAT), [1], keep=False).equals(0.0)
    count = graph.cast(graph.sum(reach, [1], keep=False), DOUBLE)
    total = graph.node("MatMul", reach, graph.cast(voters, FLOAT))  # of whole numbers, so exact
    means = graph.node("Round", graph.cast(total, DOUBLE) / graph.reshape(count, [-1, 1]))
    counted = first & (count > float(votes))
    begin, size = columns(graph, means, 0, 2), columns(graph, means, 2, 4)
    room = graph.node("Round", size * eps)
    inside = [
        _across(graph, begin, 1) >= _across(graph, begin - room, 0),
        _across(graph, begin + size, 1) <= _across(graph, begin + size + room, 0),
    ]
    fewer = _across(graph, count, 0) > _across(graph, graph.node("Max", count, graph.constant(OUTVOTED, DOUBLE)), 1)
    fewer = graph.node("Or", fewer, _across(graph, count < float(OUTVOTED), 1))
    by = _all(graph, inside[0]) & _all(graph, inside[1]) & fewer & same & _across(graph, counted, 0)
    by = graph.cast(by & graph.node("Not", own.equals(other)), FLOAT)
    return [means, count, counted & graph.sum(by, [1], keep=False).equals(0.0)]


def _across(graph: Graph, x: Tensor, axis: int) -> Tensor:
    """x (V, ...) along one axis of pairs: (V, 1, ...) for 1, (1, V, ...) for 0."""
    return graph.node("Unsqueeze", x, graph.constant([axis], INT))


def _all(graph: Graph, condition: Tensor) -> Tensor:
    """Whether a condition holds all along the last axis, which goes."""
    return graph.node("ReduceMin", graph.cast(condition, FLOAT), axes=[-1], keepdims=0) > 0.5
