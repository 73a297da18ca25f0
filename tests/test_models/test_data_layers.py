"""Every data layer on a miniature data set in its real format; order, restart, shards; faults that name the file."""

import random

import numpy as np
import pytest
import scipy.io
from PIL import Image

from demitasse.layers.data.feed import Feed, stack_padded
from demitasse.models.data.ade20k_layers import ADE20KSegDataLayer
from demitasse.models.data.cityscapes_layers import CityscapesSegDataLayer
from demitasse.models.data.nyud_layers import NYUDSegDataLayer
from demitasse.models.data.pascalcontext_layers import PASCALContextSegDataLayer
from demitasse.models.data.scene_layers import SceneSegDataLayer
from demitasse.models.data.seg_layer import Samples
from demitasse.models.data.siftflow_layers import SIFTFlowSegDataLayer
from demitasse.models.data.voc_layers import SBDDSegDataLayer, VOCSegDataLayer
from demitasse.proto.errors import DataFault, LabelFault
from tests.test_models import minis
from tests.test_models.data_layers import Run


def test_voc(tmp_path):
    run = Run(
        VOCSegDataLayer,
        voc_dir=str(minis.voc(tmp_path, split="seg11valid")),
        split="seg11valid",
        mean=(104.00699, 116.66877, 122.67892),
        seed=1337,
    )
    data, label = run.step()
    rgb = np.asarray(Image.open(tmp_path / "JPEGImages/a1.jpg"), np.float32)
    assert data.shape == (1, 3, 20, 24) and label.shape == (1, 1, 20, 24)
    assert np.allclose(data[0, 0], rgb[:, :, 2] - 104.00699) and np.allclose(data[0, 2], rgb[:, :, 0] - 122.67892)
    assert (label[0, 0, 0] == 255).all() and label[0, 0, 1:].max() <= 20
    assert run.names(4) == ["a2", "a3", "a1", "a2"]


def test_sbdd_draws_as_the_originals_do(tmp_path):
    run = Run(SBDDSegDataLayer, sbdd_dir=str(minis.sbdd(tmp_path)), split="train", seed=1337)
    original = random.Random(1337)
    assert run.names(20) == [("b1", "b2", "b3")[original.randint(0, 2)] for _ in range(20)]
    _, label = run.step()
    stored = scipy.io.loadmat(tmp_path / f"cls/{run.layer.delivered[0]}.mat")["GTcls"][0]["Segmentation"][0]
    assert np.array_equal(label[0, 0], stored)


def test_nyud(tmp_path):
    minis.nyud(tmp_path)
    run = Run(NYUDSegDataLayer, 4, nyud_dir=str(tmp_path), split="test", tops=["color", "depth", "hha", "label"])
    color, depth, hha, label = run.step()
    assert color.shape == hha.shape == (1, 3, 18, 26) and depth.shape == label.shape == (1, 1, 18, 26)
    stored = np.asarray(Image.open(tmp_path / "data/depth/img_5001.png"), np.float32)
    assert np.allclose(depth[0, 0], np.log(stored) - 7.844, atol=1e-5)
    picture = np.asarray(Image.open(tmp_path / "data/hha/img_5001.png"), np.float32)
    assert np.allclose(hha[0, 0], picture[:, :, 0] - 132.431, atol=1e-4)
    stored = scipy.io.loadmat(tmp_path / "segmentation/img_5001.mat")["segmentation"]
    assert np.array_equal(label[0, 0], np.where(stored == 0, 255, stored.astype(int) - 1))


def test_nyud_trainval_is_made_of_train_and_val(tmp_path):
    run = Run(NYUDSegDataLayer, 2, nyud_dir=str(minis.nyud(tmp_path)), split="trainval", tops=["color", "label"])
    assert len(run.layer.indices) == 4 and run.layer.random


def test_siftflow(tmp_path):
    run = Run(SIFTFlowSegDataLayer, 3, siftflow_dir=str(minis.siftflow(tmp_path)), split="test")
    _, sem, geo = run.step()
    assert set(np.unique(geo)) == {0, 1, 2, 255}
    stored = scipy.io.loadmat(tmp_path / f"SemanticLabels/{minis.SCENES}/coast_1.mat")["S"]
    assert np.array_equal(sem[0, 0], np.where(stored == 0, 255, stored.astype(int) - 1))


