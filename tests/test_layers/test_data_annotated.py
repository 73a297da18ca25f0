"""AnnotatedData: boxes stay on what they are drawn around, through every change of the image."""

import numpy as np
import pytest

from demitasse.layers.data.database_writer import create_database
from demitasse.layers.data.images import encode_image
from demitasse.layers.layer import layer_class
from demitasse.proto import messages
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.messages import AnnotatedDatum
from demitasse.proto.text import parse
from tests.test_layers.data_sets import batches, layer, same, write_database

pytest.importorskip("lmdb")  # what it reads is written with it
DARK, BRIGHT = 40, 230


def record(image, boxes, encoding=None):
    """The bytes of an AnnotatedDatum: boxes of (label, x1, y1, x2, y2, difficult) in pixels."""
    made = AnnotatedDatum(type=AnnotatedDatum.BBOX)
    height, width, channels = image.shape
    if encoding:
        made.datum.encoded, made.datum.data = True, encode_image(image, encoding)
    else:
        made.datum.channels, made.datum.height, made.datum.width = channels, height, width
        made.datum.data = image.transpose(2, 0, 1).tobytes()
    for label, x1, y1, x2, y2, difficult in boxes:
        group = made.annotation_group.add(group_label=label)
        box = group.annotation.add(instance_id=len(made.annotation_group) - 1).bbox
        box.xmin, box.ymin, box.xmax, box.ymax = x1 / width, y1 / height, x2 / width, y2 / height
        box.difficult = difficult
    return made.SerializeToString()


