"""One file per layer type; each holds the layer's whole life."""

import functools
import pkgutil

if __name__ != "demitasse.layers":  # a checkout on the path: another package's `layers` may be what was meant
    raise ModuleNotFoundError("this folder is Demitasse's: import demitasse.layers", name=__name__)


@functools.cache
def modules() -> dict[str, str]:
    """{a layer file's name in small letters, as in a type: its module}"""
    found = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    return {name.replace("_", ""): f"demitasse.layers.{name}" for name in found}
