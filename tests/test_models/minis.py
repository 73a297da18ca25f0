"""Miniature data sets in the on-disk format of each real one."""

from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from demitasse.models.palette import save_labels

SCENES = "spatial_envelope_256x256_static_8outdoorcategories"


def picture(path, size, seed=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def text(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def mat(path, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, values)


def labels(size, classes, seed=0, low=0, dtype=np.uint8):
    return np.random.default_rng(seed + 99).integers(low, classes, size).astype(dtype)


def voc(root: Path, names=("a1", "a2", "a3"), size=(20, 24), split="train", classes=21):
    for i, name in enumerate(names):
        picture(root / f"JPEGImages/{name}.jpg", size, i)
        label = labels(size, classes, i)
        label[0] = 255
        save_labels(root / f"SegmentationClass/{name}.png", label)
    text(root / f"ImageSets/Segmentation/{split}.txt", names)
    return root


def sbdd(root: Path, names=("b1", "b2", "b3"), size=(20, 24), split="train"):
    for i, name in enumerate(names):
        picture(root / f"img/{name}.jpg", size, i)
        struct = np.zeros((1, 1), dtype=[("Segmentation", object), ("Boundaries", object)])
        struct[0, 0]["Segmentation"] = labels(size, 21, i)
        struct[0, 0]["Boundaries"] = np.zeros((20, 1))
        mat(root / f"cls/{name}.mat", GTcls=struct)
    text(root / f"{split}.txt", names)
    return root


def nyud(root: Path, names=("5001", "5002"), size=(18, 26), splits=("train", "val", "test")):
    for i, name in enumerate(names):
        picture(root / f"data/images/img_{name}.png", size, i)
        picture(root / f"data/hha/img_{name}.png", size, i + 50)
        depth = np.random.default_rng(i).integers(500, 9000, size).astype(np.uint16)
        (root / "data/depth").mkdir(parents=True, exist_ok=True)
        Image.fromarray(depth).save(root / f"data/depth/img_{name}.png")
        mat(root / f"segmentation/img_{name}.mat", segmentation=labels(size, 41, i))
    for split in splits:
        text(root / f"{split}.txt", names)
    return root


def siftflow(root: Path, names=("coast_1", "street_2"), size=(22, 22), splits=("trainval", "test")):
    for i, name in enumerate(names):
        picture(root / f"Images/{SCENES}/{name}.jpg", size, i)
        mat(root / f"SemanticLabels/{SCENES}/{name}.mat", S=labels(size, 34, i))
        geo = labels(size, 4, i + 7).astype(np.float64)
        geo[geo == 0] = -1
        mat(root / f"GeoLabels/{SCENES}/{name}.mat", S=geo)
    for split in splits:
        text(root / f"{split}.txt", names)
    return root


def pascalcontext(root: Path, names=("2008_1", "2008_2"), size=(20, 24), splits=("train", "val")):
    """root/pascal and root/pascal-context.  Class k of 59 is number 4k of 459, its name spelt as in the real lists."""
    spelling = {7: ("table", "diningtable"), 9: ("bedclothes", "bedcloth"), 11: ("cloth", "clothes")}
    everything = {i: f"other thing {i}" for i in range(1, 460)}
    chosen = {}
    for k in range(1, 60):
        everything[4 * k], chosen[k] = spelling.get(k, (f"kind {k}", f"kind{k}"))
    context = root / "pascal-context"
    text(context / "labels.txt", [f"{i}: {name}" for i, name in everything.items()])
    text(context / "59_labels.txt", [f"{k}: {name}" for k, name in chosen.items()])
    for i, name in enumerate(names):
        picture(root / f"pascal/VOC2010/JPEGImages/{name}.jpg", size, i)
        mat(context / f"trainval/{name}.mat", LabelMap=labels(size, 460, i, low=1, dtype=np.uint16))
    for split in splits:
        text(root / f"pascal/VOC2010/ImageSets/Main/{split}.txt", names)
    return root


def folder(root: Path, names=("p.jpg", "q.png", "r.png"), size=(20, 24), classes=("sky", "road", "car")):
    for i, name in enumerate(names):
        picture(root / "images" / name, size, i)
        (root / "labels").mkdir(exist_ok=True)
        Image.fromarray(labels(size, len(classes), i)).save(root / "labels" / f"{Path(name).stem}.png")
    text(root / "classes.txt", classes)
    return root


def cityscapes(root: Path, names=("bern_000001_000019", "ulm_000000_000019"), size=(16, 32), split="train"):
    for i, name in enumerate(names):
        city = name.partition("_")[0]
        picture(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", size, i)
        path = root / f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels(size, 34, i)).save(path)
    return root


def ade20k(root: Path, names=("ADE_train_00000001", "ADE_train_00000002"), size=(12, 14), split="training"):
    for i, name in enumerate(names):
        picture(root / f"images/{split}/{name}.jpg", size, i)
        path = root / f"annotations/{split}/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = labels(size, 151, i)
        stored[:2] = 0
        Image.fromarray(stored).save(path)
    rows = [f"{i}\t0.1\t9\t9\t0\tthing {i}, object {i}" for i in range(1, 151)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]) + "\n")
    return root
