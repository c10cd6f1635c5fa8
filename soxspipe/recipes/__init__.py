"""The recipes, one file each.

The classes are imported here, so that ``soxspipe.recipes.soxs_mdark`` is always the class and never its module. This
import is fast: ccdproc is imported only before frames are stacked.
"""

from .soxs_dark_current import soxs_dark_current
from .soxs_mbias import soxs_mbias
from .soxs_mdark import soxs_mdark
from .subtract_dark import soxs_subtract_dark

__all__ = ["soxs_dark_current", "soxs_mbias", "soxs_mdark", "soxs_subtract_dark"]
