"""python -m caffe train | test | time | device_query: Caffe's own command, with its spellings (-solver, -gpu 0)."""

import sys

from demitasse.__main__ import caffe

if __name__ == "__main__":
    sys.exit(caffe())
