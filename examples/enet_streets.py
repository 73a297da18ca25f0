"""Segment a street scene with ENet's published Cityscapes weights, and compare with its author's picture.

    python examples/enet_streets.py ENET_FOLDER --beside beside.png --picture segmentation.png

ENET_FOLDER has enet_deploy_final.prototxt, cityscapes_weights.caffemodel, cityscapes19.png (the colours),
categories.txt (the names), the photo *_leftImg8bit.png, and the author's segmentation of it, *_enet.png.
--beside shows photo, published and own segmentation in a row; --picture the own one, the pixels at which it differs
from the published one, and a legend: nothing in it is anyone else's.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import caffe
from demitasse.layers.data.images import resize
from demitasse.models.palette import legend, save_picture
from demitasse.solver.pictures import beside


def segment(folder, photo):
    """(512, 1024) class indices of an RGB photo."""
    net = caffe.Net(
        str(folder / "enet_deploy_final.prototxt"), str(folder / "cityscapes_weights.caffemodel"), caffe.TEST
    )
    data = net.blobs[net.inputs[0]]
    bgr = resize(np.ascontiguousarray(photo[:, :, ::-1]), data.height, data.width)  # as OpenCV resizes
    data.data[...] = bgr.transpose(2, 0, 1)
    (scores,) = net.forward().values()
    return scores[0].argmax(axis=0)


def own_picture(labels, differs, names, colours):
    """Segmentation | where it differs (red on its own pale colours) | the classes in it, most frequent first."""
    classes, counts = np.unique(labels, return_counts=True)
    listed = legend(classes[np.argsort(-counts)], names, colours)
    own = colours[labels]
    pale = np.where(differs[..., None], (220, 0, 0), 204 + own // 5).astype(np.uint8)
    return beside([own, pale, np.asarray(listed)], gap=12)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path, help="write photo | published | own")
    parser.add_argument("--picture", type=Path, help="write own | differences | legend")
    options = parser.parse_args()
    (published_file,) = options.folder.glob("*_enet.png")
    photo_file = published_file.with_name(published_file.name.replace("_enet", ""))
    photo, published = (np.asarray(Image.open(file).convert("RGB")) for file in (photo_file, published_file))
    colours = np.asarray(Image.open(options.folder / "cityscapes19.png").convert("RGB"))[0, :, ::-1]  # kept as BGR
    labels = segment(options.folder, photo)
    own = colours[labels]
    differs = (own != published).any(axis=2)
    print(f"{1 - differs.mean():.2%} of {labels.size:,} pixels as published")
    if options.beside:
        small = resize(photo, *labels.shape)
        save_picture(options.beside, beside([small, published, own]))
    if options.picture:
        names = (options.folder / "categories.txt").read_text().split()
        save_picture(options.picture, own_picture(labels, differs, names, colours))


if __name__ == "__main__":
    main()
