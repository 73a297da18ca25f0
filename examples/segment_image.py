"""Segment one image: its classes as a palette PNG, and laid over the image.

    python examples/segment_image.py nets/fcn8s/deploy.prototxt fcn8s.caffemodel photo.jpg out/

writes out/photo.png (class indices with VOC's colours) and out/photo_overlay.png.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import caffe

MEAN = np.array((104.00698793, 116.66876762, 122.67891434), np.float32)  # BGR, of ImageNet


def palette(classes=256):
    """(classes, 3) uint8: VOC's colours, the bits of a class index dealt out to red, green and blue."""
    index = np.arange(classes)[:, None]
    bits = [(index >> (3 * bit + np.arange(3)) & 1) << (7 - bit) for bit in range(8)]
    return sum(bits).astype(np.uint8)


def segment(net, image):
    """(H, W) class indices of an RGB image (H, W, 3) from 0 to 255."""
    blob = (image[:, :, ::-1].astype(np.float32) - MEAN).transpose(2, 0, 1)
    net.blobs["data"].reshape(1, *blob.shape)
    net.blobs["data"].data[...] = blob
    net.forward()
    return net.blobs["score"].data[0].argmax(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", help="prototxt with an Input called data and scores called score")
    parser.add_argument("weights")
    parser.add_argument("image", type=Path)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    image = np.asarray(Image.open(options.image).convert("RGB"))
    labels = segment(caffe.Net(options.net, options.weights, caffe.TEST), image)
    options.folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette().tobytes())
    picture.save(options.folder / f"{options.image.stem}.png")
    seen = np.where(labels[..., None] > 0, 0.5 * image + 0.5 * palette()[labels], image)
    Image.fromarray(seen.astype(np.uint8)).save(options.folder / f"{options.image.stem}_overlay.png")
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        print(f"class {label}: {count / labels.size:.1%}")


if __name__ == "__main__":
    main()
