"""Layers that look up or choose: ArgMax, BatchReindex, Embed, Filter."""

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault, LabelFault, SchemaFault, ShapeFault
from tests.test_layers.building import build, normal

ARGMAX = "type: 'ArgMax' bottom: 'x' top: 'y' argmax_param {{ {} }}"
FILTER = "type: 'Filter' bottom: 'x' bottom: 'z' bottom: 's' top: 'a' top: 'b'"


@pytest.mark.parametrize(
    "fields, expected",
    [
        ("", [[[4.0]]]),
        ("top_k: 3", [[[4.0, 1, 5]]]),
        ("out_max_val: true top_k: 2", [[[4.0, 1], [7, 7]]]),
        ("axis: 1 top_k: 2", [[4.0, 1]]),
        ("axis: -1 out_max_val: true top_k: 6", [[7.0, 7, 5, 3, 2, 2]]),
    ],
)
def test_of_equal_values_the_later_index_comes_first(fields, expected):
    x = np.array([[2.0, 7, 2, 3, 7, 5]])
    assert build(ARGMAX.format(fields), x.shape).forward([x])[0].tolist() == expected


def test_argmax_of_scores_is_a_label_map():
    x = normal(2, 21, 6, 5)
    (y,) = build(ARGMAX.format("axis: 1"), x.shape).forward([x])
    np.testing.assert_array_equal(y, x.argmax(1)[:, None])
    assert y.flags.c_contiguous


def test_argmax_needs_rows_that_long():
    with pytest.raises(ShapeFault, match="top_k 7 of rows that are 6 long"):
        build(ARGMAX.format("top_k: 7"), (1, 6))
    with pytest.raises(ShapeFault, match="argmax_param.axis 2 does not exist"):
        build(ARGMAX.format("axis: 2"), (1, 6))


@pytest.mark.parametrize("selector, chosen", [([0, 0, 0], []), ([0, -2, 0.5], [1, 2]), ([1, 1, 1], [0, 1, 2])])
def test_filter_keeps_what_is_selected_even_if_that_is_nothing(selector, chosen):
    layer, x, z = build(FILTER, (3, 2), (3, 1, 2), (3, 1)), normal(3, 2), normal(3, 1, 2)
    tops = layer.forward([x, z, np.array(selector, float).reshape(3, 1)])
    np.testing.assert_array_equal(tops[0], x[chosen])
    np.testing.assert_array_equal(tops[1], z[chosen])
    dx, dz, nothing = layer.backward([2 * tops[0], None], [True, False, False])
    expected = np.zeros_like(x)
    expected[chosen] = 2 * x[chosen]
    np.testing.assert_array_equal(dx, expected)
    assert dz is None and nothing is None


def test_filter_checks_its_sides():
    with pytest.raises(GraphFault, match="3 bottoms and 1 tops"):
        build(FILTER.replace(" top: 'b'", ""), (3, 2), (3, 2), (3,))
    with pytest.raises(ShapeFault, match=r"bottom 1 has shape \(4, 2\), but the selector has \(3,\)"):
        build(FILTER, (3, 2), (4, 2), (3,))
    with pytest.raises(ShapeFault, match=r"selector has shape \(3, 2\)"):
        build(FILTER, (3, 2), (3, 2), (3, 2))


@pytest.mark.parametrize("index", [4, -1])
def test_indices_outside_are_named_with_their_place(index):
    bottom = np.array([[0.0, 3], [1, index]])
    embed = build("type: 'Embed' bottom: 'i' top: 'y' embed_param { num_output: 2 input_dim: 4 }", (2, 2))
    with pytest.raises(LabelFault, match=rf"number {index} at place 3 .* rows 0 to 3"):
        embed.forward([bottom])
    reindex = build("type: 'BatchReindex' bottom: 'x' bottom: 'i' top: 'y'", (4, 2), (4,))
    with pytest.raises(LabelFault, match=rf"index {index} at position 3 .* items 0 to 3"):
        reindex.forward([normal(4, 2), bottom.ravel()])


def test_gradients_of_a_repeated_row_add_up():
    embed = build("type: 'Embed' bottom: 'i' top: 'y' embed_param { num_output: 1 input_dim: 3 }", (4,))
    embed.forward([np.array([2.0, 0, 2, 2])])
    embed.backward([np.array([[1.0], [2], [3], [4]])], [False])
    assert embed.params[0].grad.ravel().tolist() == [2, 0, 8]


def test_embed_needs_its_sizes():
    with pytest.raises(SchemaFault, match="embed_param needs input_dim"):
        build("type: 'Embed' bottom: 'i' top: 'y' embed_param { num_output: 2 }", (2,))
