"""python -m solver, once installed: a door to demitasse.solver, the package of that name."""

import sys

from demitasse.solver.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
