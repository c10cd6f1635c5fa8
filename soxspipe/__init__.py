"""Data reduction for SOXS, the 350-2000 nm spectrograph on ESO's NTT.

Importing this package costs nothing: recipes are in `soxspipe.recipes`, the statistics that they share
in `soxspipe.stacking`.
"""

from .version import __version__

__all__ = ["__version__"]
