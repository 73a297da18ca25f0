"""`import caffe`: old scripts and Python layers find what they were written against."""

from caffe.pylayer import Blob, Layer
from layers.layer import TEST, TRAIN

__all__ = ["TEST", "TRAIN", "Blob", "Layer"]
