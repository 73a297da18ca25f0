"""A loop over a net: rates, updates, snapshots."""

import demitasse  # noqa: F401 (it says what this Python lacks; an old one could not even read __main__.py)
