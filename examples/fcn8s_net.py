"""Write FCN-8s with NetSpec: VGG16 made convolutional, two skips, every Crop offset computed.

    python examples/fcn8s_net.py nets/fcn8s --voc data/VOC2012

writes train.prototxt, val.prototxt, deploy.prototxt and solver.prototxt for a data set in the layout of PASCAL VOC.
"""

import argparse
from pathlib import Path

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.coord_map import crop

DEPTHS = (2, 2, 3, 3, 3)  # convolutions between two poolings
LEARNED = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]
FROZEN = [dict(lr_mult=0)]


def conv_relu(n, name, bottom, channels, **shape):
    """A convolution with an in-place ReLU, called conv1_1 and relu1_1, or fc6 and relu6."""
    n[name] = L.Convolution(bottom, num_output=channels, param=LEARNED, **shape)
    n["relu" + name.removeprefix("conv").removeprefix("fc")] = top = L.ReLU(n[name], in_place=True)
    return top


def trunk(n, bottom, width=1.0, pad=100):
    """VGG16's convolutions and poolings: conv1_1 to pool5.  `pad`: of conv1_1."""
    for block, depth in enumerate(DEPTHS, 1):
        channels = max(1, round(width * min(64 << (block - 1), 512)))
        for i in range(1, depth + 1):
            bottom = conv_relu(n, f"conv{block}_{i}", bottom, channels, kernel_size=3, pad=pad)
            pad = 1
        n[f"pool{block}"] = bottom = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    return bottom


def score_of(bottom, classes):
    """Scores of each place; they start at zero."""
    return L.Convolution(bottom, num_output=classes, kernel_size=1, param=LEARNED)


def upsampled(bottom, classes, factor):
    """Frozen interpolation; the weights come from `interp` in train_fcn.py."""
    return L.Deconvolution(
        bottom,
        param=FROZEN,
        convolution_param=dict(num_output=classes, kernel_size=2 * factor, stride=factor, bias_term=False),
    )


def fcn8s(data, classes=21, width=1.0):
    """The net as a NetParameter; data(n) sets n.data, and n.label where there is one."""
    n = caffe.NetSpec()
    data(n)
    fc, trains = max(1, round(4096 * width)), "label" in n.tops
    top = trunk(n, n.data, width)
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        top = conv_relu(n, name, top, fc, kernel_size=kernel)
        if trains:
            n[f"drop{name[-1]}"] = top = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    n.score_fr = score_of(top, classes)
    n.upscore2 = upsampled(n.score_fr, classes, 2)
    n.score_pool4 = score_of(n.pool4, classes)
    n.score_pool4c = crop(n.score_pool4, n.upscore2)
    n.fuse_pool4 = L.Eltwise(n.upscore2, n.score_pool4c, operation=P.Eltwise.SUM)
    n.upscore_pool4 = upsampled(n.fuse_pool4, classes, 2)
    n.score_pool3 = score_of(n.pool3, classes)
    n.score_pool3c = crop(n.score_pool3, n.upscore_pool4)
    n.fuse_pool3 = L.Eltwise(n.upscore_pool4, n.score_pool3c, operation=P.Eltwise.SUM)
    n.upscore8 = upsampled(n.fuse_pool3, classes, 8)
    n.score = crop(n.upscore8, n.data)
    if trains:
        n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(normalize=False, ignore_label=255))
    return n.to_proto()


def voc(root, split, classes):
    """Images and labels of a split, by the data layer in models/data/voc_layers.py."""
    options = dict(voc_dir=str(root), split=split, classes=classes, seed=1337)

    def data(n):
        n.data, n.label = L.Python(module="voc_layers", layer="VOCSegDataLayer", param_str=repr(options), ntop=2)

    return data


def deploy(n):
    """An image to be given by the caller."""
    n.data = L.Input(shape=[dict(dim=[1, 3, 500, 500])])


SOLVER = """train_net: "{folder}/train.prototxt"
test_net: "{folder}/val.prototxt"
test_iter: 0                 # train_fcn.py scores by itself
test_interval: 1000000
base_lr: {rate}
lr_policy: "fixed"
momentum: 0.99
weight_decay: 0.0005
max_iter: 100000
display: 20
average_loss: 20
snapshot: 4000
snapshot_prefix: "{folder}/train"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the prototxts go")
    parser.add_argument("--voc", type=Path, required=True, help="the data set, in the layout of PASCAL VOC")
    parser.add_argument("--train", default="train", help="the split to train on")
    parser.add_argument("--val", default="val", help="the split to score")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--width", type=float, default=1.0, help="multiplies all channel counts of the trunk")
    parser.add_argument("--rate", type=float, default=1e-10, help="the learning rate")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    nets = {
        "train": voc(options.voc, options.train, options.classes),
        "val": voc(options.voc, options.val, options.classes),
        "deploy": deploy,
    }
    for name, data in nets.items():
        path = options.folder / f"{name}.prototxt"
        path.write_text(str(fcn8s(data, options.classes, options.width)))
        print(path)
    path = options.folder / "solver.prototxt"
    path.write_text(SOLVER.format(folder=options.folder, rate=options.rate))
    print(path)


if __name__ == "__main__":
    main()
