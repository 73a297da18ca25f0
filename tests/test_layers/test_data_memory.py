"""MemoryData and DummyData."""

import numpy as np
import pytest

from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from tests.test_layers.data_sets import batches, layer, same


def memory(more="", phase="TEST", size=(2, 3, 4, 5)):
    fields = dict(zip(("batch_size", "channels", "height", "width"), size, strict=True))
    text = " ".join(f"{name}: {value}" for name, value in fields.items())
    return layer(f'type: "MemoryData" top: "data" top: "label" memory_data_param {{ {text} }} {more}', phase)


@pytest.mark.independent("MemoryData")
def test_arrays_go_round():
    made = memory()
    data = np.random.default_rng(0).random((6, 3, 4, 5), dtype=np.float32)
    made.set_input_arrays(data, np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1))
    tops = batches(made, 4)
    assert [label.tolist() for _, label in tops] == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert np.array_equal(tops[1][0], data[2:4])
    state = made.state()
    following = batches(made, 2)
    made.load_state(state)
    assert same(batches(made, 2), following)
    data[0] = 7  # the program may write into its arrays
    made.set_input_arrays(data, range(6))
    assert (batches(made, 1)[0][0][0] == 7).all()


def test_images_are_transformed():
    made = memory("transform_param { crop_size: 4 mean_value: 1 scale: 2 }", size=(2, 3, 4, 4))
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    made.add_images(list(images), [1, 2, 3, 4])
    ((data, label),) = batches(made, 1)
    assert np.array_equal(data, (images[:2, 1:5, 2:6].transpose(0, 3, 1, 2).astype(np.float32) - 1) * 2)
    assert label.tolist() == [1, 2]


def test_memory_mistakes():
    made = memory()
    with pytest.raises(DataFault, match="no data yet; call set_input_arrays"):
        made.forward([])
    with pytest.raises(ShapeFault, match=r"data has shape \(2, 3, 5, 5\), but memory_data_param says \(N, 3, 4, 5\)"):
        made.set_input_arrays(np.zeros((2, 3, 5, 5)), [0, 0])
    with pytest.raises(ShapeFault, match="3 images are no multiple of batch_size 2"):
        made.set_input_arrays(np.zeros((3, 3, 4, 5)), [0, 0, 0])
    with pytest.raises(ShapeFault, match="0 images are no multiple"):
        made.set_input_arrays(np.zeros((0, 3, 4, 5)), [])
    with pytest.raises(ShapeFault, match="1 labels for 2 images"):
        made.set_input_arrays(np.zeros((2, 3, 4, 5)), [0])
    with pytest.raises(SchemaFault, match=r"batch_size, channels, height and width are \(2, 0, 4, 5\)"):
        memory(size=(2, 0, 4, 5))
    with pytest.raises(ShapeFault, match=r"image 1 has shape \(3, 4, 6\) but its batch began with \(3, 4, 5\)"):
        made.add_images([np.zeros((4, 5, 3)), np.zeros((4, 6, 3))], [0, 0])


def dummy(text, tops=1, seed=1):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    return layer(f'type: "DummyData" {names} dummy_data_param {{ {text} }}', seed=seed)


@pytest.mark.independent("DummyData")
def test_constants_stay_and_random_values_change():
    made = dummy(
        'shape { dim: 2 dim: 3 } shape { dim: 4 } data_filler { type: "constant" value: 7 } '
        'data_filler { type: "gaussian" std: 2 }',
        tops=2,
    )
    first, second = batches(made, 2)
    assert (first[0] == 7).all() and first[0] is second[0]
    assert not np.array_equal(first[1], second[1])
    first[0][:] = 9  # Caffe's users write into the blob; it is not filled again
    assert (batches(made, 1)[0][0] == 9).all()


def test_one_shape_and_one_filler_serve_all_and_none_is_zero():
    ((a, b),) = batches(dummy('shape { dim: 3 } data_filler { type: "uniform" }', tops=2), 1)
    assert a.shape == b.shape == (3,) and not np.array_equal(a, b)
    ((zero,),) = batches(dummy("num: 1 channels: 2 height: 3 width: 4"), 1)
    assert zero.shape == (1, 2, 3, 4) and not zero.any()
    assert batches(dummy("shape { }"), 1)[0][0].shape == ()
    old = "num: 4 channels: 3 channels: 1 height: 5 height: 1 width: 6 width: 1"  # each once, or once a top
    assert [top.shape for top in batches(dummy(old, tops=2), 1)[0]] == [(4, 3, 5, 6), (4, 1, 1, 1)]


def test_dummy_restarts_to_the_bit():
    text = 'shape { dim: 5 } data_filler { type: "uniform" }'
    made = dummy(text)
    batches(made, 2)
    state = made.state()
    expected = batches(made, 3)
    other = dummy(text, seed=3)
    other.load_state(state)
    assert same(batches(other, 3), expected)
    other.load_state(state)
    other.shard(1, 2)
    assert not same(batches(other, 3), expected)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "0 num for 2 tops; .* or shape instead"),
        ("shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }", "3 shapes for 2 tops; give 1 or 2"),
        (
            "shape { dim: 1 } data_filler { } data_filler { } data_filler { }",
            "3 data_filler for 2 tops; give none, 1 or 2",
        ),
        ("shape { dim: 1 } num: 1", "not both"),
        ("num: 1 channels: 1 height: 1", "0 width for 2 tops; give 1 or 2 of num, channels, height and width each"),
        ("shape { dim: -1 }", "dim -1"),
        ('shape { dim: 1 } data_filler { type: "gausian" }', "did you mean 'gaussian'"),
    ],
)
def test_dummy_mistakes(text, words):
    with pytest.raises(SchemaFault, match=words):
        dummy(text, tops=2).forward([])
