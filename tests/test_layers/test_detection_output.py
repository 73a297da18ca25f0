"""DetectionOutput: its boxes against OpenCV's, and what OpenCV has not."""

import json

import numpy as np
import pytest

from demitasse.proto.errors import DataFault, NetError, SchemaFault, ShapeFault
from tests.test_layers.building import build
from tests.test_layers.opencv import opencv_tops, our_tops

PRIORS = 60
NAMES = ["none_of_the_above", "7", "8", "9"]
NET = """
input: "loc" input_shape { dim: 1 dim: %d } input: "conf" input_shape { dim: 1 dim: %d }
input: "priors" input_shape { dim: 1 dim: 2 dim: 240 }
layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "d"
        detection_output_param { num_classes: 4 %s } }
"""


def predictions(images=1, boxes=1):
    """Locations, scores and priors of which many overlap."""
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 0.6, (PRIORS, 2))
    priors = np.concatenate([corner, corner + rng.uniform(0.2, 0.4, (PRIORS, 2))], axis=1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (PRIORS, 1))
    scores = rng.permutation(np.linspace(0, 1, images * PRIORS * 4)).reshape(images, -1)
    return {
        "loc": rng.standard_normal((images, PRIORS * boxes * 4)) * 0.5,
        "conf": scores,
        "priors": np.stack([priors.ravel(), variances.ravel()])[None],
    }


@pytest.mark.independent("DetectionOutput")
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE"])
@pytest.mark.parametrize(
    "fields",
    [
        "confidence_threshold: 0.2 nms_param { nms_threshold: 0.45 top_k: 30 } keep_top_k: 20",
        "confidence_threshold: 0.01 nms_param { nms_threshold: 0.3 top_k: 400 } keep_top_k: 200",
        "confidence_threshold: 0.01 nms_param { nms_threshold: 0.7 top_k: 10 } background_label_id: 2",
        "confidence_threshold: 0.1 nms_param { top_k: 50 nms_threshold: 0.4 } keep_top_k: 30 share_location: false",
    ],
)
def test_boxes_are_those_of_opencv(fields, code):
    each = 4 if "share_location: false" in fields else 1
    for field in ("background_label_id: 0", "share_location: true", "keep_top_k: 200"):  # OpenCV knows no defaults
        fields += "" if field.split(":")[0] in fields else f" {field}"
    inputs, text = predictions(boxes=each), NET % (PRIORS * each * 4, PRIORS * 4, f"{fields} code_type: {code}")
    (theirs,), (ours,) = opencv_tops(text, **inputs), our_tops(text, **inputs)
    theirs = theirs[0, 0][theirs[0, 0, :, 2] > 0]  # it fills its top up to keep_top_k
    ours, theirs = (rows[np.lexsort((rows[:, 2], rows[:, 1]))] for rows in (ours[0, 0], theirs))
    assert len(ours) > 10
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def detection_output(fields, inputs):
    text = f"type: 'DetectionOutput' {' '.join(f'bottom: {name!r}' for name in inputs)} top: 'd'"
    layer = build(f"{text} detection_output_param {{ num_classes: 4 {fields} }}", *(x.shape for x in inputs.values()))
    return layer, layer.forward(list(inputs.values()))[0][0, 0]


def test_images_of_a_batch_come_one_after_the_other_and_classes_within_them():
    _, rows = detection_output("confidence_threshold: 0.4 keep_top_k: 12", predictions(images=3))
    assert [int((rows[:, 0] == i).sum()) for i in range(3)] == [12] * 3
    for i in range(3):
        of_image = rows[rows[:, 0] == i]
        assert of_image[:, 1].tolist() == sorted(of_image[:, 1])
        for label in set(of_image[:, 1]):
            scores = of_image[of_image[:, 1] == label, 2]
            assert scores.tolist() == sorted(scores, reverse=True)


def test_nothing_found_is_a_row_for_each_image():
    _, rows = detection_output("confidence_threshold: 2", predictions(images=2))
    assert rows.tolist() == [[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]]


