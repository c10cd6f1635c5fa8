"""Data reduction for SOXS, the 350-2000 nm spectrograph on ESO's NTT.

Importing this package costs nothing: each function is imported when it is first used. The recipes are also classes, in
`soxspipe.recipes`; the statistics that they share are in `soxspipe.stacking`.
"""

from importlib import import_module
from typing import Any

from .version import __version__

#: Functions of the package, and the modules that define them.
_FUNCTIONS = {
    "mdark": "soxspipe.recipes.functions",
    "mbias": "soxspipe.recipes.functions",
    "dark_current": "soxspipe.recipes.functions",
    "subtract_dark": "soxspipe.recipes.functions",
    "prepare_frame": "soxspipe.products.prepared_frame",
    "read": "soxspipe.products.frames",
}

__all__ = ["__version__", *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'soxspipe' has no attribute '{name}'")
    return getattr(import_module(_FUNCTIONS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FUNCTIONS])
