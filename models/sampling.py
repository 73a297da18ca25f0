"""Patchwise training and class balancing as sampling of the loss (FCN paper, arXiv 1411.4038, sections 3.4 and 4.3).

Training on random patches is training on whole images with a loss that counts at some pixels only: the pixels'
receptive fields are the patches, and what they share is computed once.  So a patch is left out by giving its pixels
the label that the loss ignores.  The paper finds that whole images learn as well per iteration and faster per second;
leaving out half the terms means that twice the images are needed for a batch of the same effective size.

Balance between classes comes either from sampling too (frequent classes are thinned out) or from weighting the
loss: an InfogainLoss with the matrix of `infogain_matrix`.
"""

from __future__ import annotations

import numpy as np

IGNORE = 255


def sample_loss(labels: np.ndarray, keep: float, rng: np.random.Generator, cell: int = 1) -> np.ndarray:
    """A copy of (..., H, W) labels in which each cell of cell x cell pixels keeps its labels with probability
    `keep` and is ignored otherwise.  A cell of 32 is one score of a stride-32 net: a patch of the paper."""
    *_, height, width = labels.shape
    kept = rng.random((-(-height // cell), -(-width // cell))) < keep
    mask = kept.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
    return np.where(mask, labels, np.asarray(IGNORE, labels.dtype))


def balance_loss(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy of labels (..., H, W) in which the classes that have more pixels than the median class present here are
    thinned at random to as many as that one has, on average; the rest of their pixels is ignored."""
    counts = np.bincount(labels.ravel().astype(np.int64), minlength=IGNORE + 1)
    counts[IGNORE] = 0
    if not counts.any():
        return labels.copy()
    keep = np.median(counts[counts > 0]) / np.maximum(counts, 1)
    return np.where(rng.random(labels.shape) < keep[labels.astype(np.int64)], labels, np.asarray(IGNORE, labels.dtype))


def class_weights(counts: np.ndarray) -> np.ndarray:
    """(classes,) float32 weights that grow as a class gets rarer: median count / count; 0 for absent classes."""
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    if present.any():
        weights[present] = np.median(counts[present]) / counts[present]
    return weights


def infogain_matrix(counts: np.ndarray) -> np.ndarray:
    """(1, 1, classes, classes) float32: the matrix H of an InfogainLoss that weights each class by class_weights."""
    return np.diag(class_weights(counts))[None, None]
