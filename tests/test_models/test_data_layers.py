"""Every data layer on a miniature data set in its real format; order, restart, shards; faults that name the file."""

import random
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from demitasse.layers.data.feed import Feed, stack_padded
from demitasse.models.data.cityscapes_layers import CityscapesSegDataLayer
from demitasse.models.data.folder_layers import FolderSegDataLayer
from demitasse.models.data.nyud_layers import NYUDSegDataLayer
from demitasse.models.data.pascalcontext_layers import PASCALContextSegDataLayer
from demitasse.models.data.scene_layers import SceneSegDataLayer
from demitasse.models.data.seg_layer import Samples
from demitasse.models.data.siftflow_layers import SIFTFlowSegDataLayer
from demitasse.models.data.voc_layers import SBDDSegDataLayer, VOCSegDataLayer
from demitasse.netdef.net import Net
from demitasse.proto.errors import DataFault, GraphFault, LabelFault, SchemaFault
from tests.test_models import minis


class Top:
    def reshape(self, *shape):
        self.data = np.zeros(shape, np.float32)


class Run:
    """A layer driven as a net drives it: set up and reshaped once, then reshape and forward for every pass."""

    def __init__(self, layer_class, count=2, **options):
        self.layer = layer_class.__new__(layer_class)
        self.layer.param_str = repr(options)
        self.tops = [Top() for _ in range(count)]
        self.layer.setup([], self.tops)
        self.layer.reshape([], self.tops)

    def step(self):
        self.layer.reshape([], self.tops)
        self.layer.forward([], self.tops)
        return [top.data.copy() for top in self.tops]

    def names(self, n):
        return [self.step() and self.layer.delivered[0] for _ in range(n)]


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


def test_scenes_are_drawn_on_first_use(tmp_path):
    run = Run(SceneSegDataLayer, voc_dir=str(tmp_path / "d"), train=4, val=2, size=(32, 32), batch_size=2, seed=1)
    data, label = run.step()
    assert data.shape == (2, 3, 32, 32) and label.shape == (2, 1, 32, 32) and len(run.layer.indices) == 4


def test_folder_with_gray_and_rgba_images(tmp_path):
    root = minis.folder(tmp_path)
    minis.picture(root / "images/q.png", (20, 24), 5, "L")
    minis.picture(root / "images/r.png", (20, 24), 6, "RGBA")
    minis.picture(root / "images/unlabelled.png", (20, 24), 6)
    run = Run(
        FolderSegDataLayer,
        images=str(root / "images"),
        labels=str(root / "labels"),
        classes=str(root / "classes.txt"),
        randomize=False,
        mean=(0, 0, 0),
    )
    assert run.names(3) == ["p.jpg", "q.png", "r.png"]
    data, _ = run.step()
    run.step()
    gray = run.tops[0].data
    assert data.shape == (1, 3, 20, 24) and np.array_equal(gray[0, 0], gray[0, 2])


def test_folder_with_photos_of_a_turned_camera(tmp_path):
    """The label is of the picture as it is shown, or, where only that fits, as it is stored."""
    root = minis.folder(tmp_path, names=("p.png",))
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3, "mean": (0, 0, 0)}
    stored = np.zeros((20, 24, 3), np.uint8)
    stored[0] = 200
    note = Image.Exif()
    for orientation, shown in ((6, np.rot90(stored, -1)), (8, np.rot90(stored)), (3, stored[::-1, ::-1])):
        note[0x112] = orientation
        Image.fromarray(stored).save(root / "images/p.png", exif=note)
        Image.fromarray(np.zeros(shown.shape[:2], np.uint8)).save(root / "labels/p.png")
        data, _ = Run(FolderSegDataLayer, **where).step()
        assert np.array_equal(data[0].transpose(1, 2, 0), shown)
    note[0x112] = 6
    Image.fromarray(stored).save(root / "images/p.png", exif=note)
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(root / "labels/p.png")
    data, _ = Run(FolderSegDataLayer, **where).step()
    assert np.array_equal(data[0].transpose(1, 2, 0), stored)


def test_folder_with_labels_of_16_bits(tmp_path):
    root = minis.folder(tmp_path, names=("p.png",))
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    wide = np.arange(480, dtype=np.uint16).reshape(20, 24) % 3
    wide[0, 0] = 255
    Image.fromarray(wide).save(root / "labels/p.png")
    assert np.array_equal(Run(FolderSegDataLayer, **where).step()[1][0, 0], wide)
    wide[3, 4] = 300
    Image.fromarray(wide).save(root / "labels/p.png")
    with pytest.raises(LabelFault, match="p.png: label 300 is no class"):
        Run(FolderSegDataLayer, **where).step()


