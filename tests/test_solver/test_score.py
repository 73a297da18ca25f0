from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.proto.errors import LabelFault, ShapeFault
from demitasse.solver import score

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def test_the_four_metrics_of_a_matrix_worked_by_hand():
    result = score.scores(np.array([[6, 2], [1, 3]]))
    assert result.pixel_accuracy == pytest.approx(9 / 12)
    assert result.mean_accuracy == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert result.mean_iu == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert result.weighted_iu == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)


def test_rows_are_the_truth_and_255_counts_nowhere():
    matrix = score.confusion([[0, 0, 1, 255]], [[0, 1, 1, 1]], 2)
    assert matrix.tolist() == [[1, 1], [0, 1]]


def test_absent_classes():
    matrix = np.array([[4, 0, 1, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])  # 2 only predicted, 3 nowhere
    assert score.scores(matrix).mean_iu == pytest.approx((4 / 5 + 1 + 0) / 3)
    assert score.scores(matrix, present_only=True).mean_iu == pytest.approx((4 / 5 + 1) / 2)
    assert np.isnan(score.scores(matrix).class_iu[3])
    assert np.isnan(score.scores(np.zeros((3, 3))).mean_iu)


def test_arrays_of_any_leading_ones_are_accepted_and_others_refused():
    scores = np.arange(24.0).reshape(1, 2, 3, 4)
    assert score.best_class(scores).tolist() == np.ones((3, 4)).tolist()
    assert score.best_class(scores[0]).shape == (3, 4)
    assert score.label_map(np.full((1, 1, 3, 4), 2.0, np.float32)).dtype == np.int64
    with pytest.raises(ShapeFault):
        score.best_class(np.zeros((2, 2, 3, 4)))
    with pytest.raises(ShapeFault):
        score.label_map(np.zeros((2, 1, 3, 4)))
    with pytest.raises(ShapeFault, match="3 true labels but 4"):
        score.confusion(np.zeros(3), np.zeros(4), 2)
    with pytest.raises(LabelFault, match="0 to 7, but there are 3"):
        score.confusion(np.zeros(2, int), np.array([0, 7]), 3)


def test_the_table_names_every_class():
    text = score.table(score.scores(np.array([[6, 2], [1, 3]])), ["sky"])
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["sky", "1"]


def test_a_truth_of_fewer_than_two_classes_is_told():
    one = score.scores(np.array([[9, 0], [0, 0]]))
    assert one.pixel_accuracy == 1 and "is class 0 (sky): calling everything so would score 1" in score.doubt(
        one, ["sky"]
    )
    assert "no pixel of the truth has a class" in score.doubt(score.scores(np.zeros((2, 2))))
    assert score.doubt(score.scores(np.array([[9, 0], [1, 0]]))) == ""


@pytest.mark.skipif(not (SHARED / "data/fcn-demo").exists(), reason="needs ../shared/data/fcn-demo")
def test_the_authors_published_output_has_the_published_scores():
    from demitasse.models.palette import PALETTE

    folder = SHARED / "data/fcn-demo"
    truth = np.asarray(Image.open(folder / "label.png"))
    picture = np.asarray(Image.open(folder / "output.png").convert("RGB"))
    prediction = np.full(truth.shape, -1)
    for c in range(21):
        prediction[(picture == PALETTE[c]).all(axis=-1)] = c
    result = score.scores(score.confusion(truth, prediction, 21))
    assert round(result.pixel_accuracy, 4) == 0.8425
    assert [round(result.class_iu[c], 3) for c in (0, 2, 15)] == [0.777, 0.662, 0.719]
