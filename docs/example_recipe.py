"""The mean of raw darks without a clip: the smallest recipe."""

import numpy as np
from astropy.io import fits

from soxspipe.inputs.frame_kinds import FrameKind
from soxspipe.inputs.prepare import PreparedFrames
from soxspipe.products.headers import ProductFile
from soxspipe.quality.table import QualityTable, measured
from soxspipe.recipes.base_recipe import BaseRecipe
from soxspipe.recipes.recipe import RecipeOutput
from soxspipe.stacking import clip_and_stack

__all__ = ["soxs_meandark"]


class soxs_meandark(BaseRecipe):  # noqa: N801 - lower case like all recipes
    """Average raw darks."""

    kind = FrameKind(tag="DARK", dpr_type="DARK", noun="dark", exposure="positive")
    name = "soxs_meandark"
    product_word = "MEANDARK"
    category = "MEAN_DARK"
    sections = ("mdark",)  # its minimum-frames

    def process(self, frames, settings):
        """Average the frames and rotate the result to product orientation."""
        with PreparedFrames(frames) as prepared:
            mean = clip_and_stack(prepared, stacked_clipping_sigma=1e6).master
        image = frames.geometry.to_product(mean.data)
        median = float(np.nanmedian(image))
        hdus = fits.HDUList([fits.PrimaryHDU(image)])
        file = ProductFile("mean dark", ".fits", self.category, hdus)
        return RecipeOutput(QualityTable([measured("MDARK MEDIAN", median)]), [file])
