"""A mean of darks, nothing rejected: the smallest recipe."""

import numpy as np
from astropy.io import fits

from soxspipe.inputs.prepare import PreparedFrames
from soxspipe.products.headers import ProductFile
from soxspipe.quality.table import QCValue, QualityTable
from soxspipe.recipes.base_recipe import BaseRecipe, RecipeOutput
from soxspipe.stacking import clip_and_stack

__all__ = ["soxs_meandark"]


class soxs_meandark(BaseRecipe):  # noqa: N801 - as the other recipes
    """Average raw darks."""

    name = "soxs_meandark"
    kind = "MEANDARK"
    category = "MEAN_DARK"

    def minimum_frames(self, settings):
        """Return the fewest darks to work with."""
        return settings.soxs_mdark.minimum_frames

    def parameters(self, settings):
        """Return the parameters for log and header; there are none."""
        return {}

    def process(self, frames, settings):
        """Average the frames and turn the result to product orientation."""
        from astropy.nddata import CCDData  # heavy: imported when it is needed

        with PreparedFrames(frames) as prepared:
            frame = clip_and_stack(
                prepared, regions=prepared.regions, shot_scale=1 / frames.ndit, stacked_clipping_sigma=1e6
            ).master
        turn = frames.geometry.to_product
        frame = CCDData(turn(frame.data), unit=frame.unit, mask=turn(frame.mask))
        median = float(np.nanmedian(frame.data))
        level = QCValue("MEANDARK MEDIAN", median, "electron", "median of all pixels")
        hdus = fits.HDUList([fits.PrimaryHDU(frame.data)])
        file = ProductFile("mean dark", ".fits", self.category, hdus)
        return RecipeOutput(frame, QualityTable([level]), [file])
