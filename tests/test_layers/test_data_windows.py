"""WindowData: which windows are drawn, and where they land in the square."""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.images import resize
from demitasse.layers.data.windows import Placement, place, read_windows
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from tests.test_layers.data_sets import batches, layer, same

FILE = """# 0
{folder}/a b.png
3
40
60
3
1 0.9 10 5 29 24
2 0.5 0 0 59 39
0 0.2 30 20 45 30

# 1
{folder}/c.png
3
20
20
2
7 1.0 5 5 14 14
0 0.0 0 0 3 3
"""


@pytest.fixture
def listing(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a b", (40, 60, 3)), ("c", (20, 20, 3))):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "windows.txt").write_text(FILE.format(folder=tmp_path))
    return tmp_path / "windows.txt"


def windows(listing, more="", transform="crop_size: 10", batch=8, phase="TRAIN", seed=1):
    return layer(
        f'type: "WindowData" top: "data" top: "label" window_data_param {{ source: "{listing}" batch_size: '
        f"{batch} {more} }} transform_param {{ {transform} }}",
        phase,
        seed,
    )


def test_the_file_is_read(listing):
    found = read_windows(str(listing), "source")
    assert [(w.label, w.overlap, w.box, w.line) for w in found] == [
        (1, 0.9, (10, 5, 29, 24), 7),
        (2, 0.5, (0, 0, 59, 39), 8),
        (0, 0.2, (30, 20, 45, 30), 9),
        (7, 1.0, (5, 5, 14, 14), 17),
        (0, 0.0, (0, 0, 3, 3), 18),
    ]
    assert found[0].image.endswith("a b.png") and found[3].image.endswith("c.png")


def test_a_batch_is_background_then_objects(listing):
    labels = np.array([label for _, label in batches(windows(listing, "fg_fraction: 0.4"), 20)])
    assert (labels[:, :5] == 0).all() and set(labels[:, 5:].ravel()) == {1, 2, 7}
    labels = np.array([label for _, label in batches(windows(listing, "fg_fraction: 1 fg_threshold: 0.8"), 5)])
    assert set(labels.ravel()) == {1, 7}


@pytest.mark.independent("WindowData")
def test_a_window_is_warped_whole(listing):
    image = np.array(Image.open(listing.parent / "c.png"))[:, :, ::-1]
    expected = resize(image[5:15, 5:15], 10, 10).transpose(2, 0, 1)
    made = windows(listing, "fg_fraction: 1 fg_threshold: 1", "crop_size: 10 mean_value: 3 scale: 0.5")
    ((data, label),) = batches(made, 1)
    assert (label == 7).all()
    assert np.array_equal(data[0], (expected - np.float32(3)) * np.float32(0.5))
    mirrored = batches(
        windows(listing, "fg_fraction: 1 fg_threshold: 1 cache_images: true", "crop_size: 10 mirror: true"), 2
    )
    kinds = {np.array_equal(one, expected[:, :, ::-1]) for data, _ in mirrored for one in data}
    assert kinds == {True, False}


def test_context_beyond_the_image_stays_zero(listing):
    made = windows(listing, "fg_fraction: 0 context_pad: 2 bg_threshold: 0.1", "crop_size: 10 mean_value: 300")
    ((data, _),) = batches(made, 1)
    assert (data[:, :, :1] == 0).all() and (data[:, :, :, :1] == 0).all()  # the window is the upper left corner
    assert (data[:, :, 1:, 1:] < 0).all()


def test_placements_by_hand():
    assert place((10, 5, 29, 24), 40, 60, 10, 0, False, False) == Placement(10, 5, 29, 24, 10, 10, 0, 0)
    # 20 x 20 at size 10 with 2 of context: grown by 10 / 6 about (20, 15): columns 3.33 to 36.67, rows -1.67 to 31.67
    assert place((10, 5, 29, 24), 40, 60, 10, 2, False, False) == Placement(3, 0, 37, 32, 10, 9, 0, 1)
    # made square about its centre: 40 wide, 10 high
    assert place((10, 20, 49, 29), 40, 60, 8, 0, True, False) == Placement(10, 5, 50, 39, 8, 7, 0, 0)
    # what reaches out on the right is empty on the left when mirrored
    right = place((50, 10, 59, 19), 40, 60, 10, 2, False, False)
    assert (right.left, right.width) == (0, 8) and place((50, 10, 59, 19), 40, 60, 10, 2, False, True).left == 2


def test_no_placement_leaves_the_square():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        rows, cols, size = (int(n) for n in rng.integers(1, 60, 3))
        x1, y1 = int(rng.integers(cols)), int(rng.integers(rows))
        box = (x1, y1, int(rng.integers(x1, cols)), int(rng.integers(y1, rows)))
        pad = int(rng.integers(0, (size + 1) // 2))
        at = place(box, rows, cols, size, pad, bool(rng.integers(2)), bool(rng.integers(2)))
        assert 0 <= at.x1 <= at.x2 < cols and 0 <= at.y1 <= at.y2 < rows
        assert at.width >= 1 and at.height >= 1
        assert 0 <= at.left and at.left + at.width <= size and 0 <= at.top and at.top + at.height <= size


def test_restarts_to_the_bit(listing):
    first = windows(listing, transform="crop_size: 10 mirror: true")
    batches(first, 2)
    state = first.state()
    expected = batches(first, 3)
    second = windows(listing, transform="crop_size: 10 mirror: true", seed=5)
    second.load_state(state)
    assert same(batches(second, 3), expected)


@pytest.mark.parametrize(
    "more, transform, fault, words",
    [
        ("", "", SchemaFault, "WindowData needs transform_param . crop_size"),
        ('crop_mode: "squre"', "crop_size: 10", SchemaFault, "crop_mode 'squre' is not known; choose warp or square"),
        ("context_pad: 5", "crop_size: 10", SchemaFault, "context_pad 5 on both sides leaves nothing of crop_size 10"),
        ("fg_threshold: 2", "crop_size: 10", DataFault, "windows.txt: no foreground window, but every batch needs 2"),
        (
            "bg_threshold: 0 fg_threshold: 0.3",
            "crop_size: 10",
            DataFault,
            "no background window, but every batch needs 6",
        ),
        (
            "fg_threshold: 0.1",
            "crop_size: 10",
            DataFault,
            "windows.txt:9: class 0 for a foreground window .overlap 0.2.;",
        ),
    ],
)
def test_mistakes(listing, more, transform, fault, words):
    with pytest.raises(fault, match=words):
        windows(listing, more, transform)


@pytest.mark.parametrize(
    "old, new, words",
    [
        (
            "7 1.0 5 5 14 14",
            "7 1.0 5 5 20 14",
            r"c.png' \(.*windows.txt:17\): the window \(5, 5, 20, 14\) .* 20 columns",
        ),
        ("7 1.0 5 5 14 14", "7 1.0 5 5 4 14", "windows.txt:17: the window .5, 5, 4, 14. ends before it begins"),
        (
            "7 1.0 5 5 14 14",
            "7 1.0 5 5 14",
            "windows.txt:17: '7 1.0 5 5 14' where class overlap x1 y1 x2 y2 should stand",
        ),
        ("# 1", "1", "windows.txt:11: '1' where '# image_index' should begin"),
        ("0 0.0 0 0 3 3\n", "", "windows.txt:17: '' where class overlap"),
        ("7 1.0 5 5 14 14", "nan 1.0 5 5 14 14", "windows.txt:17: 'nan 1.0 5 5 14 14' where class overlap"),
        ("7 1.0 5 5 14 14", "7 1.0 5 5 inf 14", "windows.txt:17: '7 1.0 5 5 inf 14' where class overlap"),
        ("7 1.0 5 5 14 14", "7 nan 5 5 14 14", "windows.txt:17: '7 nan 5 5 14 14' where class overlap"),
        ("7 1.0 5 5 14 14", "7 1.0 5 1e999 14 14", "windows.txt:17: '7 1.0 5 1e999 14 14' where class overlap"),
        ("c.png", "d.png", "d.png' .*windows.txt:17.: no such file"),
    ],
)
def test_broken_window_files_are_named(listing, old, new, words):
    listing.write_text(listing.read_text().replace(old, new))
    with pytest.raises((DataFault, ShapeFault), match=words):
        batches(windows(listing, "fg_fraction: 1 fg_threshold: 1"), 1)
