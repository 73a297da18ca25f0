"""Demitasse beside other engines: never imported by the product."""

import demitasse  # noqa: F401 (it says what this Python lacks)