def test_corner_size_moves_corners_by_shares_of_the_prior():
    inputs = predictions()
    _, rows = detection_output("code_type: CORNER_SIZE nms_param { nms_threshold: 1 }", inputs)
    priors, variances = inputs["priors"].reshape(2, -1, 4)
    size = np.tile(priors[:, 2:] - priors[:, :2], 2)
    boxes = priors + inputs["loc"].reshape(-1, 4) * variances * size
    of_class = rows[rows[:, 1] == 1]
    best = np.argsort(-inputs["conf"].reshape(-1, 4)[:, 1])
    np.testing.assert_allclose(of_class[:, 3:], boxes[best])


def test_a_threshold_shrinks_by_eta_at_each_box_that_is_kept():
    """OpenCV's stays as it is."""
    priors = np.asarray(
        [[0, 0, 0.1, 1], [0, 0.0, 0.1, 0.75], [0.5, 0, 0.6, 1], [0.5, 0, 0.6, 0.75], [0.5, 0, 0.6, 0.6]]
    )
    inputs = {
        "loc": np.zeros((1, 20)),
        "conf": np.repeat([[0.9], [0.8], [0.7], [0.6], [0.5]], 4, axis=1).reshape(1, -1),
        "priors": np.stack([priors.ravel(), np.ones(20)])[None],
    }
    for eta, kept in ((1, 5), (0.9, 3), (0.7, 2)):
        _, rows = detection_output(f"nms_param {{ nms_threshold: 0.8 eta: {eta} }} keep_top_k: 99", inputs)
        assert (rows[:, 1] == 1).sum() == kept


def test_polygons_come_beside_their_boxes():
    inputs = predictions(images=2)
    rng = np.random.default_rng(6)
    deltas = rng.standard_normal((2, PRIORS, 8))
    with_polygons = np.concatenate([inputs["loc"].reshape(2, PRIORS, 4), deltas], axis=2).reshape(2, -1)
    fields = "code_type: CENTER_SIZE confidence_threshold: 0.3 nms_param { nms_threshold: 0.4 top_k: 20 } keep_top_k: 9"
    _, rows = detection_output(f"{fields} use_polygon: true", {**inputs, "loc": with_polygons})
    assert rows.shape[1] == 15 and np.array_equal(rows[:, :7], detection_output(fields, inputs)[1])
    priors, scores = inputs["priors"][0, 0].reshape(-1, 4), inputs["conf"].reshape(2, PRIORS, 4)
    for row in rows:
        image, label = row[:2].astype(int)
        (place,) = np.nonzero(scores[image, :, label] == row[2])[0]
        x1, y1, x2, y2 = priors[place]
        corners, size = np.array([x1, y1, x2, y1, x2, y2, x1, y2]), np.array([x2 - x1, y2 - y1])
        np.testing.assert_allclose(row[7:], corners + deltas[image, place] * 0.1 * np.tile(size, 4))
    with pytest.raises(ShapeFault, match="12 locations for each prior"):
        detection_output("use_polygon: true", {**inputs, "loc": inputs["loc"][:, :-1]})
    with pytest.raises(SchemaFault, match="use_polygon goes with share_location: true"):
        detection_output("use_polygon: true share_location: false", inputs)


def test_variance_in_the_target_leaves_locations_as_they_are():
    inputs = predictions()
    _, rows = detection_output("variance_encoded_in_target: true nms_param { nms_threshold: 1 }", inputs)
    boxes = inputs["priors"][0, 0].reshape(-1, 4) + inputs["loc"].reshape(-1, 4)
    np.testing.assert_allclose(rows[rows[:, 1] == 1, 3:], boxes[np.argsort(-inputs["conf"].reshape(-1, 4)[:, 1])])


def test_a_first_stage_refines_the_priors_and_drops_those_without_an_object():
    inputs = predictions()
    rng = np.random.default_rng(1)
    inputs["conf0"] = objects = rng.uniform(0, 1, (1, PRIORS * 2))
    inputs["loc0"] = shifts = rng.standard_normal((1, PRIORS * 4))
    fields = "confidence_threshold: 0.3 nms_param { nms_threshold: 1 } objectness_score: 0.5"
    _, rows = detection_output(fields, inputs)
    priors, variances = inputs["priors"].reshape(2, -1, 4)
    boxes = priors + (shifts + inputs["loc"]).reshape(-1, 4) * variances
    scores = inputs["conf"].reshape(-1, 4)[:, 2] * (objects.reshape(-1, 2)[:, 1] >= 0.5)
    expected = [(scores[i], *boxes[i]) for i in np.argsort(-scores) if scores[i] > 0.3]
    np.testing.assert_allclose(rows[rows[:, 1] == 2, 2:], expected)


