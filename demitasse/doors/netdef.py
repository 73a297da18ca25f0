"""python -m netdef, once installed: a door to demitasse.netdef, the package of that name."""

import sys

from demitasse.netdef.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
