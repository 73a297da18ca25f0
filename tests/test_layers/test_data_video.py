"""VideoData: which frames make a sample, how they lie in the top, and what is said where they are missing."""

from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.corner_crops import CornerCrops
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from demitasse.proto.messages import TransformationParameter
from demitasse.proto.text import parse


@pytest.fixture
def films(tmp_path):
    """Two films of nine frames of 6 x 8; every pixel of frame n of film k is 10 k + n, blue, green and red alike."""
    for film in range(2):
        folder = tmp_path / f"film{film}"
        folder.mkdir()
        for n in range(1, 10):
            Image.new("RGB", (8, 6), (10 * film + n,) * 3).save(folder / f"{n:06d}.png")
            for axis, value in (("x", 100 + n), ("y", 50 + n)):
                Image.new("L", (8, 6), value).save(folder / f"flow_{axis}_{n}.png")
    return tmp_path


def data_net(films, lines, fields, phase="TEST", transform="crop_size: 4"):
    (films / "list.txt").write_text(lines)
    text = (
        f'layer {{ name: "data" type: "VideoData" top: "data" top: "label" transform_param {{ {transform} }}'
        f' video_data_param {{ source: "{films / "list.txt"}" root_folder: "{films}/" batch_size: 2 {fields} }} }}\n'
    )
    return closing(Net(text, phase, seed=1))


CLIPS = "film0 2 7\nfilm1 5 3\n"


@pytest.mark.independent("VideoData")
def test_a_clip_begins_at_its_first_frame(films):
    with data_net(films, CLIPS, 'new_length: 3 name_pattern: "%06d.png" num_segments: 1') as net:
        assert net.shapes["data"] == (2, 9, 4, 4)  # one segment: channels of all frames in a row
    for film in range(2):
        for n in range(1, 10):
            (films / f"film{film}" / f"{n:06d}.jpg").write_bytes((films / f"film{film}" / f"{n:06d}.png").read_bytes())
    with data_net(films, CLIPS, "new_length: 3") as net:
        tops = net.forward()
        assert net.shapes["data"] == (2, 3, 3, 4, 4) and list(net.blobs["label"]) == [7, 3]
        frames = net.blobs["data"][:, 0, :, 0, 0]
        assert frames.tolist() == [[2, 3, 4], [15, 16, 17]] and tops


def test_segments_give_their_middles_in_test_and_any_part_in_train(films):
    lines = "film0 9 1\nfilm1 9 0\n"
    fields = 'num_segments: 3 name_pattern: "%06d.png"'
    with data_net(films, lines, fields) as net:
        net.forward()
        assert net.blobs["data"][0, ::3, 0, 0].tolist() == [2, 5, 8]
    seen = set()
    with data_net(films, lines, fields, "TRAIN") as net:
        for _ in range(20):
            net.forward()
            seen |= set(net.blobs["data"][0, ::3, 0, 0].tolist())
    assert seen == set(range(1, 10))


def test_a_mirrored_flow_points_the_other_way(films):
    fields = 'modality: FLOW name_pattern: "flow_%c_%d.png" new_length: 2'
    transform = "crop_size: 4 mirror: true is_flow: true mean_value: 100"
    with data_net(films, "film0 2 1\n", fields, "TRAIN", transform) as net:
        for _ in range(8):
            net.forward()
            for x0, y0, x1, y1 in net.blobs["data"][:, :, 0, 0]:
                assert (abs(x0), y0, abs(x1), y1) == (1, -49, 2, -48) and x0 * x1 > 0