def test_pascal_context(tmp_path):
    minis.pascalcontext(tmp_path)
    run = Run(
        PASCALContextSegDataLayer,
        voc_dir=str(tmp_path / "pascal"),
        context_dir=str(tmp_path / "pascal-context"),
        split="val",
        seed=1337,
    )
    _, label = run.step()
    stored = scipy.io.loadmat(tmp_path / "pascal-context/trainval/2008_1.mat")["LabelMap"].astype(int)
    assert np.array_equal(label[0, 0], np.where((stored % 4 == 0) & (stored <= 236), stored // 4, 0))


def test_cityscapes(tmp_path):
    root = str(minis.cityscapes(tmp_path))
    run = Run(CityscapesSegDataLayer, cityscapes_dir=root, split="train", randomize=False)
    data, label = run.step()
    assert run.layer.delivered == ["bern/bern_000001_000019"] and data.shape == (1, 3, 16, 32)
    stored = np.asarray(Image.open(tmp_path / "gtFine/train/bern/bern_000001_000019_gtFine_labelIds.png"))
    assert set(np.unique(label[0, 0][stored == 7])) == {0} and set(np.unique(label[0, 0][stored == 33])) == {18}
    assert set(np.unique(label[0, 0][stored < 7])) == {255} and len(run.layer.names_of("label")) == 19
    with pytest.raises(DataFault, match="leftImg8bit/test: there are no .*_leftImg8bit.png"):
        Run(CityscapesSegDataLayer, cityscapes_dir=root, split="test")


def test_ade20k(tmp_path):
    root = minis.ade20k(tmp_path)
    run = Run(ADE20KSegDataLayer, ade_dir=str(root), split="training", randomize=False)
    data, label = run.step()
    assert run.layer.delivered == ["ADE_train_00000001.jpg"] and data.shape == (1, 3, 12, 14)
    stored = np.asarray(Image.open(root / "annotations/training/ADE_train_00000001.png")).copy()
    assert np.array_equal(label[0, 0], np.where(stored == 0, 255, stored - 1.0)) and {0, 255} <= set(np.unique(label))
    assert run.layer.names_of("label")[:2] == ["thing 1", "thing 2"] and len(run.layer.names_of("label")) == 150


def test_ade20k_is_cut_and_mirrored_in_training_only(tmp_path):
    minis.ade20k(tmp_path)
    root = str(minis.ade20k(tmp_path, ("ADE_val_00000001",), split="validation"))
    drawn = Run(ADE20KSegDataLayer, ade_dir=root, split="training", crop=(8, 8), mirror=True, seed=1)
    assert drawn.step()[0].shape == (1, 3, 8, 8) and len({drawn.step()[0].tobytes() for _ in range(8)}) > 2
    still = Run(ADE20KSegDataLayer, ade_dir=root, split="validation", crop=(8, 8), mirror=True, seed=1)
    assert len({still.step()[0].tobytes() for _ in range(3)}) == 1


def test_faults_of_ade20k(tmp_path):
    root = minis.ade20k(tmp_path)
    with pytest.raises(DataFault, match="images/train: no such folder"):
        Run(ADE20KSegDataLayer, ade_dir=str(root), split="train")
    Image.fromarray(np.full((12, 14), 151, np.uint8)).save(root / "annotations/training/ADE_train_00000001.png")
    with pytest.raises(LabelFault, match="ADE_train_00000001.png: label 151 "):
        Run(ADE20KSegDataLayer, ade_dir=str(root), split="training", randomize=False).step()


def test_scenes_are_drawn_on_first_use(tmp_path):
    run = Run(SceneSegDataLayer, voc_dir=str(tmp_path / "d"), train=4, val=2, size=(32, 32), batch_size=2, seed=1)
    data, label = run.step()
    assert data.shape == (2, 3, 32, 32) and label.shape == (2, 1, 32, 32) and len(run.layer.indices) == 4


# Order, restart, shards


def numbers(shuffle, seed, batch=2, count=5):
    """A feed whose samples are their index and a draw."""
    source = Samples(range(count), lambda i, rng: (np.array([i, rng.random()]),))
    source.shuffle, source.seed = shuffle, seed
    return Feed(source, batch, 2)


@pytest.mark.parametrize("shuffle", [False, True])
def test_restart_is_exact(shuffle):
    one, other = numbers(shuffle, 7), numbers(shuffle, 99)
    for _ in range(7):
        one.next()
    other.restart(one.item, 7)
    for _ in range(5):
        assert np.array_equal(one.next().arrays[0], other.next().arrays[0])
    one.close()
    other.close()


@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_together_see_what_one_worker_sees(shuffle):
    def make(rank, size, batch):
        feed = numbers(shuffle, 3, batch, 7)
        feed.shard(rank, size)
        return feed

    alone, workers = make(0, 1, 4), [make(rank, 2, 2) for rank in range(2)]
    for step in range(6):
        if step == 3:  # one of them restarts in between
            fresh = make(1, 2, 2)
            fresh.restart(workers[1].item, 3)
            workers[1].close()
            workers[1] = fresh
        whole, parts = alone.next().arrays[0], [worker.next().arrays[0] for worker in workers]
        assert np.array_equal(whole, np.stack(parts, axis=1).reshape(whole.shape))
    for feed in (alone, *workers):
        feed.close()


def test_two_layers_do_not_disturb_each_other(tmp_path):
    root = str(minis.voc(tmp_path))
    alone = Run(VOCSegDataLayer, voc_dir=root, split="train", seed=1).names(10)
    one, other = (Run(VOCSegDataLayer, voc_dir=root, split="train", seed=1) for _ in range(2))
    both = [(one.names(1)[0], other.names(1)[0]) for _ in range(10)]
    assert both == list(zip(alone, alone, strict=True))


def test_batches_of_unequal_images_are_filled_up():
    samples = [((np.ones((1, 2, 3)),), "wide"), ((np.ones((1, 3, 2)),), "high")]
    (batch,) = stack_padded(samples, [255])
    assert batch.shape == (2, 1, 3, 3) and batch[0, 0, 2, 0] == 255 and batch[1, 0, 2, 1] == 1


def test_another_data_set_cannot_be_resumed(tmp_path):
    layer = Run(VOCSegDataLayer, voc_dir=str(minis.voc(tmp_path)), split="train", seed=1).layer
    with pytest.raises(DataFault, match="had 4 samples, this data set has 3"):
        layer.load_state({**layer.state(), "count": 4})
