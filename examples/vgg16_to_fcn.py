"""Turn a VGG16 classifier's weights into the start of an FCN: net surgery by pycaffe.

    python examples/vgg16_to_fcn.py VGG_ILSVRC_16_layers.caffemodel nets/fcn8s/deploy.prototxt vgg16-fcn.caffemodel

fc6 and fc7 hold as many numbers fully connected as convolutional (4096 x 25088 is 4096 x 512 x 7 x 7), so they are
poured over as they are.  With --random the classifier is made up first: weights of the right shapes, for a dry run.
"""

import argparse
import tempfile
from pathlib import Path

from fcn8s_net import trunk

import caffe
from caffe import layers as L


def vgg16(width=1.0, random=False):
    """The classifier as a NetParameter, without the last layer, which an FCN has no use for."""
    n, fc = caffe.NetSpec(), max(1, round(4096 * width))
    n.data = L.Input(shape=[dict(dim=[1, 3, 224, 224])])
    filler = dict(weight_filler=dict(type="gaussian", std=0.01)) if random else {}
    n.fc6 = L.InnerProduct(trunk(n, n.data, width, pad=1), num_output=fc, **filler)
    n.relu6 = L.ReLU(n.fc6, in_place=True)
    n.fc7 = L.InnerProduct(n.relu6, num_output=fc, **filler)
    message = n.to_proto()
    for layer in message.layer:
        if random and layer.type == "Convolution":
            layer.convolution_param.weight_filler.type = "msra"
    return message


def transplant(new, old):
    """Pour the old net's blobs into the new net's layers of the same names."""
    for name, blobs in old.params.items():
        if name not in new.params:
            print(f"dropping {name}")
            continue
        for i, (blob, given) in enumerate(zip(new.params[name], blobs, strict=True)):
            if blob.count != given.count:
                raise SystemExit(f"{name} blob {i}: {given.shape} does not fill {blob.shape}")
            print(
                f"copying {name} {i}"
                if blob.shape == given.shape
                else f"coercing {name} {i} from {given.shape} to {blob.shape}"
            )
            blob.data.flat = given.data.flat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vgg16", type=Path, help="weights of the classifier (with --random: written there first)")
    parser.add_argument("fcn", help="prototxt of the FCN")
    parser.add_argument("output", help="weights of the FCN to be written")
    parser.add_argument("--random", action="store_true", help="make up the classifier's weights")
    parser.add_argument("--width", type=float, default=1.0, help="as for fcn8s_net.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg16.prototxt")
        path.write_text(str(vgg16(options.width, options.random)))
        old = caffe.Net(str(path), caffe.TEST)
    if options.random:
        old.save(options.vgg16)
    else:
        old.copy_from(options.vgg16)
    new = caffe.Net(options.fcn, caffe.TEST)
    transplant(new, old)
    new.save(options.output)


if __name__ == "__main__":
    main()
