"""A frame minus a master dark."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import MixedFramesError
from ..fits_files.pixel_reader import read_images
from ..inputs.frame_kinds import MASTER_BIAS, MASTER_DARK
from ..inputs.prepare import require_usable
from ..inputs.raw_frames import CalibrationFile, FrameSet
from ..inputs.set_of_files import SofEntry, list_files
from ..pixel_codes import PixelCode
from ..products.dark_match import PLANES, DarkMatch, find_bias, match_dark
from ..products.headers import ProductFile, add_qc, image_hdu, product_header
from ..products.pixel_cards import set_geometry, set_level
from ..products.prepared_frame import ANY_FRAME, PreparedImages, collect_frame
from ..products.provenance import Provenance
from ..quality.subtracted import subtracted_quality
from ..quality.table import QualityTable
from ..run_log import get_logger
from ..settings import ArmSettings
from ..stacking.dark_subtraction import DarkImages, Subtracted, subtract_master
from .recipe import Recipe, RecipeOutput

if TYPE_CHECKING:
    from ..products.frames import Frame

__all__ = ["soxs_subtract_dark"]

log = get_logger(__name__)


class soxs_subtract_dark(Recipe[FrameSet]):
    """Subtract a master dark from a raw frame that is calibrated as the darks were.

    The recipe trims the frame, converts it to electrons and subtracts overscan level and master bias, as
    `~soxspipe.recipes.soxs_mdark` did with the darks. The frame may be of any type that has an exposure. Its exposure
    must be that of the darks. With ``scale`` the master dark of a CCD is scaled to another exposure. A master that
    holds the pedestal is never scaled, nor is one of an infrared detector.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A raw frame, a master dark, and optionally the master bias of its darks and a static bad-pixel map. A master
        bias that is not given is searched in the folder of the master dark and in the working directory.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents; default: the settings that come with soxspipe.
    output_dir : str or path-like
        Folder of the products; made when it does not exist.
    overwrite : bool
        Whether an older product may be replaced.
    workers : int, optional
        Threads that unpack and verify files.
    progress : callable, optional
        Not called: a single frame takes a second.

    Examples
    --------
    >>> from soxspipe.recipes import soxs_subtract_dark
    >>> product = soxs_subtract_dark(["frame.fits", "master_dark.fits"]).produce_product()  # doctest: +SKIP
    >>> product.path, product.frame, product.qc                                             # doctest: +SKIP
    """

    kind = ANY_FRAME
    name = "soxs_subtract_dark"
    product_word = "DARKSUB"
    category = "DARK_SUBTRACTED"
    sections = ("subtract_dark",)
    imports = ("astropy.nddata",)
    has_report = False

    def collect(self) -> tuple[FrameSet, Provenance]:
        """Collect and verify the frame, the master dark and what was subtracted from its darks."""
        frames = collect_frame(self.input_frames, self.settings, self.workers)
        dark = frames.calibrations.get(MASTER_DARK)
        if dark is not None and MASTER_BIAS not in frames.calibrations:
            bias = find_bias(dark.header, dark.path)
            if bias is not None:
                given = list_files(self.input_frames).entries
                frames = collect_frame([*given, SofEntry(bias, None, "CAL")], self.settings, self.workers)
        self._match(frames)
        frame = frames.frames[0]
        frame_type = frames.instrument.value(frame.header, "type", frames.kind.tag)
        log.info("%s: %s of %s %s, %g s", frame.name, frame_type, frames.instrument.name, frames.arm, frames.dit_s)
        provenance = Provenance.of_frames(frames)
        return frames, replace(provenance, category=f"{frame_type}_{frames.arm}", single=True)

    def _match(self, frames: FrameSet) -> DarkMatch:
        return match_dark(frames, scale=self.settings.for_arm(frames.arm).subtract_dark.scale)

    def process(self, frames: FrameSet, settings: ArmSettings) -> RecipeOutput:
        """Subtract the master dark from the frame."""
        match, master = self._match(frames), frames.calibrations[MASTER_DARK]
        prepared = PreparedImages(frames, self.workers, common_mode=match.common_mode)
        if prepared.pedestal != match.pedestal:
            raise MixedFramesError(
                f"{frames.frames[0].label}: the subtracted level is '{prepared.pedestal}', expected "
                f"'{match.pedestal}' as of {master.name}: calibrate the frame as the darks were"
            )
        bias_error = prepared.images.bias_error if match.same_bias else _bias_error_of(master)
        dark = _read_dark(master, match.ndit, bias_error)
        result = subtract_master(
            prepared.images, dark, scale=match.scale, same_bias=match.same_bias, drift_e=match.drift_e
        )
        log.info("master dark %s, scaled by %g", master.name, match.scale)
        qc_values = subtracted_quality(result, scale=match.scale, level_error_e=match.level_error_e)
        quality = QualityTable(qc_values, settings.quality.ranges)
        file = _product_file(result, frames, prepared.pedestal, self.category)
        return RecipeOutput(quality, [file], (*match.warnings, *prepared.warnings))

    def subtract(self) -> Frame:
        """Return the difference as a CCDData with the header that its file would have, and write nothing."""
        from ..products.frames import frame_of_hdus  # imports astropy.nddata

        inputs, provenance, parameters = self._prepare()
        output = self.process(inputs, self.settings.for_arm(inputs.arm))
        warnings = (*inputs.warnings, *output.warnings, *output.qc.warnings)
        for line in warnings:
            log.warning("%s", line)
        header = product_header(provenance, self.name, f"{self.category}_{inputs.arm}", parameters)
        add_qc(header, output.qc, warnings)
        hdus = output.files[0].hdus
        hdus[0].header.extend(header, end=True)
        return frame_of_hdus(hdus)


def _read_dark(master: CalibrationFile, ndit: int, bias_error: NDArray[np.float32] | None) -> DarkImages:
    data, error, codes, count = read_images([master.images[name] for name in PLANES])
    data, error = (np.array(image, np.float32) for image in (data, error))
    codes = np.array(np.nan_to_num(codes), np.int32)
    usable = require_usable(data, error, master.name)
    data[~usable] = np.nan
    codes[~usable] |= PixelCode.NO_DATA.value
    return DarkImages(data, error, codes, count, ndit, bias_error)


def _bias_error_of(master: CalibrationFile) -> NDArray[np.float32] | None:
    """Return the error that another master bias gave the darks: its median, as the header has it."""
    value = master.header.get("ESO QC BIAS NOISE")
    return None if value is None else np.full(master.images["FLUX"].shape, value, np.float32)


def _product_file(result: Subtracted, frames: FrameSet, pedestal: str, category: str) -> ProductFile:
    hdus = [
        image_hdu("FLUX", result.data, "electron"),
        image_hdu("QUAL", result.codes),
        image_hdu("ERRS", result.error, "electron"),
    ]
    header = hdus[0].header
    words = ", ".join(word for word in (pedestal, "master dark") if word != "nothing")
    set_level(header, frames, words, "frame - dark")
    set_geometry(header, frames.geometry)
    header["COMMENT"] = "ESO QC SHARED ERR is the part of ERRS that all frames share from which"
    header["COMMENT"] = "this master dark is subtracted. It does not average out."
    return ProductFile("dark-subtracted frame", ".fits", category, fits.HDUList(hdus))
