"""The master dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..inputs.frame_kinds import BAD_PIXEL_MAP, MASTER_BIAS, MASTER_DARK, STATIC_MAP, FrameKind
from ..inputs.raw_frames import FrameSet
from ..products.master_files import bad_pixel_map, master_file
from ..quality.dark import DarkContext, dark_quality
from ..quality.definitions import DEFINITIONS
from ..quality.table import QCValue, QualityTable, Range
from ..run_log import get_logger
from ..settings import ArmSettings
from ..stacking.parameters import NoiseMapParameters
from .base_recipe import BaseRecipe, StackedFrames, calibration_quality
from .recipe import RecipeOutput

__all__ = ["soxs_mdark"]

log = get_logger(__name__)


class soxs_mdark(BaseRecipe):
    """Combine raw darks of one exposure time and read-out into a master dark.

    The recipe verifies the frames, trims them and converts them to electrons. It clips outliers and averages the other
    samples. It marks hot, cold and noisy pixels. A hot pixel keeps its value, so that the master dark removes it from
    other frames.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file or a folder, FITS files, or both: raw darks, and optionally a master bias and a static
        bad-pixel map.
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
    >>> from soxspipe.recipes import soxs_mdark
    >>> product = soxs_mdark("darks.sof", output_dir="reduced").produce_product()  # doctest: +SKIP
    >>> product.path, product.frame, product.qc                                    # doctest: +SKIP
    """

    kind = FrameKind(
        tag="DARK", dpr_type="DARK", noun="dark", exposure="positive", calibrations=(MASTER_BIAS, STATIC_MAP)
    )
    name = "soxs_mdark"
    product_word = "MDARK"
    category = MASTER_DARK.category
    sections = ("mdark", "create_noise_map")
    imports = ("ccdproc",)
    roles = (*BaseRecipe.roles, BAD_PIXEL_MAP.noun)

    def process(self, frames: FrameSet, settings: ArmSettings) -> RecipeOutput:
        """Stack verified frames, find bad pixels, and measure the QC values."""
        if MASTER_BIAS not in frames.calibrations and frames.detector.mode != "read_mode":
            log.info("no master bias is given: the pattern of the bias stays in the master dark")
        stacked = self.stack_frames(frames, settings)
        frames, stack, noise_map = stacked.frames, stacked.stack, stacked.noise_map
        codes = frames.geometry.to_product(noise_map.codes)
        master = master_file(stack, codes, frames, stacked.prepared, MASTER_DARK)
        qc_values = dark_quality(stack, noise_map, _context(stacked, settings.create_noise_map), self.workers)
        qc_values += calibration_quality(frames, settings.night)
        quality = QualityTable(qc_values, _ranges(stacked, settings, qc_values))
        files = [master, bad_pixel_map(codes, frames.geometry)]
        return RecipeOutput(quality, files, stacked.prepared.warnings, stacked.vetting, stacked.details)


def _context(stacked: StackedFrames, limits: NoiseMapParameters) -> DarkContext:
    """Return the properties of the frames that their stack does not hold."""
    frames, prepared = stacked.frames, stacked.prepared
    return stacked.context(
        DarkContext,
        exptime_s=frames.dit_s,
        pedestal_removed=prepared.pedestal != "nothing",
        ndit=frames.ndit,
        hot_sigma=limits.hot_pixel_sigma,
        cold_sigma=limits.cold_pixel_sigma,
        bias_error=prepared.common_error,
        pedestal_from_bias=prepared.bias_has_pedestal,
        pixel_area_cm2=frames.binning[0] * frames.binning[1] * (frames.detector.pixel_size_um * 1e-4) ** 2,
    )


def _ranges(stacked: StackedFrames, settings: ArmSettings, qc_values: Sequence[QCValue]) -> dict[str, Range]:
    """Return the ranges of the QC values, as they apply to these frames.

    That of the dark current is for an unbinned pixel, and a specification may be exceeded by two errors; that of the
    read noise is for one integration without dark signal.
    """
    frames, ranges = stacked.frames, dict(settings.quality.ranges)
    if "RON RAW" in ranges:
        # an unknown pedestal hides the dark signal
        dark_e = 0.0 if stacked.prepared.pedestal == "nothing" else stacked.stack.noise_model.mean_level_e
        low, high = (
            None if limit is None else math.sqrt((max(limit, 0.0) ** 2 + max(dark_e, 0.0)) / frames.ndit)
            for limit in ranges["RON RAW"]
        )
        ranges["RON RAW"] = (low, high)
    low, high = ranges.pop("DARK CURRENT", (None, None))
    of_soxs, _ = DEFINITIONS["DARK CURRENT"].arm_ranges.get(frames.arm, ((None, None), ""))
    # the default of an arm is the specification of SOXS: it does not judge a detector without one
    if frames.detector.dark_current_limit_e_per_s is not None or (low, high) != of_soxs:
        binned = frames.binning[0] * frames.binning[1]
        error = next((qc.value for qc in qc_values if qc.name == "DARK CURRENT ERR"), None) or 0.0
        margin = 2 * error if (low, high) == of_soxs else 0.0
        ranges["DARK CURRENT"] = (
            None if low is None else low * binned - margin,
            None if high is None else high * binned + margin,
        )
    return ranges
