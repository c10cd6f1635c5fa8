"""Whether a master dark fits a frame: calibration, exposure and conversion factor of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..exceptions import FrameError, InputError, MixedFramesError, SetOfFilesError
from ..inputs.frame_kinds import MASTER_BIAS, MASTER_DARK, RECIPE, recorded_bias, recorded_parameters
from ..inputs.keyword_rules import RULES, read_number, time_tolerance
from ..inputs.raw_frames import CalibrationFile, FrameSet
from ..text import escape, format_value
from .find_inputs import find_inputs

__all__ = ["PLANES", "DarkMatch", "find_bias", "match_dark"]

PEDESTAL, EXPOSURE, LEVEL_TYPE, CONAD = "ESO QC PEDESTAL", "ESO QC EXPOSURE", "ESO QC LEVEL TYPE", "ESO QC CONAD"
#: Planes of a master dark that are read.
PLANES = ("FLUX", "ERRS", "QUAL", "NCOMBINE")
REMAKE = "make the master dark again with 'soxspipe mdark'"


@dataclass(frozen=True)
class DarkMatch:
    """How a master dark is subtracted from a frame.

    Attributes
    ----------
    scale : float
        Factor of the master: exposure of the frame over that of the darks.
    ndit : int
        Integrations that each of the darks is the average of.
    pedestal : str
        Level that was subtracted from the darks.
    same_bias : bool
        Whether frame and darks have the same master bias, or none.
    common_mode : bool
        Whether the common mode of the amplifiers was removed from the darks.
    drift_e : float
        Scatter of the pedestals of the darks, electron; 0 where each frame's overscan is subtracted.
    level_error_e : float or None
        Error of the level of the master, electron.
    warnings : tuple of str
        Warnings, one line each.
    """

    scale: float
    ndit: int
    pedestal: str
    same_bias: bool
    common_mode: bool
    drift_e: float
    level_error_e: float | None
    warnings: tuple[str, ...] = ()


def find_bias(header: fits.Header, path: Path) -> Path | None:
    """Find the master bias that was subtracted from the darks of a master, beside it or in the working directory.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the master dark.
    path : pathlib.Path
        The master dark.

    Returns
    -------
    pathlib.Path or None
        None where the darks had no master bias.

    Raises
    ------
    SetOfFilesError
        When it is not found.
    """
    record = recorded_bias(header)
    if record is None:
        return None
    wanted = fits.Header()
    for word, value in record.items():
        wanted[f"HIERARCH {RECIPE} CAL1 {word}"] = value
    try:
        return find_inputs(wanted, path, None)[0].path
    except InputError as error:
        raise SetOfFilesError(
            f"{escape(path)}: the master bias of its darks, {escape(record['NAME'])}, is not found in its folder "
            "or the working directory: give it too (--bias)"
        ) from error


def match_dark(frames: FrameSet, *, scale: bool) -> DarkMatch:
    """Check that the master dark of a set fits its frame.

    Parameters
    ----------
    frames : FrameSet
        A raw frame with a master dark, which has the same read-out.
    scale : bool
        Whether the master may be scaled to another exposure.

    Returns
    -------
    DarkMatch

    Raises
    ------
    InputError
        When there is no master dark, or it does not fit: one line for each reason.
    """
    dark = frames.calibrations.get(MASTER_DARK)
    label = frames.frames[0].label
    if dark is None:
        raise SetOfFilesError(f"{label}: there is no master dark of arm {frames.arm}: give one that fits the frame")
    lacking = [name for name in PLANES if name not in dark.images]
    header = dark.header
    lacking += [word for word in (PEDESTAL, EXPOSURE, LEVEL_TYPE, CONAD) if word not in header]
    if lacking:
        raise FrameError(f"{dark.name}: has no {', '.join(lacking)}, expected a master dark of soxspipe: {REMAKE}")
    faults = [*_conversion_faults(frames, header, dark), *_exposure_faults(frames, header, dark, scale)]
    bias, record = frames.calibrations.get(MASTER_BIAS), recorded_bias(header)
    if bias is not None and record is None:
        faults.append(
            f"{bias.name}: the darks of {dark.name} had no master bias, and the frame must be calibrated as they were: "
            "leave it out"
        )
    if faults:
        raise MixedFramesError(faults)
    used = recorded_bias(frames.frames[0].header) if frames.is_prepared else None
    digest = used["DATAMD5"] if used else None if bias is None else bias.datamd5
    same_bias = record is None or digest is None or record["DATAMD5"] == digest
    warnings = []
    if bias is not None and not same_bias:
        warnings.append(f"{bias.name}: is not the master bias of the darks of {dark.name}: its error does not cancel")
    is_dark = "DARK" in str(frames.instrument.value(frames.frames[0].header, "type", ""))
    common_mode = recorded_parameters(header).get("common-mode") == "true"
    if common_mode and not is_dark:
        warnings.append(f"common-mode of {dark.name} is not removed from this frame: its signal would be taken for it")
    pedestal = str(header[PEDESTAL])
    return DarkMatch(
        scale=frames.dit_s / float(header[EXPOSURE]) if _differ(frames.dit_s, header[EXPOSURE]) else 1.0,
        ndit=RULES["ndit"].read(frames.instrument.value(header, "ndit")) or 1,
        pedestal=pedestal,
        same_bias=same_bias,
        common_mode=common_mode and is_dark,
        drift_e=0.0 if pedestal.startswith("overscan") else read_number(header.get("ESO QC LEVEL SCATTER")) or 0.0,
        level_error_e=read_number(header.get("ESO QC LEVEL ERR")),
        warnings=tuple(warnings),
    )


def _conversion_faults(frames: FrameSet, header: fits.Header, dark: CalibrationFile) -> Iterator[str]:
    conad, used = read_number(header[CONAD]), frames.conad_e_per_adu
    if conad is None or abs(conad - used) > 1e-3 * used:
        yield (
            f"{dark.name}: {CONAD} is {format_value(header[CONAD])}, expected {used:g} as of the frame "
            f"{frames.frames[0].label}: give a master dark of the same gain"
        )


def _exposure_faults(frames: FrameSet, header: fits.Header, dark: CalibrationFile, scale: bool) -> Iterator[str]:
    """Yield why the exposures of frame and darks do not go together."""
    exposure_s, label = read_number(header[EXPOSURE]), frames.frames[0].label
    if exposure_s is None:
        yield f"{dark.name}: {EXPOSURE} is {format_value(header[EXPOSURE])}, expected seconds above zero: {REMAKE}"
    elif _differ(frames.dit_s, exposure_s):
        found = f"{label}: the exposure (DIT) is {frames.dit_s:g} s, that of {dark.name} {exposure_s:g} s"
        if frames.detector.mode == "read_mode":
            yield f"{found}, and the dark of an infrared detector does not grow in proportion: give a dark of this DIT"
        elif str(header[LEVEL_TYPE]) != "dark":
            yield (
                f"{found}, and that holds the pedestal, which must not be scaled: make the master dark with a master "
                "bias, or give a dark of this exposure"
            )
        elif not scale:
            yield f"{found}, expected the same: give a dark of this exposure, or scale it (--scale)"


def _differ(one_s: float, other_s: Any) -> bool:
    return abs(one_s - float(other_s)) > time_tolerance(one_s)
