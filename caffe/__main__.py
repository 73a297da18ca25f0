"""python -m caffe train | test | time | device_query: Caffe's own command, with its spellings (-solver, -gpu 0)."""

import sys
import warnings

from demitasse.solver.__main__ import main

if __name__ == "__main__":
    warnings.formatwarning = lambda message, *place: f"warning: {message}\n"
    sys.exit(main())
