"""The dark current, from master darks of different exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from ..inputs.masters import MasterPlanes, MasterSet, collect_masters
from ..pixel_codes import PixelCode
from ..products.headers import ProductFile, image_hdu, set_card
from ..products.provenance import Provenance
from ..quality.dark_rate import dark_rate_quality
from ..quality.table import QualityTable
from ..run_log import get_logger
from ..settings import ArmSettings
from ..stacking import DarkRate, fit_dark_rate, fit_levels
from ..stacking.fit_levels import LevelFit
from .recipe import Recipe, RecipeOutput

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["soxs_dark_current"]

log = get_logger(__name__)


class soxs_dark_current(Recipe[MasterSet]):
    """Fit the dark current of a detector, and of each of its pixels, to master darks of different exposures.

    A line through the values of a pixel gives its dark rate and its offset, which holds what does not grow with the
    exposure: pedestal, amplifier glow. A line through the levels of the masters gives the error of the detector's
    dark current. With three masters or more, pixels that do not follow a line are found.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        At least two master darks that `~soxspipe.recipes.soxs_mdark` made, of exposures that differ by more
        than 1 %: FITS paths, a set-of-files file, or a directory.
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
    >>> from soxspipe.recipes import soxs_dark_current
    >>> product = soxs_dark_current(["dark_60s.fits", "dark_300s.fits"]).produce_product()  # doctest: +SKIP
    >>> product.path, product.frame, product.qc                                             # doctest: +SKIP
    """

    name = "soxs_dark_current"
    product_word = "DRATE"
    category = "DARK_RATE"
    sections = ("dark_current",)
    imports = ("astropy.nddata",)

    def collect(self) -> tuple[MasterSet, Provenance]:
        """Collect and verify the master darks."""
        masters = collect_masters(self.input_frames, **self.collection_options)
        words = ", ".join(f"{master.name} ({master.exposure_s:g} s)" for master in masters.masters)
        log.info("%d master darks of %s %s: %s", len(masters.masters), masters.instrument.name, masters.arm, words)
        return masters, Provenance.of_masters(masters)

    def process(self, masters: MasterSet, settings: ArmSettings) -> RecipeOutput:
        """Fit verified master darks."""
        with MasterPlanes(masters, self.workers) as planes:
            level = fit_levels(planes, masters.level_error_e, n_frames=masters.n_frames, regions=masters.regions)
            fit = fit_dark_rate(
                planes,
                level=level,
                common_error_e=masters.common_error_e,
                nonlinear_sigma=settings.dark_current.nonlinear_sigma,
                workers=self.workers,
                progress=self.progress,
            )
        codes = _pixel_codes(fit)
        metrics = dark_rate_quality(fit, level, codes, limit_e_per_s=masters.dark_current_limit_e_per_s)
        quality = QualityTable(metrics, settings.quality.ranges)
        files = [_rate_file(fit, codes, masters, self.category)]
        return RecipeOutput(quality, files, details={"masters": _records(masters, level)})


def _records(masters: MasterSet, level: LevelFit) -> list[dict[str, Any]]:
    """Return exposure and level of each master dark, and the distance of the level from the line."""
    return [
        {
            "name": master.name,
            "exposure_s": master.exposure_s,
            "level_e": value,
            "level_error_e": error,
            "residual_e": value - level.offset_e - level.rate_e_per_s * master.exposure_s,
        }
        for master, value, error in zip(
            masters.masters, level.level_e.tolist(), level.level_error_e.tolist(), strict=True
        )
    ]


def _pixel_codes(fit: DarkRate) -> NDArray[np.int32]:
    """Return the sum of the codes of each pixel; 0 is good.

    Static, hot, cold and noisy are codes that all masters share: a pixel that is hot in long exposures only has a
    large rate, and no fault. But one ambiguous value spoils the line.
    """
    codes = fit.codes_of_all & (PixelCode.STATIC | PixelCode.HOT | PixelCode.COLD | PixelCode.NOISY).value
    codes |= fit.codes_of_any & PixelCode.AMBIGUOUS.value
    codes[fit.nonlinear] |= PixelCode.NONLINEAR.value
    codes[np.isnan(fit.rate_e_per_s)] |= PixelCode.NO_DATA.value
    return codes


def _rate_file(fit: DarkRate, codes: NDArray[np.int32], masters: MasterSet, category: str) -> ProductFile:
    """Return the FITS file of the product."""
    hdus = [
        image_hdu("FLUX", fit.rate_e_per_s, "electron/s"),
        image_hdu("QUAL", codes),
        image_hdu("ERRS", fit.rate_error_e_per_s, "electron/s"),
        image_hdu("OFFSET", fit.offset_e, "electron"),
        image_hdu("OFFSERR", fit.offset_error_e, "electron"),
        image_hdu("CHI2", fit.chi2),
    ]
    set_card(hdus[0].header, "ESO QC PEDESTAL", masters.pedestal, "subtracted level")
    set_card(hdus[0].header, "ESO QC BIAS COMMON", masters.common_error_e, "[electron] error all masters share")
    return ProductFile("dark rate", ".fits", category, fits.HDUList(hdus))
