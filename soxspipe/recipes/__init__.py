"""The recipes, one file each.

Each is imported here by its class, so that ``soxspipe.recipes.soxs_mdark`` is the class whatever was imported
before; the modules themselves are light and leave ccdproc to the moment of stacking.
"""

from .soxs_dark_current import soxs_dark_current
from .soxs_mbias import soxs_mbias
from .soxs_mdark import soxs_mdark

__all__ = ["soxs_dark_current", "soxs_mbias", "soxs_mdark"]
