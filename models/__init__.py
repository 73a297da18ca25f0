"""The FCN family: nets, data sets, recipes, scores, and the commands."""

import demitasse  # noqa: F401 (it says what this Python lacks; an old one could not even read __main__.py)
