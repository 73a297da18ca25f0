"""Scenes for MS-CNN and Cascade R-CNN: their files, and how images come onto a canvas."""

import numpy as np
import pytest
from PIL import Image

from demitasse.layers.data.images import resize
from demitasse.layers.data.scene_geometry import place, zoomed
from demitasse.layers.data.scenes import read_scenes
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault, GraphFault, SchemaFault
from tests.test_layers.data_sets import batches, layer, same

FILE = """# 0
a b.png
3
40
60
2
1 0 {difficult}10 5 29 24
2 1 {difficult}0 0 59 39
1
40 0 59 20

# 1
c.png
3
64
32
0
0
"""


@pytest.fixture
def scenes(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a b", (40, 60, 3)), ("c", (64, 32, 3))):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "eight.txt").write_text(FILE.format(difficult="1 "))
    (tmp_path / "seven.txt").write_text(FILE.format(difficult=""))
    return tmp_path


def bgr(folder, name):
    return np.asarray(Image.open(folder / name))[:, :, ::-1]


def test_both_kinds_of_files_are_read(scenes):
    for name, difficult in (("eight", 1), ("seven", 0)):
        first, second = read_scenes(str(scenes / f"{name}.txt"), "source", bool(difficult))
        assert (first.image, first.height, first.width, first.line) == ("a b.png", 40, 60, 2)
        assert first.objects.tolist() == [[1, 0, difficult, 10, 5, 29, 24], [2, 1, difficult, 0, 0, 59, 39]]
        assert first.regions.tolist() == [[40, 0, 59, 20]]
        assert second.objects.shape == (0, 7) and second.regions.shape == (0, 4)


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("# 1", "1", r":12: '1' where '# image_index' should begin"),
        (
            "1 0 1 10 5 29 24",
            "1 0 10 5 29 24",
            r":7: '1 0 10 5 29 24' where class ignored difficult x1 y1 x2 y2 should",
        ),
        ("1 0 1 10 5 29 24", "0 0 1 10 5 29 24", r":2: a class of 0; classes of objects begin at 1"),
        ("40 0 59 20", "40 30 59 20", r":10: the box \[40.0, 30.0, 59.0, 20.0\] ends before it begins"),
        ("\n60\n", "\n0\n", r":5: 0 where the image's width should stand"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_line(scenes, old, new, says):
    path = scenes / "eight.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataFault, match=says):
        read_scenes(str(path), "source", True)


def test_what_does_not_fill_the_canvas_lies_in_its_middle_and_what_exceeds_it_shows_its_centre():
    assert place(40, 100, 0, 0) == (30, 0, 40) and place(40, 100, 0, -40) == (0, 0, 40)
    assert place(100, 40, 70, 0) == (0, 50, 40) and place(100, 40, 95, 3) == (0, 60, 40)
    assert place(40, 40, 0, 7) == (0, 0, 40)


def test_a_great_zoom_looks_at_what_surrounds_its_centre_only():
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    found, factors, shift = zoomed(image, (30, 10), (2.0, 2.0))
    assert shift == (-16, -1) and factors == (2.0, 2.0)
    assert (found == resize(image[1:19, 16:40], 36, 48)).all()
    assert zoomed(image, (30, 10), (1.0, 1.0))[0] is image


FIELDS = "stride: [8, 16] field_w: [16, 24] field_h: [16, 24] batch_size: 2 output_gt_boxes: true"
TOPS = 'top: "data" top: "m" top: "n" top: "boxes"'


def detection(folder, more="", transform="mean_value: 100", seed=1, source="eight", tops=TOPS):
    text = f'source: "{folder}/{source}.txt" root_folder: "{folder}/" {FIELDS} {more}'
    text = f'type: "DetectionData" {tops} detection_data_param {{ {text} }} transform_param {{ {transform} }}'
    return layer(text, "TRAIN", seed)


def test_images_keep_their_size_beside_the_first_and_boxes_follow_them(scenes):
    """Without zoom, mirror and colours only the place on the canvas is drawn."""
    reader = detection(scenes)
    (data, first, second, boxes), *_ = batches(reader, 1)
    reader.close()
    assert data.shape == (2, 3, 40, 60) and first.shape == (2, 6, 5, 8) and second.shape == (2, 6, 3, 4)
    np.testing.assert_array_equal(data[0], bgr(scenes, "a b.png").transpose(2, 0, 1) - 100.0)
    assert boxes[:, :, 0, 0].tolist() == [[0, 10, 5, 29, 24, 1, 0, 1], [0, 0, 0, 59, 39, 2, 1, 1]]
    (left,) = {int(np.nonzero(data[1].any((0, 1)))[0][0])}
    assert 4 <= left <= 24 and not data[1, :, :, left + 32 :].any()
    rows = data[1, :, :, left : left + 32] + 100
    picture = bgr(scenes, "c.png").transpose(2, 0, 1)
    assert any((rows == picture[:, top : top + 40]).all() for top in range(25))
    assert (first[1, 5] == 1).sum() == 5 * (8 - 4)  # what is beside the image is no background


@pytest.mark.parametrize(
    "more, size",
    [
        ("resize_width: 30 resize_height: 20", (20, 30)),
        ("resize_ratio: 0.5", (20, 30)),
        ("short_size: 64 long_size: 96", (64, 96)),
        ("short_size: 64 long_size: 96 template_ratio: 1.5", (96, 160)),
        ("crop_width: 50 crop_height: 44", (44, 50)),
        ("crop_short_size: 32 crop_long_size: 48", (32, 48)),
    ],
)
def test_the_canvas_is_what_the_fields_say(scenes, more, size):
    reader = detection(scenes, more)
    ((data, _, _, boxes),) = batches(reader, 1)
    reader.close()
    assert data.shape[2:] == size
    if more.startswith(("resize", "short")):
        scale = 0.5 if "resize" in more else 96 / 40 if "ratio" in more else 1.6
        np.testing.assert_allclose(boxes[0, 3:5, 0, 0] - boxes[0, 1:3, 0, 0], 19 * scale)


def test_zoomed_and_mirrored_boxes_lie_where_their_pixels_do(scenes):
    """A black image with a white object: its pixels are found where its box is said to be."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:24, 12:36] = 255
    Image.fromarray(image).save(scenes / "a b.png")
    text = "# 0\na b.png\n3\n40\n60\n1\n1 0 0 12 8 36 24\n0\n"
    (scenes / "eight.txt").write_text(text)
    more = "low_scale_ratio: 0.5 high_scale_ratio: 3 multiscale_prob: 1 min_whaspect: 0.7 max_whaspect: 1.4"
    reader, sizes = detection(scenes, more, "mirror: true"), set()
    for data, _, _, boxes in batches(reader, 8):
        for pixels, box in zip(data, boxes[:, 1:5, 0, 0], strict=True):
            white = pixels[0] > 127
            rows, cols = np.nonzero(white.any(1))[0], np.nonzero(white.any(0))[0]
            seen = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])
            assert abs(seen - box.clip(0, [60, 40, 60, 40])).max() < 2
            sizes.add(round(float(box[2] - box[0])))
    reader.close()
    assert len(sizes) > 8


def test_image_gt_data_zooms_in_half_octaves(scenes):
    fields = "downsample_rate: 8 field_w: 16 field_h: 16 batch_size: 2 output_gt_boxes: true shuffle: true"
    fields += " do_multiple_scale: true min_scale: 10 max_scale: 40 crop_width: 48 crop_height: 32 fg_img_multiple: 3"
    text = f'source: "{scenes}/seven.txt" root_folder: "{scenes}/" scale: 0.5 {fields}'
    reader = layer(
        f'type: "ImageGtData" top: "data" top: "m" top: "boxes" image_gt_data_param {{ {text} }}', "TRAIN", 2
    )
    widths = []
    for data, answer, boxes in batches(reader, 8):
        assert data.shape == (2, 3, 32, 48) and answer.shape == (2, 6, 4, 6) and boxes.shape[1:] == (7, 1, 1)
        assert data.max() <= 127.5
        widths += [float(box[3] - box[1]) for box in boxes[:, :, 0, 0] if box[5] == 1 and box[3] > 2]
    assert reader.feed.source.count == 4  # the scene with an object three times
    reader.close()
    octaves = np.log2(np.array(widths) / 19) * 2
    np.testing.assert_allclose(octaves, octaves.round(), atol=1e-5)
    assert len(set(octaves.round())) > 2


def test_a_batch_without_boxes_has_a_row_all_the_same(scenes):
    (scenes / "eight.txt").write_text("# 0\nc.png\n3\n64\n32\n0\n0\n")
    reader = detection(scenes)
    ((_, _, _, boxes),) = batches(reader, 1)
    reader.close()
    assert boxes[:, :, 0, 0].tolist() == [[-1] * 8]


@pytest.mark.parametrize("shuffle", ["random_aspect", "random_mix_aspect"])
def test_upright_images_come_together(scenes, shuffle):
    kinds = "c.png\n3\n64\n32", "a b.png\n3\n40\n60"
    text = "".join(f"# {i}\n{kinds[i % 2]}\n0\n0\n" for i in range(8))
    (scenes / "eight.txt").write_text(text)
    reader = detection(scenes, f'shuffle: "{shuffle}" mix_group_size: 2')
    tall = [data.shape[2] > data.shape[3] for data, *_ in batches(reader, 8)]
    reader.close()
    for epoch in (tall[:4], tall[4:]):
        switches = sum(a != b for a, b in zip(epoch, epoch[1:], strict=False))
        assert sum(epoch) == 2 and switches == (1 if shuffle == "random_aspect" else 3)


@pytest.mark.independent("EvalData")
def test_eval_data_gives_whole_images_their_boxes_and_their_sizes(scenes):
    text = f'source: "{scenes}/eight.txt" root_folder: "{scenes}/" batch_size: 1 short_size: 64 long_size: 90'
    tops = 'top: "data" top: "boxes" top: "sizes"'
    reader = layer(
        f'type: "EvalData" {tops} eval_data_param {{ {text} }} transform_param {{ mean_value: 7 }}', "TEST", 1
    )
    (data, boxes, sizes), (other, none, _) = batches(reader, 2)
    reader.close()
    np.testing.assert_array_equal(data[0], resize(bgr(scenes, "a b.png"), 64, 96).transpose(2, 0, 1) - 7.0)
    assert sizes.ravel().tolist() == [64, 96] and other.shape == (1, 3, 96, 64) and none.ravel().tolist() == [-1] * 8
    np.testing.assert_allclose(boxes[0, :, 0, 0], [0, 16, 8, 46.4, 38.4, 1, 0, 1], rtol=1e-6)


def test_the_same_seed_draws_the_same_again(scenes):
    more, runs = "low_scale_ratio: 0.5 high_scale_ratio: 2 distort_param { brightness_prob: 1 brightness_delta: 9 }", []
    for _ in range(2):
        reader = detection(scenes, more, "mirror: true")
        runs.append(batches(reader, 3))
        reader.close()
    assert same(*runs)


def test_nets_are_sized_without_their_scenes():
    fields = f'source: "gone" {FIELDS}'
    for more, size in (("short_size: 64 long_size: 96", (96, 64)), ("crop_width: 48 crop_height: 32", (32, 48))):
        plan = Plan(
            f'layer {{ name: "d" type: "DetectionData" {TOPS} detection_data_param {{ {fields} {more} }} }}\n', "TRAIN"
        )
        maps = [(2, 6, round(size[0] / n), round(size[1] / n)) for n in (8, 16)]
        assert [value.shape for value in plan.values] == [(2, 3, *size), *maps, (1, 8, 1, 1)]
        plan.close()
    text = 'eval_data_param { source: "gone" batch_size: 1 short_size: 64 long_size: 96 }'
    plan = Plan(f'layer {{ name: "d" type: "EvalData" top: "x" top: "b" top: "s" {text} }}\n', "TEST")
    assert [value.shape for value in plan.values] == [(1, 3, 96, 64), (1, 8, 1, 1), (1, 2, 1, 1)]
    plan.close()


def test_mistakes_in_fields_and_images_are_told(scenes):
    with pytest.raises(GraphFault, match="3 tops: images, 2 maps and the true boxes are 4"):
        detection(scenes, tops='top: "data" top: "m" top: "n"')
    with pytest.raises(SchemaFault, match="give as many stride, field_h and field_w"):
        detection(scenes, "field_w: 9")
    with pytest.raises(SchemaFault, match='shuffle "all" is not known: one of random, random_aspect'):
        detection(scenes, 'shuffle: "all"')
    with pytest.raises(SchemaFault, match="min_scale 5, max_scale 0: give both"):
        detection(scenes, "min_scale: 5")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(scenes / "c.png")
    with pytest.raises(DataFault, match=r"c.png' \(.*eight.txt:13\): is 9 x 9, but listed as 64 x 32"):
        detection(scenes)
    (scenes / "c.png").unlink()
    with pytest.raises(DataFault, match=r"c.png' \(.*:13\): no such file"):
        detection(scenes)
    with pytest.raises(SchemaFault, match="batch_size 2: images come in different sizes"):
        layer('type: "EvalData" top: "x" top: "b" eval_data_param { source: "x" batch_size: 2 }', "TEST", 1)