def test_folder_resize_crop_mirror_and_sampling_keep_image_and_label_together(tmp_path):
    root = minis.folder(tmp_path, names=("p.png",))
    label = np.zeros((20, 24), np.uint8)
    label[:, 12:] = 1
    label[0, 0] = 2
    Image.fromarray(label).save(root / "labels/p.png")
    Image.fromarray(np.repeat((label == 1)[..., None] * np.uint8(200), 3, axis=2)).save(root / "images/p.png")
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3, "mean": (0, 0, 0)}
    run = Run(FolderSegDataLayer, **where, mirror=True, crop=(16, 30), seed=4)
    flipped = set()
    for _ in range(20):
        data, labels = run.step()
        assert data.shape == (1, 3, 16, 30) and (labels[..., 24:] == 255).all()
        assert np.array_equal(data[0, 0, :, :24] == 200, labels[0, 0, :, :24] == 1)
        flipped.add(bool(labels[0, 0, 5, 0] == 1))
    assert flipped == {True, False}
    run = Run(FolderSegDataLayer, **where, resize=(10, 12), randomize=False)
    assert run.step()[0].shape == (1, 3, 10, 12)
    _, labels = Run(FolderSegDataLayer, **where, balance=True, keep=0.5, seed=1).step()
    assert (labels == 255).mean() > 0.3


def test_a_split_file_names_images_with_or_without_suffix(tmp_path):
    root = minis.folder(tmp_path / "train-data")
    minis.text(tmp_path / "val.txt", ["q", "p.jpg"])
    where = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    run = Run(FolderSegDataLayer, **where, split=str(tmp_path / "val.txt"))
    assert run.names(2) == ["q.png", "p.jpg"]
    minis.text(tmp_path / "val.txt", ["nope"])
    with pytest.raises(DataFault, match="no image 'nope'"):
        Run(FolderSegDataLayer, **where, split=str(tmp_path / "val.txt"))


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


# Faults


def voc_step(root, **options):
    return Run(VOCSegDataLayer, **{"voc_dir": str(root), "split": "train", "randomize": False, **options}).step()


def test_faults_of_files_name_the_file(tmp_path):
    root = minis.voc(tmp_path)
    label = root / "SegmentationClass/a1.png"
    image = root / "JPEGImages/a1.jpg"
    Image.open(label).convert("RGB").save(label)
    with pytest.raises(DataFault, match="SegmentationClass/a1.png: is a picture of colours.*prepare labels"):
        voc_step(root)
    Image.fromarray(np.full((20, 24), 77, np.uint8)).save(label)
    with pytest.raises(LabelFault, match="a1.png: label 77 at row 0, column 0 is no class: there are 21"):
        voc_step(root)
    voc_step(root, classes=78)
    Image.fromarray(np.zeros((20, 23), np.uint8)).save(label)
    with pytest.raises(DataFault, match="a1: image and label differ in size: data 20x24, label 20x23"):
        voc_step(root)
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(DataFault, match="JPEGImages/a1.jpg: broken image"):
        voc_step(root)
    image.unlink()
    with pytest.raises(DataFault, match="JPEGImages/a1.jpg: no such file"):
        voc_step(root)
    with pytest.raises(DataFault, match="nowhere/.*train.txt: no such file; looked for from"):
        voc_step("nowhere")
    minis.text(root / "ImageSets/Segmentation/train.txt", [])
    with pytest.raises(DataFault, match="train.txt: is empty"):
        voc_step(root)


def test_faults_of_mat_files_name_the_file(tmp_path):
    root = minis.sbdd(tmp_path, names=("b1",))
    path = root / "cls/b1.mat"

    def step():
        return Run(SBDDSegDataLayer, sbdd_dir=str(root), split="train").step()

    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFault, match="cls/b1.mat: cannot be read as a MATLAB file"):
        step()
    path.write_bytes(b"")
    with pytest.raises(DataFault, match="cls/b1.mat"):
        step()
    minis.mat(path, other=np.zeros((2, 2)))
    with pytest.raises(DataFault, match="cls/b1.mat: has no GTcls.Segmentation"):
        step()
    path.unlink()
    with pytest.raises(DataFault, match="cls/b1.mat: no such file"):
        step()
    minis.siftflow(tmp_path / "s")
    path = tmp_path / f"s/GeoLabels/{minis.SCENES}/coast_1.mat"
    minis.mat(path, S=np.full((22, 22), 4))
    with pytest.raises(LabelFault, match="coast_1.mat: label 4 is no class: there are 3"):
        Run(SIFTFlowSegDataLayer, 3, siftflow_dir=str(tmp_path / "s"), split="test").step()


