"""python -m caffe train | test | time | device_query: Caffe's own command, with its spellings (-solver, -gpu 0)."""

import sys

from demitasse.solver.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
