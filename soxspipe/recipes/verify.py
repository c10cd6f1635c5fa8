"""Verify a master with raw frames, which are prepared as those of the master were."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ..comparison.verdicts import Verification
from ..comparison.verify_frames import FrameToVerify, verify_frames
from ..fits_files.images import read_image_hdus
from ..inputs.consistency import common_value
from ..inputs.exposure import setting_keywords
from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet, collect_frames
from ..instruments.keywords import load_instrument
from ..parallel import default_workers
from ..products.find_inputs import find_inputs
from ..products.load_master import LoadedMaster, load_master
from ..products.provenance import INSTRUMENT_TABLE
from ..run_log import get_logger
from ..settings import Settings
from .rerun import recipe_of, settings_of

__all__ = ["VerifiedMaster", "verify_master"]

_log = get_logger(__name__)

#: Levels that follow the pedestal of each frame.
FOLLOWING = ("overscan", "overscan, master bias")


@dataclass(frozen=True)
class VerifiedMaster:
    """The verdict on a master.

    Attributes
    ----------
    path : pathlib.Path
        The master.
    verification : Verification
        The verdict on each frame.
    warnings : tuple of str
        Assumptions that were made, one line each.
    """

    path: Path
    verification: Verification
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return the verdict as JSON holds it."""
        return {"master": str(self.path), **self.verification.record(), "warnings": list(self.warnings)}


def verify_master(
    master: str | os.PathLike[str],
    frames: Sequence[str | os.PathLike[str]],
    settings: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
    *,
    calibrations_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> VerifiedMaster:
    """Subtract a master from raw frames, and judge the residuals.

    Parameters
    ----------
    master : path-like
        A product of `~soxspipe.recipes.soxs_mdark` or `~soxspipe.recipes.soxs_mbias`.
    frames : sequence of path-like
        Raw frames that made it, or others of the same detector, read-out and exposure: FITS files, folders and
        set-of-files files. The master bias that was subtracted from the master may be among them.
    settings : str, path-like, mapping, Settings or None
        Of these the section ``verify`` counts, and how input is verified. All else is as in the header of the master.
    calibrations_dir : path-like, optional
        Folder that is searched for the master bias of the master; then the folder of the master and the working
        directory are searched.
    workers : int, optional
        Threads; see `~soxspipe.recipes.recipe.Recipe`.

    Returns
    -------
    VerifiedMaster

    Raises
    ------
    InputError
        When a file is damaged, the frames do not belong together or to the master, or the master bias is not found: a
        line for each.
    """
    given = Settings.load(settings)
    workers = default_workers() if workers is None else workers
    path = Path(master)
    header = next((image.header for image in read_image_hdus(path)), fits.Header())
    recipe = recipe_of(header, path, None)
    folder = None if calibrations_dir is None else Path(calibrations_dir)
    calibrations = find_inputs(header, path, folder, kinds=("CAL",), option="--calibrations")
    tables = [entry.path for entry in calibrations if entry.tag == INSTRUMENT_TABLE]
    table = tables[0] if tables else given.instruments.table
    loaded = load_master(path, None if table is None else load_instrument(table))
    known = {os.path.realpath(frame) for frame in frames}
    others = [
        entry for entry in calibrations
        if entry.tag != INSTRUMENT_TABLE and os.path.realpath(entry.path) not in known
    ]  # fmt: skip
    of_master = settings_of(header, recipe, path, tables).for_arm(loaded.detector.arm)
    found = collect_frames(
        [*frames, *others],
        recipe.kind,
        minimum_frames=1,
        extra_table=table,
        strict_checksums=given.input.verify_checksums == "strict",
        workers=workers,
    )
    loaded.check_match(
        _expected_keys(loaded, found), "the frames", "verify frames of the same detector, read-out and exposure"
    )
    common_mode = getattr(getattr(of_master, recipe.sections[0]), "common_mode", False)
    with PreparedFrames(found, workers, common_mode=common_mode) as prepared:
        images = loaded.images
        if prepared.common_error is not None:
            images = replace(images, bias_error_e=prepared.common_error)
        limits = given.for_arm(loaded.detector.arm).verify
        verification = verify_frames(images, _frames(loaded, found, prepared), limits)
    for name, check in verification.failed:
        _log.info("%s: %s of amplifier %s is %.4g", name, check.criterion, check.amplifier or "all", check.value)
    return VerifiedMaster(path, verification, (*found.warnings, *prepared.warnings))


def _frames(master: LoadedMaster, frames: FrameSet, prepared: PreparedFrames) -> Iterator[FrameToVerify]:
    """Yield the frames, prepared as those of the master."""
    drifts = prepared.pedestal not in FOLLOWING or (prepared.bias_has_pedestal and prepared.pedestals_e is not None)
    spans = frames.geometry.overscan_columns
    samples = frames.geometry.raw_shape[0] * sum(end - first for first, end in spans)
    for i, frame in enumerate(frames.frames):
        pixels = np.empty(prepared.shape, np.float32)
        saturated = prepared.read(i, 0, prepared.shape[0], pixels)
        if saturated is not None:
            pixels[saturated] = np.nan
        yield FrameToVerify(
            name=frame.name,
            pixels_e=pixels,
            in_master=frame.datasum in master.datasums,
            level_drifts=drifts,
            overscan_noise_e=None if prepared.overscan_noise_e is None else float(prepared.overscan_noise_e[i]),
            overscan_samples=samples,
            temperature_k=frame.temperature_k if math.isfinite(frame.temperature_k) else None,
        )


def _expected_keys(master: LoadedMaster, frames: FrameSet) -> dict[str, Any]:
    """Return detector, read-out and exposure of the frames, by the meanings of `LoadedMaster.keys`."""
    exposures = [frame.exposure for frame in frames.frames if frame.exposure is not None]
    ny, nx = frames.geometry.product_shape
    keys = ("chip", "ndit", "binx", "biny", *setting_keywords(frames.instrument))
    return {meaning: common_value(exposures, meaning)[1] for meaning in keys} | {
        "instrument": frames.instrument.name,
        "category": f"{master.category}_{frames.arm}",
        "size": f"{nx} x {ny}",
        "dit": frames.dit_s,
        "conad": frames.conad_e_per_adu,
    }
