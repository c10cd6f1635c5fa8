"""The master bias."""

from __future__ import annotations

from ..inputs.frame_kinds import MASTER_BIAS, STATIC_MAP, FrameKind
from ..inputs.raw_frames import FrameSet
from ..products.master_files import master_file
from ..quality.bias import bias_quality
from ..quality.stack import StackContext
from ..quality.table import QualityTable
from ..settings import ArmSettings
from .base_recipe import BaseRecipe, calibration_quality
from .recipe import RecipeOutput

__all__ = ["soxs_mbias"]

#: Reason for which biases of an infrared detector are refused.
NO_INFRARED_BIAS = (
    "an infrared detector is read before and after each exposure and has no bias frames: reduce its darks without a "
    "master bias"
)


class soxs_mbias(BaseRecipe):
    """Combine raw biases of one read-out mode into a master bias.

    The recipe verifies the frames, trims them and converts them to electrons. It subtracts the overscan level where
    the detector has an overscan. It clips outliers and averages the other samples. Only CCDs have biases: those of an
    infrared arm are refused. `~soxspipe.recipes.soxs_mdark` subtracts the product from darks.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file or a folder, FITS files, or both: raw biases, and optionally a static bad-pixel map.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents; default: the settings that come with soxspipe.
    output_dir : str or path-like
        Folder of the products; made when it does not exist.
    overwrite : bool
        Whether an older product may be replaced.
    workers : int, optional
        Threads for the pixels; default: two, one where there is one processor or where memory is limited
        (``ulimit -v``). The pixels do not depend on their number.
    progress : callable, optional
        Called as ``progress(done, total)`` while pixels are processed.
    compress : bool
        Whether the FITS files hold compressed images; see :doc:`/files`.
    report : bool
        Whether the product gets a report, one HTML file.

    Examples
    --------
    >>> from soxspipe.recipes import soxs_mbias
    >>> product = soxs_mbias("biases.sof", output_dir="reduced").produce_product()  # doctest: +SKIP
    >>> product.path, product.frame, product.qc                                     # doctest: +SKIP
    """

    kind = FrameKind(
        tag="BIAS",
        dpr_type="BIAS",
        noun="bias",
        exposure="zero",
        calibrations=(STATIC_MAP,),
        refused_modes={"read_mode": NO_INFRARED_BIAS},
    )
    name = "soxs_mbias"
    product_word = "MBIAS"
    category = MASTER_BIAS.category
    sections = ("mbias", "create_noise_map")
    imports = ("ccdproc",)

    def process(self, frames: FrameSet, settings: ArmSettings) -> RecipeOutput:
        """Make the master bias from verified frames."""
        stacked = self.stack_frames(frames, settings)
        frames, stack, noise_map = stacked.frames, stacked.stack, stacked.noise_map
        qc_values = bias_quality(stack, noise_map, stacked.context(StackContext))
        qc_values += calibration_quality(frames, settings.night)
        codes = frames.geometry.to_product(noise_map.codes)
        files = [master_file(stack, codes, frames, stacked.prepared, MASTER_BIAS)]
        quality = QualityTable(qc_values, settings.quality.ranges)
        return RecipeOutput(quality, files, stacked.prepared.warnings, stacked.vetting, stacked.details)
