import numpy as np

from demitasse.models import sampling


def test_cells_are_kept_or_ignored_as_a_whole():
    labels = np.ones((1, 70, 90), np.uint8)
    kept = sampling.sample_loss(labels, 0.5, np.random.default_rng(0), cell=32)
    assert {int(kept[0, y, x]) for y in range(32) for x in range(32)} in ({1}, {255})
    many = sampling.sample_loss(np.ones((400, 400), np.uint8), 0.3, np.random.default_rng(1))
    assert abs((many == 1).mean() - 0.3) < 0.01
    assert (sampling.sample_loss(labels, 1.0, np.random.default_rng(0)) == labels).all()


def test_balance_thins_frequent_classes_to_the_median():
    labels = np.repeat(np.array([0, 1, 2, 255], np.uint8), [8000, 1000, 100, 500])
    counts = np.bincount(sampling.balance_loss(labels, np.random.default_rng(0)), minlength=256)
    assert abs(counts[0] - 1000) < 150 and counts[1] == 1000 and counts[2] == 100
    assert (sampling.balance_loss(np.full(5, 255, np.uint8), np.random.default_rng(0)) == 255).all()


def test_weights_are_median_frequency():
    assert sampling.class_weights([8, 4, 2, 0]).tolist() == [0.5, 1, 2, 0]
    matrix = sampling.infogain_matrix([8, 4, 2])
    assert matrix.shape == (1, 1, 3, 3) and matrix[0, 0].diagonal().tolist() == [0.5, 1, 2] and matrix.sum() == 3.5