@pytest.mark.parametrize(
    "fields, change, fault, words",
    [
        ("", {"loc": (1, 200)}, ShapeFault, r"60 priors \(bottom 2\) x 4 locations = 240 per image are expected"),
        ("", {"conf": (1, 200)}, ShapeFault, r"60 priors \(bottom 2\) x 4 scores = 240 per image are expected"),
        ("share_location: false", {}, ShapeFault, "x 4 x 4 locations = 960"),
        ("", {"conf": (2, 240)}, ShapeFault, "1 images of locations .bottom 0., but 2 of scores"),
        ("", {"priors": (1, 240)}, ShapeFault, "prior boxes and their variances"),
        ("save_output_param { output_directory: 'x' output_format: 'TXT' }", {}, SchemaFault, "VOC or COCO"),
    ],
)
def test_mistakes(fields, change, fault, words):
    inputs = {name: np.zeros(change.get(name, x.shape)) for name, x in predictions().items()}
    with pytest.raises(fault, match=words):
        detection_output(fields, inputs)


def test_num_classes_is_needed():
    with pytest.raises(NetError, match="num_classes is missing"):
        build("type: 'DetectionOutput' bottom: 'a' bottom: 'b' bottom: 'c' top: 'd'", (1, 8), (1, 4), (1, 2, 8))


@pytest.fixture
def saving(tmp_path):
    (tmp_path / "labels.prototxt").write_text(
        "".join(
            f'item {{ name: "{name}" label: {i} }}\n' for i, name in enumerate(["none_of_the_above", "7", "8", "9"])
        )
    )
    (tmp_path / "sizes.txt").write_text("a_000012 100 200\nb 50 40\nc 10 10\n")
    return (
        f"save_output_param {{ output_directory: '{tmp_path}/out' output_name_prefix: 'det_' output_format: '%s' "
        f"label_map_file: '{tmp_path}/labels.prototxt' name_size_file: '{tmp_path}/sizes.txt' num_test_image: 2 }}"
    )


def test_results_are_written_as_voc_has_them(saving, tmp_path):
    inputs = predictions(images=2)
    _, rows = detection_output("confidence_threshold: 0.9 " + saving % "VOC", inputs)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["det_7.txt", "det_8.txt", "det_9.txt"]
    lines = [line.split() for line in (tmp_path / "out" / "det_8.txt").read_text().splitlines()]
    of_class = rows[rows[:, 1] == 2]
    assert [line[0] for line in lines] == [["a_000012", "b"][int(i)] for i in of_class[:, 0]]
    sizes = np.asarray([[200, 100, 200, 100], [40, 50, 40, 50]])[of_class[:, 0].astype(int)]
    written = np.asarray([line[1:] for line in lines], float)
    np.testing.assert_allclose(written[:, 0], of_class[:, 2], atol=1e-6)
    np.testing.assert_allclose(written[:, 1:], of_class[:, 3:].clip(0, 1) * sizes, atol=1e-3)


def test_results_are_written_as_coco_has_them_when_all_images_have_come(saving, tmp_path):
    inputs = predictions(images=1)
    layer, rows = detection_output("confidence_threshold: 0.9 " + saving % "COCO", inputs)
    assert not (tmp_path / "out").exists()
    layer.forward(list(inputs.values()))
    found = json.loads((tmp_path / "out" / "det_.json").read_text())
    assert len(found) == 2 * len(rows)
    assert found[0]["image_id"] == 12 and found[-1]["image_id"] == "b"
    assert {entry["category_id"] for entry in found} == {int(label) + 6 for label in rows[:, 1]}


def test_files_of_the_author_s_machine_are_a_warning_and_a_broken_line_a_fault(saving, tmp_path):
    with pytest.warns(UserWarning, match="no results are written to 'out': label_map_file 'gone' does not exist"):
        detection_output(
            "save_output_param { output_directory: 'out' output_format: 'VOC' label_map_file: 'gone' }", predictions()
        )
    (tmp_path / "sizes.txt").write_text("a_000012 100\n")
    with pytest.raises(DataFault, match="sizes.txt:1: 'a_000012 100' is not a name, a height and a width"):
        detection_output(saving % "VOC", predictions())
