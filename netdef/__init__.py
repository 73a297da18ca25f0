"""Text to net: rules, wiring, what needs a gradient; then the arrays."""

import demitasse  # noqa: F401 (it says what this Python lacks; an old one could not even read __main__.py)
