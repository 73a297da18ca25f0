"""python -m models, once installed: a door to demitasse.models, the package of that name."""

import sys

from demitasse.models.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