def scene(rng):
    """A dark image with a bright rectangle, and the rectangle's box."""
    height, width = (int(side) for side in rng.integers(40, 70, 2))
    x1, y1 = int(rng.integers(width // 2)), int(rng.integers(height // 2))
    x2, y2 = int(rng.integers(x1 + 10, width + 1)), int(rng.integers(y1 + 10, height + 1))
    image = np.full((height, width, 3), DARK, np.uint8)
    image[y1:y2, x1:x2] = BRIGHT
    return image, (3, x1, y1, x2, y2, False)


@pytest.fixture
def scenes(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "db"
    with create_database(str(path), "lmdb") as database:
        for i in range(6):
            image, box = scene(rng)
            database.put(b"%d" % i, record(image, [box], "png" if i % 2 else None))
    return path


def annotated(source, transform="", samplers="", batch=3, phase="TRAIN", seed=1):
    text = f"""name: "d" type: "AnnotatedData" top: "data" top: "label" transform_param {{ {transform} }}
        data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }} annotated_data_param {{ {samplers} }}"""
    return layer(text, phase, seed)


RESIZE = "resize_param { height: 50 width: 60 interp_mode: LINEAR interp_mode: AREA interp_mode: CUBIC }"
SAMPLER = """batch_sampler { max_sample: 1 max_trials: 1 }
batch_sampler { sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
  sample_constraint { min_jaccard_overlap: 0.1 } max_sample: 1 max_trials: 50 }"""
CHANGES = [
    "",
    "mirror: true",
    "expand_param { prob: 1 max_expand_ratio: 3 }",
    "mirror: true expand_param { max_expand_ratio: 2 } emit_constraint { emit_type: CENTER } mean_value: 40",
    "distort_param { brightness_prob: 1 brightness_delta: 20 hue_prob: 1 hue_delta: 18 random_order_prob: 0.5 }",
    "crop_h: 40 crop_w: 55",
]


@pytest.mark.independent("AnnotatedData")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("samplers", ["", SAMPLER])
def test_boxes_stay_on_their_objects(scenes, change, samplers):
    """In what comes out, a pixel is bright if and only if it is in the box, to a pixel and a half at its border."""
    data = annotated(scenes, RESIZE + change, samplers)
    found = 0
    for images, labels in batches(data, 8):
        rows = labels[0, 0]
        assert labels.shape[:2] == (1, 1) and labels.shape[3] == 8
        for item, image in enumerate(images):
            height, width = image.shape[1:]
            bright = image.mean(axis=0) > image.mean(axis=0).min() + 90
            boxes = rows[rows[:, 0] == item]
            if not len(boxes):
                assert bright.mean() < 0.6  # cut away but for a rest whose centre is outside
                continue
            (_, label, instance, x1, y1, x2, y2, difficult) = boxes[0]
            assert (label, instance, difficult) == (3, 0, 0) and 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
            y, x = np.nonzero(bright)
            edges = np.array([x1 * width, y1 * height, x2 * width, y2 * height])
            assert np.abs(edges - [x.min(), y.min(), x.max() + 1, y.max() + 1]).max() < 2.6
            found += 1
    assert found > 15
    data.close()


def test_without_changes_the_record_comes_out(scenes):
    data = annotated(scenes, batch=1, phase="TEST")
    image, box = scene(np.random.default_rng(0))
    pixels, labels = data.forward([])
    assert np.array_equal(pixels[0], image.transpose(2, 0, 1))
    height, width = image.shape[:2]
    assert np.allclose(labels[0, 0], [[0, 3, 0, box[1] / width, box[2] / height, box[3] / width, box[4] / height, 0]])
    data.close()


def test_restarts_repeat_the_bits_and_seeds_differ(scenes):
    change = RESIZE + CHANGES[3]
    one, other = annotated(scenes, change, SAMPLER), annotated(scenes, change, SAMPLER, seed=2)
    batches(one, 3)
    other.load_state(one.state())
    expected = batches(one, 3)
    assert same(expected, batches(other, 3))
    assert not same(expected, batches(annotated(scenes, change, SAMPLER, seed=5), 3))


def test_images_without_boxes_and_difficult_ones(tmp_path):
    image = np.full((20, 30, 3), DARK, np.uint8)
    two = [(1, 3, 2, 15, 12, True), (7, 0, 0, 30, 20, False), (2, 5, 5, 5, 9, False)]  # the last has no area
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for i, boxes in enumerate([[], two, []]):
            database.put(b"%d" % i, record(image, boxes))
    data = annotated(tmp_path / "db", batch=3)
    labels = data.forward([])[1][0, 0]
    assert labels[:, [0, 1, 2, 7]].tolist() == [[1, 1, 0, 1], [1, 7, 1, 0]]
    data.close()
    data = annotated(tmp_path / "db", batch=1)
    assert (data.forward([])[1] == -1).all()
    data.close()


def test_mistakes_are_told(scenes, tmp_path):
    with pytest.raises(SchemaFault, match="resize_param: height 3 and width 0: give both"):
        annotated(scenes, "resize_param { height: 3 }")
    with pytest.raises(SchemaFault, match="max_scale 2: they must lie between 0 and 1"):
        annotated(scenes, samplers="batch_sampler { sampler { max_scale: 2 } }")
    with pytest.raises(ShapeFault, match="give transform_param { resize_param { } }, or use batch_size 1"):
        annotated(scenes, batch=6).forward([])
    plain = write_database(tmp_path / "plain", np.zeros((2, 3, 8, 8), np.uint8), [1, 2])
    with pytest.raises(DataFault, match="key '00000000' of .*plain: not an AnnotatedDatum.*convert_annoset"):
        annotated(plain)
    with pytest.raises(SchemaFault, match="this type of layer does not read expand_param"):
        layer(f'type: "Data" top: "d" data_param {{ source: "{plain}" }} transform_param {{ expand_param {{ }} }}')


def test_labels_of_darknet(scenes):
    data = annotated(scenes, "resize_param { height: 30 width: 40 }", "yolo_data_type: 1 yolo_data_jitter: 0")
    _, labels = data.forward([])
    _, box = scene(np.random.default_rng(0))
    image, _ = scene(np.random.default_rng(0))
    height, width = image.shape[:2]
    assert labels.shape == (3, 1, 300, 5) and not labels[:, :, 1:].any()
    _, x1, y1, x2, y2, _ = box
    expected = [2, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    assert np.allclose(labels[0, 0, 0], expected, atol=1e-6)
    data.close()


@pytest.mark.parametrize("more, classes", [("", [6]), ("train_diffcult: true", [0, 6])])
def test_difficult_objects_of_darknet(tmp_path, more, classes):
    image = np.full((20, 30, 3), DARK, np.uint8)
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        database.put(b"0", record(image, [(1, 3, 2, 15, 12, True), (7, 0, 0, 30, 20, False)]))
    data = annotated(tmp_path / "db", "", f"yolo_data_type: 1 yolo_data_jitter: 0 {more}", batch=1)
    labels = data.forward([])[1][0, 0]
    assert labels[labels[:, 3] > 0, 0].tolist() == classes
    data.close()


def test_a_batch_has_one_of_several_sizes(scenes):
    sizes = "".join(f"resize_param {{ prob: 0.25 height: {side} width: {side} }} " for side in (16, 24, 32, 40))
    data = annotated(scenes, sizes, batch=2)
    found = {images.shape for images, _ in batches(data, 40)}
    assert found == {(2, 3, side, side) for side in (16, 24, 32, 40)}
    data.close()


def test_a_net_is_sized_without_its_database():
    text = """type: "AnnotatedData" top: "data" top: "label" data_param { source: "nowhere" batch_size: 4 }
        transform_param { resize_param { height: 30 width: 40 } %s } annotated_data_param { %s }"""
    for transform, annotated_fields, shapes in (
        ("", "", [(4, 3, 30, 40), (1, 1, 4, 8)]),
        ("crop_size: 20", "", [(4, 3, 20, 20), (1, 1, 4, 8)]),
        ("force_gray: true", "yolo_data_type: 1", [(4, 1, 30, 40), (4, 1, 300, 5)]),
    ):
        net = parse(f"layer {{ {text % (transform, annotated_fields)} }}", messages.NetParameter)[0]
        made = layer_class("AnnotatedData")(net.layer[0])
        assert made.setup([]) == [] and made.infer([]) == shapes and made.stream() is None
        made.close()


LABELS = "item { name: 'sky' } item { name: 'car' label_id: 2 } item { name: 'van' label_id: 2 } item { label_id: 1 }"


@pytest.fixture
def labelled(tmp_path):
    """Scenes whose records have label images: 1 (a car) where it is bright, 3 in the first row."""
    rng = np.random.default_rng(0)
    (tmp_path / "map").write_text(LABELS)
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for i in range(4):
            image, box = scene(rng)
            made = AnnotatedDatum.FromString(record(image, [box]))
            labels = (image[:, :, :1] == BRIGHT).astype(np.uint8)
            labels[0] = 3
            made.type, made.datum.seg_label = AnnotatedDatum.BBOXandSeg, encode_image(labels, "png")
            database.put(b"%d" % i, made.SerializeToString())
    return tmp_path


def segmented(folder, transform, fields, phase="TRAIN"):
    text = f"""name: "d" type: "AnnotatedData" top: "data" top: "label" top: "maps" transform_param {{ {transform} }}
        data_param {{ source: "{folder}/db" batch_size: 2 }}
        annotated_data_param {{ label_map_file: "{folder}/map" {fields} }}"""
    return layer(text, phase, 1)


@pytest.mark.parametrize("change", CHANGES)
def test_maps_of_labels_lie_where_the_labelled_pixels_do(labelled, change):
    data = segmented(labelled, RESIZE + change, SAMPLER)
    assert data.infer([])[2] == (2, 2, *data.infer([])[0][2:])
    for images, _, maps in batches(data, 8):
        for image, (first_row, cars) in zip(images, maps, strict=True):
            bright = image.mean(axis=0) > image.mean(axis=0).min() + 90
            assert cars.min() >= 0 and cars.max() <= 1.0001
            assert ((cars > 0.5) != bright).mean() < 0.12 and (first_row > 0.5).mean() < 0.2
    data.close()


def test_maps_are_reduced_by_area_and_known_without_the_data(labelled):
    whole = "resize_param { height: 48 width: 64 }"
    fine, coarse = (
        next(iter(batches(segmented(labelled, whole, fields, "TEST"), 1)))[2] for fields in ("", "seg_scales: 8")
    )
    assert coarse.shape == (2, 2, 6, 8)
    assert np.allclose(coarse, fine.reshape(2, 2, 6, 8, 8, 8).mean(axis=(3, 5)), atol=1e-5)
    only = next(iter(batches(segmented(labelled, whole, "single_class: true", "TEST"), 1)))[2]
    assert only.shape == (2, 1, 48, 64) and np.allclose(255 * only[:, 0], fine[:, 1] + 3 * fine[:, 0], atol=1e-4)
    spec = segmented(labelled, whole, "seg_resize_width: 5 seg_resize_height: 7").spec
    spec.data_param.source = "gone"
    sized = layer_class("AnnotatedData")(spec, 1)
    sized.setup([])
    assert sized.infer([])[2] == (2, 2, 7, 5)


def test_a_record_without_a_label_image_has_no_maps(scenes, tmp_path):
    (tmp_path / "map").write_text(LABELS)
    with pytest.raises(DataFault, match="no label image"):
        segmented(tmp_path, RESIZE, "").forward([])
    (tmp_path / "map").write_text("item { name: 'car' label: 2 }")
    with pytest.raises(SchemaFault, match="gives no label_id"):
        segmented(tmp_path, RESIZE, "")
