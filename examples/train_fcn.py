"""Train an FCN step by step, and score it on the way by the confusion matrix.

    python examples/train_fcn.py nets/fcn8s/solver.prototxt --weights vgg16-fcn.caffemodel --images 736

--images is the number of images in the solver's test net.  pixel accuracy, mean accuracy, mean IU and frequency
weighted IU are those of the FCN paper, section 5.
"""

import argparse

import numpy as np

import caffe


def interpolation(size):
    """(size, size): the kernel of bilinear upsampling by (size + 1) // 2."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(line, line)


def interp(net, layers):
    """Let these Deconvolution layers interpolate each class on its own."""
    for name in layers:
        weights = net.params[name][0].data
        classes, same, height, width = weights.shape
        if classes != same or height != width:
            raise SystemExit(f"{name}: {weights.shape} is no interpolation of classes")
        weights[...] = 0
        weights[range(classes), range(classes)] = interpolation(height)


def confusion(truth, called, classes):
    """(classes, classes) counts, rows the true class; 255 and the like count nowhere."""
    counted = (truth >= 0) & (truth < classes)
    pairs = classes * truth[counted].astype(int) + called[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def score(net, images, output="score", label="label"):
    """(confusion matrix, mean loss) over so many images of the net's data layer."""
    matrix, loss = 0, 0.0
    for _ in range(images):
        net.forward()
        called = net.blobs[output].data[0].argmax(axis=0)
        matrix = matrix + confusion(net.blobs[label].data[0, 0], called, net.blobs[output].channels)
        loss += float(net.blobs["loss"].data)
    return matrix, loss / images


def report(iteration, matrix, loss):
    """Print the four metrics."""
    right, truth, called = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy, iou = right / truth, right / (truth + called - right)
    present = truth > 0
    print(
        f"iteration {iteration}: loss {loss:.6g}, pixel accuracy {right.sum() / truth.sum():.4f}, "
        f"mean accuracy {np.nanmean(accuracy):.4f}, mean IU {np.nanmean(iou):.4f}, "
        f"frequency weighted IU {(truth * iou)[present].sum() / truth.sum():.4f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solver")
    parser.add_argument("--weights", help="to start from")
    parser.add_argument("--images", type=int, required=True, help="how many to score")
    parser.add_argument("--rounds", type=int, default=25, help="how often to train and score")
    parser.add_argument("--steps", type=int, default=4000, help="updates in each round")
    parser.add_argument("--gpu", type=int, help="compute on this GPU")
    options = parser.parse_args()
    if options.gpu is not None:
        caffe.set_device(options.gpu)
        caffe.set_mode_gpu()
    solver = caffe.SGDSolver(options.solver)
    if options.weights:
        solver.net.copy_from(options.weights)
    interp(solver.net, [name for name in solver.net.params if "up" in name])
    test = solver.test_nets[0]
    test.share_with(solver.net)
    for _ in range(options.rounds):
        solver.step(options.steps)
        report(solver.iter, *score(test, options.images))
    solver.snapshot()


if __name__ == "__main__":
    main()