@pytest.mark.parametrize(
    "param_str, fault",
    [
        ("{'voc_dir': 'x', 'split': 'train', 'sede': 1}", "no option 'sede' .did you mean 'seed'"),
        ("{'split': 'train'}", "lacks voc_dir"),
        ("[1]", "holds a list"),
        ("__import__('os')", "not a Python dict literal"),
    ],
)
def test_faults_of_param_str(param_str, fault):
    layer = VOCSegDataLayer.__new__(VOCSegDataLayer)
    layer.param_str = param_str
    with pytest.raises(SchemaFault, match=fault):
        layer.setup([], [Top(), Top()])


def test_faults_of_tops(tmp_path):
    root = str(minis.voc(tmp_path))
    with pytest.raises(GraphFault, match="has 3 tops but gives 2: data, label"):
        Run(VOCSegDataLayer, 3, voc_dir=root, split="train")
    with pytest.raises(SchemaFault, match="no top 'colour' in NYUDv2 .did you mean 'color'"):
        Run(NYUDSegDataLayer, 2, nyud_dir=root, split="train", tops=["colour", "label"])


@pytest.mark.parametrize(
    "given, words",
    [
        ({"batch_size": "2"}, "'batch_size' is '2': give a whole number from 1 to 65536, such as 2"),
        ({"batch_size": 1e9}, "'batch_size' is 1000000000.0: give a whole number"),
        ({"batch_size": 10**9}, "'batch_size' is 1000000000: give a whole number"),
        ({"mirror": "no"}, "'mirror' is 'no': give True or False, without quotes, such as False"),
        ({"mirror": 1}, "'mirror' is 1: give True or False, without quotes, such as True"),
        ({"classes": 3.0}, "'classes' is 3.0: give a whole number from 1 to 255, .*, such as 3"),
        ({"classes": True}, "'classes' is True"),
        ({"classes": 0}, "'classes' is 0"),
        ({"seed": -1}, "'seed' is -1"),
        ({"mean": 104}, r"'mean' is 104: give three numbers, \(blue, green, red\)"),
        ({"mean": (1, 2, float("1e999"))}, "param_str"),
        ({"crop": 100}, r"'crop' is 100: give \(height, width\)"),
        ({"crop": (100, 0)}, "'crop' is"),
        ({"resize": "big"}, "'resize' is 'big'"),
        ({"keep": 0}, "'keep' is 0: give a number above 0 and at most 1"),
        ({"cell": 0}, "'cell' is 0"),
        ({"ignore_label": 256}, "'ignore_label' is 256"),
        ({"images": 3}, "'images' is 3: give a text in quotes"),
        ({"miror": True}, "no option 'miror' .did you mean 'mirror'"),
    ],
)
def test_options_are_checked_like_fields(tmp_path, given, words):
    root = minis.folder(tmp_path)
    good = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": 3}
    Run(FolderSegDataLayer, **good)
    with pytest.raises(SchemaFault, match=words) as fault:
        Run(FolderSegDataLayer, **{**good, **given})
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("text", ["{[]: 1}", "(" * 500, "{'a': 1", "3", "", "{'a': open('x')}"])
def test_what_is_no_dict_is_one_line(text):
    layer = FolderSegDataLayer.__new__(FolderSegDataLayer)
    layer.param_str = text
    with pytest.raises(SchemaFault, match="param_str"):
        layer.setup([], [Top(), Top()])


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "voc-fcn8s",
            ["data/sbdd/dataset/train.txt: no such file", "SBD, the Semantic Boundaries Dataset", "cls/*.mat"],
        ),
        ("nyud-fcn32s-color", ["NYUDv2", "segmentation/img_*.mat"]),
        ("siftflow-fcn8s", ["SIFT Flow", "GeoLabels"]),
        ("pascalcontext-fcn8s", ["context_dir", "labels.txt"]),
    ],
)
def test_data_that_are_not_there_are_described(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(__file__).resolve().parents[2] / "models" / name
    with pytest.raises(DataFault) as fault:
        Net(str(next(folder.glob("train*.prototxt"))), "TRAIN")
    assert [word for word in [*words, "docs/fcn.md"] if word not in str(fault.value)] == []
