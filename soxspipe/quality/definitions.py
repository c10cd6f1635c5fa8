"""The QC values: name, unit, words and default range of each, declared once.

The section ``quality`` of the settings, header cards, JSON, QTable and the tables of the documentation derive from
these definitions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..text import nearest

__all__ = ["ANY_ADVICE", "DEFINITIONS", "HOT_LEVELS", "SUMMARY", "QCDefinition", "Range", "definition_of"]

#: Low and high end of a range; None where it is open.
Range = tuple[float | None, float | None]

#: Excess above which hot pixels are counted, electron/s; the same for all sets, so that sets compare.
HOT_LEVELS = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class QCDefinition:
    """The definition of a QC value.

    Attributes
    ----------
    name : str
        Name behind ``ESO QC``; ``{i}`` stands for a number from 1.
    unit : str
        Unit in the notation of the FITS standard; empty for pure numbers.
    words : str
        Its meaning in a few words, which fit the card of the header; docs/qc_details.txt has the rest.
    recipes : tuple of str
        Recipes that measure it.
    range : tuple of (float or None)
        Default range.
    arm_ranges : mapping of str to (range, str)
        Default range of single arms, each with its reason.
    """

    name: str
    unit: str
    words: str
    recipes: tuple[str, ...]
    range: Range = (None, None)
    arm_ranges: Mapping[str, tuple[Range, str]] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """What to do if the value is out of its range, in plain words."""
        return _ADVICE.get(self.name, ANY_ADVICE)


_DARK, _BIAS, _RATE = ("soxs_mdark",), ("soxs_mbias",), ("soxs_dark_current",)
_STACK, _SUBTRACTED = (*_DARK, *_BIAS), ("soxs_subtract_dark",)

# the specification of SOXS; soxs_mdark does not use it where the instrument table has no dark current limit
_CURRENT_RANGES = {
    "NIR": ((None, 0.005), "specified dark current"),
    "VIS": ((None, 0.00012), "specified dark current"),
    "UVB": ((None, None), "not specified"),
    "ACQ": ((None, 0.00012), "specified dark current"),
}
_READ_NOISE_RANGES = {
    "NIR": ((3.0, 20.0), "read noise of a double-correlated frame"),
    "VIS": ((1.5, 8.0), "read noise, slow to fast"),
    "UVB": ((1.5, 8.0), "read noise, slow to fast"),
    "ACQ": ((1.5, 8.0), "read noise"),
}
#: Errors that are wrong by ten per cent are out of it; of right ones those of 2000 pixels are in it.
_PULL_RANGE = (0.95, 1.05)
_HOT_RANGES = {
    "NIR": ((None, 0.02), "a similar detector has 0.5 per cent"),
    "VIS": ((None, 0.005), "a similar detector has less than 0.1 per cent"),
    "UVB": ((None, 0.005), "a similar detector has 0.1 per cent"),
    "ACQ": ((None, 0.005), "a similar detector has less than 0.1 per cent"),
}

_ALL = (
    QCDefinition("MDARK MEDIAN", "electron", "median of good pixels", _DARK),
    QCDefinition("MDARK MEAN", "electron", "clipped mean", _DARK),
    QCDefinition("MDARK STDEV", "electron", "clipped std", _DARK),
    QCDefinition("LEVEL", "electron", "clipped mean, see LEVEL TYPE", _DARK),
    QCDefinition("LEVEL ERR", "electron", "one-sigma error of LEVEL", _DARK),
    QCDefinition("LEVEL DOF", "", "degrees of freedom of LEVEL ERR", _DARK),
    QCDefinition("DARK CURRENT", "electron/s", "clipped mean rate", _DARK, arm_ranges=_CURRENT_RANGES),
    QCDefinition("DARK CURRENT ERR", "electron/s", "one-sigma error", _DARK),
    QCDefinition("DARK CURRENT LIMIT", "", "T: only an upper limit", _DARK),
    QCDefinition("BIAS LEVEL", "electron", "clipped mean + overscan", _BIAS),
    QCDefinition("BIAS LEVEL ERR", "electron", "one-sigma error", _BIAS),
    QCDefinition("BIAS MEDIAN", "electron", "median of good pixels", _BIAS),
    QCDefinition("BIAS STDEV", "electron", "clipped std", _BIAS),
    QCDefinition("RON RAW", "electron", "noise of a single frame", _STACK, arm_ranges=_READ_NOISE_RANGES),
    QCDefinition("RON MASTER", "electron", "noise of the master", _STACK),
    QCDefinition("RON MASTER RATIO", "", "noise of the master over ERRS", _STACK, _PULL_RANGE),
    QCDefinition("RON CORR", "", "noise of 10 x 10 means over expected", _STACK),
    QCDefinition("RON CORR ROW", "", "noise of row means over expected", _STACK),
    QCDefinition("RON SPREAD", "", "relative spread of the pixel noise", _STACK, (None, 0.3)),
    QCDefinition("RON SPREAD ERR", "", "one-sigma error of RON SPREAD", _STACK),
    QCDefinition("RON SPREAD FALSE", "", "expected false hot and cold", _STACK),
    QCDefinition("FPN", "electron", "fixed-pattern noise", _STACK),
    QCDefinition("PULL STD", "", "noise over ERRS, 1 for right errors", _STACK, _PULL_RANGE),
    QCDefinition("HOTPIX SIGMA", "", "unit of hot-pixel-sigma over ERRS", _STACK),
    QCDefinition("RON RAW{i}", "electron", "noise of amplifier {i}", _STACK),
    QCDefinition("BIAS NOISE", "electron", "median error of the bias", _DARK),
    QCDefinition("BIAS AGE", "d", "time between frames and bias", _DARK),
    QCDefinition("BIAS QUALITY", "", "bias age: 0 (plan) to 3 (risk)", _DARK, (None, 2)),
    QCDefinition("MAP AGE", "d", "time between frames and map", _STACK),
    QCDefinition("MAP QUALITY", "", "map age: 0 (plan) to 3 (risk)", _STACK, (None, 2)),
    QCDefinition("STRUCT X", "electron/pixel", "slope along X", _STACK),
    QCDefinition("STRUCT Y", "electron/pixel", "slope along Y", _STACK),
    QCDefinition("ROW STRUCT", "electron", "rms of the row profile", _BIAS),
    QCDefinition("COL STRUCT", "electron", "rms of column profile", _BIAS),
    QCDefinition("CONTAM", "", "(corner median - centre median)/RON RAW", _DARK),
    QCDefinition("HOTCOL NUM", "", "hot columns", _BIAS),
    QCDefinition("HOTPIX NUM", "", "hot pixels", _STACK),
    QCDefinition("HOTPIX FRAC", "", "fraction of hot pixels", _DARK, arm_ranges=_HOT_RANGES),
    *(
        QCDefinition(f"HOTPIX ABS{i}", "", f"hot pixels above {level:g} electron/s", (*_DARK, *_RATE))
        for i, level in enumerate(HOT_LEVELS, 1)
    ),
    QCDefinition("HOTPIX FDR", "", "expected share of false hot pixels", _DARK),
    QCDefinition("COLDPIX NUM", "", "cold or dead pixels", _STACK),
    QCDefinition("NOISYPIX NUM", "", "noisy pixels", _STACK),
    QCDefinition("NOISYPIX TESTED", "", "F: noisy pixels not tested", _STACK),
    QCDefinition("BADCOL NUM", "", "bad columns, whole or in part", _STACK),
    QCDefinition("AMBIGPIX NUM", "", "ambiguous pixels", _DARK),
    QCDefinition("SATPIX NUM", "", "pixels saturated in half the frames", _DARK),
    QCDefinition("CRRATE", "1/(cm2 s)", "cosmic rays", _DARK),
    QCDefinition("REJECT FRAC", "", "fraction of samples rejected", _STACK, (None, 0.05)),
    QCDefinition("INVALID FRAC", "", "fraction of samples without data", _STACK, (None, 0.01)),
    QCDefinition("LEVEL SCATTER", "electron", "std of frame levels", _STACK, (None, 50.0)),
    QCDefinition("LEVEL TREND", "electron/h", "slope of frame levels", _STACK),
    QCDefinition("DETECTOR TEMP", "K", "mean detector temperature", _STACK),
    QCDefinition("DETECTOR TEMP RANGE", "K", "highest minus lowest", _STACK, (None, 2.0)),
    QCDefinition("TIME SPAN", "d", "from first to last start", _STACK, (None, 60.0)),
    QCDefinition("VET NUM", "", "frames that differ from the others", _STACK),
    QCDefinition("VET EXCLUDED", "", "frames left out by the vetting", _STACK),
    QCDefinition("VET SLOPE", "", "third largest slope of boxes, sigma", _STACK),
    QCDefinition("DARK RATE", "electron/s", "clipped mean", _RATE),
    QCDefinition("DARK RATE ERR", "electron/s", "one-sigma error", _RATE),
    QCDefinition("DARK LIMIT", "electron/s", "specified dark current", _RATE),
    QCDefinition("OFFSET", "electron", "clipped mean", _RATE),
    QCDefinition("OFFSET ERR", "electron", "one-sigma error", _RATE),
    QCDefinition("LEVEL CHI2", "", "reduced chi2 of the levels", _RATE),
    QCDefinition("CHI2 MEDIAN", "", "median reduced chi2 of good pixels", _RATE),
    QCDefinition("NONLIN NUM", "", "non-linear pixels", _RATE),
    QCDefinition("NONLIN TESTED", "", "F: two masters only, not tested", _RATE),
    QCDefinition("NODATA NUM", "", "pixels without a rate", _RATE),
    QCDefinition("MASTERS", "", "number of master darks", _RATE),
    QCDefinition("EXPTIME MIN", "s", "shortest exposure (DIT)", _RATE),
    QCDefinition("EXPTIME MAX", "s", "longest exposure (DIT)", _RATE),
    QCDefinition("SUB MEDIAN", "electron", "median of good pixels", _SUBTRACTED),
    QCDefinition("SUB MEAN", "electron", "clipped mean", _SUBTRACTED),
    QCDefinition("SUB STDEV", "electron", "clipped std", _SUBTRACTED),
    QCDefinition("SUB PULL", "", "clipped std over ERRS, 1 for a dark", _SUBTRACTED),
    QCDefinition("SHARED ERR", "electron", "median shared error", _SUBTRACTED),
    QCDefinition("SHARED LEVEL ERR", "electron", "shared level error", _SUBTRACTED),
    QCDefinition("DARK SCALE", "", "factor of the master dark", _SUBTRACTED),
    QCDefinition("FRAME SATPIX NUM", "", "saturated in frame or dark", _SUBTRACTED),
    QCDefinition("BADPIX NUM", "", "pixels with a code", _SUBTRACTED),
)

_PULL_ADVICE = (
    "ERRS is wrong by about this factor. Look for a frame that differs from the others and leave it out. If none does, "
    "scale the errors by this factor before you use them."
)
_AGE_ADVICE = "The calibration is old. Reduce again with one that is nearer in time."
#: What to do if a value is out of its range, for each value that has one by default or by the data.
_ADVICE = {
    "DARK CURRENT": "More charge than specified: look for light, glow or persistence in the image of the master, and "
    "check the detector temperature. Take the darks again with all light off and all covers closed.",
    "RON RAW": "Too high: look for interference, or for one noisy amplifier. Too low: the gain in the header is wrong, "
    "or the frames are copies. Take the set again; if the value stays, ask the instrument team.",
    "RON MASTER RATIO": _PULL_ADVICE,
    "PULL STD": _PULL_ADVICE,
    "RON SPREAD": "The noise differs between pixels, so some pixels are hot or cold by their noise alone. Raise "
    "hot-pixel-sigma, or count fewer of the faint hot pixels as real.",
    "BIAS QUALITY": _AGE_ADVICE,
    "MAP QUALITY": _AGE_ADVICE,
    "HOTPIX FRAC": "More hot pixels than usual: check the detector temperature and look for light in the master. "
    "Compare the map with that of an earlier set before you use it.",
    "REJECT FRAC": "Many samples were rejected. Look at the outliers by frame: if one frame has most of them, leave it "
    "out. If all have many, the exposure is too long for this number of frames.",
    "INVALID FRAC": "Samples hold no data: a frame is damaged or incomplete. Fetch it again, or leave it out.",
    "LEVEL SCATTER": "The level moves from frame to frame. Look at the levels against time: leave out frames at the "
    "start if the detector was settling, else take the set again.",
    "DETECTOR TEMP RANGE": "Dark current depends on the temperature. Keep the frames of one temperature, or take the "
    "set again when it is stable.",
    "TIME SPAN": "The frames are of different epochs, and hot pixels change. Reduce each epoch alone.",
    "DARK LIMIT": "The dark current is above its specification. Look at the rate map for light and glow, and check the "
    "temperature of the masters.",
    "LEVEL CHI2": "The levels do not follow a line: a pedestal drifted, or a master has light in it. Leave out the "
    "master that is furthest from the line, and fit again.",
    "CHI2 MEDIAN": "Too high: the masters were taken under different conditions, or their errors are too small. Too "
    "low: their errors are too large. Check PULL STD of each master, and use masters of one night.",
}
ANY_ADVICE = (
    "Compare it with earlier products of this detector. If only this set differs, look at its frames. If all differ, "
    "adapt the range in the settings."
)

#: The figures that are shown after a run.
SUMMARY = (
    "LEVEL", "DARK CURRENT", "BIAS LEVEL", "DARK RATE", "DARK RATE ERR", "RON RAW", "RON MASTER RATIO",
    "PULL STD", "HOTPIX NUM", "HOTCOL NUM", "COLDPIX NUM", "NOISYPIX NUM", "REJECT FRAC", "DETECTOR TEMP RANGE",
    "LEVEL CHI2", "NONLIN NUM", "VET NUM", "SUB MEDIAN", "SUB STDEV", "SHARED ERR", "BADPIX NUM",
)  # fmt: skip
#: All QC values by name, in the order of the documentation.
DEFINITIONS: Mapping[str, QCDefinition] = {definition.name: definition for definition in _ALL}


def definition_of(name: str) -> QCDefinition:
    """Return the definition of a QC value.

    Parameters
    ----------
    name : str
        Name of the value, such as ``FPN`` or ``RON RAW7``.

    Returns
    -------
    QCDefinition

    Raises
    ------
    ValueError
        When no QC value has that name.
    """
    for candidate in (name, re.sub(r"[1-9][0-9]{0,3}\Z", "{i}", name)):
        if candidate in DEFINITIONS and "{i}" not in name:
            return DEFINITIONS[candidate]
    raise ValueError(f"unknown QC value: {nearest(name, DEFINITIONS)}")