@pytest.fixture
def slopes(tmp_path):
    """One film of a frame of 40 x 60 whose pixels tell their row (blue), column (green)."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :, 2], pixels[:, :, 1] = np.mgrid[:40, :60]
    (tmp_path / "film0").mkdir()
    Image.fromarray(pixels).save(tmp_path / "film0/000001.png")
    return tmp_path


def transform_param(text):
    return parse(text, TransformationParameter)[0]


def windows(folder, transform, phase="TRAIN", draws=60):
    """The set of (first row, last row, first column, last column) of the parts that are cut."""
    fields = 'name_pattern: "%06d.png" num_segments: 1'
    with data_net(folder, "film0 1 0\n", fields, phase, transform) as net:
        seen = set()
        for _ in range(draws):
            net.forward()
            for rows, columns, _ in net.blobs["data"]:
                seen.add(tuple(np.rint([rows[0, 0], rows[-1, 0], columns[0, 0], columns[0, -1]]).astype(int).tolist()))
    return seen


def test_fixed_crops_lie_in_the_corners_and_in_the_middle(slopes):
    corners = {(t, t + 19, x, x + 19) for t in (0, 20) for x in (0, 40)} | {(10, 29, 20, 39)}
    assert windows(slopes, "crop_size: 20 fix_crop: true") == corners
    more = {
        (t, t + 19, x, x + 19) for t in (0, 5, 10, 15, 20) for x in (0, 10, 20, 30, 40) if (t // 5 + x // 10) % 2 == 0
    }
    assert windows(slopes, "crop_size: 20 fix_crop: true more_fix_crop: true", draws=200) == more
    assert windows(slopes, "crop_size: 20 fix_crop: true", "TEST", 3) == {(10, 29, 20, 39)}


def test_scales_are_shares_of_the_shorter_side_not_far_apart(slopes):
    fields = "crop_size: 40 fix_crop: true multi_scale: true scale_ratios: 1 scale_ratios: 0.75 scale_ratios: 0.5"
    for apart in (0, 1, 2):
        seen = windows(slopes, f"{fields} max_distort: {apart}", draws=150)
        sides = {(round((b - a + 1) / 10), round((d - c + 1) / 10)) for a, b, c, d in seen}
        assert sides == {(i, j) for i in (2, 3, 4) for j in (2, 3, 4) if abs(i - j) <= apart}
    crop = CornerCrops(transform_param("crop_size: 38 multi_scale: true scale_ratios: 1"))
    assert {crop.window(40, 60, np.random.default_rng(n), "")[2:] for n in range(9)} == {(38, 38)}  # within 2 of it


@pytest.mark.parametrize(
    "transform, says",
    [
        ("crop_size: 50 fix_crop: true", "a crop of 50 x 50 exceeds the frame's 40 x 60"),
        ("crop_size: 20 multi_scale: true scale_ratios: 1.5", "have to be above 0 and at most 1"),
    ],
)
def test_crops_that_cannot_be_cut_are_one_line(slopes, transform, says):
    with pytest.raises(NetError, match=says):
        windows(slopes, transform, draws=1)


def test_only_videos_are_cropped_at_corners():
    text = (
        'layer { name: "d" type: "ImageData" top: "d" top: "l" image_data_param { source: "x" }'
        " transform_param { crop_size: 4 fix_crop: true } }\n"
    )
    with pytest.raises(NetError, match="this type of layer does not read fix_crop"):
        Net(text, "TRAIN")


def test_a_net_is_sized_without_its_films():
    fields = 'source: "nowhere" new_length: 16 new_height: 12 new_width: 17'
    text = 'layer {{ name: "d" type: "VideoData" top: "d" video_data_param {{ {} }} }}\n'
    assert Plan(text.format(fields), "TRAIN").steps[0].tops[0].shape == (1, 3, 16, 12, 17)
    with pytest.raises(NetError, match="give new_height and new_width, or crop_size"):
        Plan(text.format("new_length: 16"), "TRAIN")
    with pytest.raises(NetError, match="nowhere"):
        Net(text.format(fields), "TRAIN")


@pytest.mark.parametrize(
    "lines, fields, says",
    [
        ("film0 2\n", "", "is not a folder and two whole numbers"),
        ("film7 2 1\n", "", r"film '.*film7' \(.*list.txt:1\): no such file"),
        ("film0/000001.png 2 1\n", "", "is no folder of frames"),
        ("film0 2 1\n", 'num_segments: 3 name_pattern: "%06d.png"', "2 frames are too few for 3 clips of 1"),
        ("film0 2 1\n", 'name_pattern: "frame.png"', "takes a frame's number"),
    ],
)
def test_what_cannot_be_read_is_one_line(films, lines, fields, says):
    with pytest.raises(NetError, match=says), data_net(films, lines, fields) as net:
        net.forward()
