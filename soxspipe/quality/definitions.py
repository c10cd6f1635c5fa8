"""The QC values: name, unit, words and default range of each, declared once.

The section ``quality`` of the settings, header cards, JSON, QTable and the tables of the documentation derive from
these definitions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..text import nearest

__all__ = ["DEFINITIONS", "HOT_LEVELS", "QCDefinition", "Range", "definition_of"]

#: Low and high end of a range; None where it is open.
Range = tuple[float | None, float | None]

#: Excess above which hot pixels are counted, electron/s; the same for all sets, so that sets compare.
HOT_LEVELS = (0.01, 0.1, 1.0)

_DARK, _BIAS, _RATE = ("soxs_mdark",), ("soxs_mbias",), ("soxs_dark_current",)
_STACK = (*_DARK, *_BIAS)


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
        Its meaning in a few words, for header, JSON and settings file.
    recipes : tuple of str
        Recipes that measure it.
    details : str
        Formula and exceptions, for the documentation.
    range : tuple of (float or None)
        Default range.
    arm_ranges : mapping of str to (range, str)
        Default range of single arms, each with its reason.
    """

    name: str
    unit: str
    words: str
    recipes: tuple[str, ...]
    details: str = ""
    range: Range = (None, None)
    arm_ranges: Mapping[str, tuple[Range, str]] = field(default_factory=dict)


# fmt: off
_ALL = (
    QCDefinition("MDARK MEDIAN", "electron", "median of good pixels", _DARK, "grouped median"),
    QCDefinition("MDARK MEAN", "electron", "clipped mean of good pixels", _DARK),
    QCDefinition("MDARK STDEV", "electron", "clipped standard deviation of good pixels", _DARK),
    QCDefinition(
        "DARK CURRENT", "electron/s", "clipped mean over the exposure time", _DARK,
        "MDARK MEAN over the exposure of one integration (DIT)",
        arm_ranges={
            "NIR": ((None, 0.005), "specified dark current"),
            "VIS": ((None, 0.00012), "specified dark current"),
            "UVB": ((None, None), "not specified"),
            "ACQ": ((None, 0.00012), "specified dark current"),
        },
    ),
    QCDefinition(
        "DARK CURRENT ERR", "electron/s", "one-sigma error of DARK CURRENT", _DARK,
        "√(max(R²/Npix, s²)/N + ⟨bias error²⟩/Npix + D) over the exposure. R is RON RAW, N the number of frames, Npix "
        "that of good pixels, s the standard deviation of the frames' levels, D the drift of the pedestal since the "
        "master bias was taken",
    ),
    QCDefinition(
        "DARK CURRENT LIMIT", "", "T: DARK CURRENT is an upper limit", _DARK,
        "T where no pedestal was subtracted, and where DARK CURRENT is within three errors of zero. DARK CURRENT then "
        "has no verdict",
    ),
    QCDefinition("BIAS LEVEL", "electron", "clipped mean of good pixels", _BIAS),
    QCDefinition("BIAS LEVEL ERR", "electron", "one-sigma error of BIAS LEVEL", _BIAS),
    QCDefinition("BIAS MEDIAN", "electron", "median of good pixels", _BIAS, "grouped median"),
    QCDefinition("BIAS STDEV", "electron", "clipped standard deviation of good pixels", _BIAS),
    QCDefinition(
        "RON RAW", "electron", "read noise of a single frame", _STACK,
        "R, measured from the differences of frames: rms over the amplifiers, by their area",
        arm_ranges={
            "NIR": ((3.0, 20.0), "read noise of a double-correlated frame"),
            "VIS": ((1.5, 8.0), "read noise, slow to fast"),
            "UVB": ((1.5, 8.0), "read noise, slow to fast"),
            "ACQ": ((1.5, 8.0), "read noise"),
        },
    ),
    QCDefinition(
        "RON RAW{i}", "electron", "read noise of a single frame, amplifier {i}", _STACK,
        "where there is more than one amplifier",
    ),
    QCDefinition(
        "RON MASTER", "electron", "noise of the master, from its halves", _STACK,
        "std(A - B) √(nA nB)/N for the halves A and B of the stack (odd and even frames), in every eighth row, without "
        "pixels that lost a sample",
    ),
    QCDefinition(
        "RON MASTER RATIO", "", "RON MASTER over RON RAW / sqrt(frames)", _STACK,
        "1 when the frames are independent", (0.9, 1.1),
    ),
    QCDefinition(
        "FPN", "electron", "fixed-pattern noise of good pixels", _STACK,
        "√(variance of the good pixels - RON MASTER²); 0 where that is negative",
    ),
    QCDefinition("BIAS NOISE", "electron", "median error of the master bias", _DARK, "where one was subtracted"),
    QCDefinition(
        "PULL STD", "", "scatter of good pixels over their error", _STACK,
        "clipped width of (value - local level) / error; 1 when the errors are right", (0.9, 1.1),
    ),
    QCDefinition("STRUCT X", "electron/pixel", "slope of the profile along X", _STACK, "good pixels, product axes"),
    QCDefinition("STRUCT Y", "electron/pixel", "slope of the profile along Y", _STACK, "good pixels, product axes"),
    QCDefinition("ROW STRUCT", "electron", "rms of the row profile beyond its noise", _BIAS),
    QCDefinition("COL STRUCT", "electron", "rms of the column profile beyond its noise", _BIAS),
    QCDefinition(
        "CONTAM", "", "(corner median - centre median) / RON RAW", _DARK,
        "light or glow in the corners of the smooth local level. A corner is a sixteenth of either side, the centre "
        "the middle quarter of either side",
    ),
    QCDefinition("HOTCOL NUM", "", "hot columns", _BIAS),
    QCDefinition("HOTPIX NUM", "", "hot pixels", _STACK),
    QCDefinition(
        "HOTPIX FRAC", "", "fraction of hot pixels", _DARK,
        arm_ranges={
            "NIR": ((None, 0.02), "a similar detector has 0.5 per cent"),
            "VIS": ((None, 0.005), "a similar detector has less than 0.1 per cent"),
            "UVB": ((None, 0.005), "a similar detector has 0.1 per cent"),
            "ACQ": ((None, 0.005), "a similar detector has less than 0.1 per cent"),
        },
    ),
    *(
        QCDefinition(
            f"HOTPIX ABS{i}", "", f"hot pixels above {level:g} electron/s", (*_DARK, *_RATE),
            "in a master dark: pixels with the code 256, by their excess over the local level; in a map of dark rates: "
            "all pixels, by their rate. Not defined where the limit is below 5 median errors",
        )
        for i, level in enumerate(HOT_LEVELS, 1)
    ),
    QCDefinition(
        "HOTPIX FDR", "", "expected share of false hot pixels", _DARK,
        "all pixels times erfc(k/√2)/2 over HOTPIX NUM, at most 1, for k = hot-pixel-sigma; not defined without any",
    ),
    QCDefinition("COLDPIX NUM", "", "cold or dead pixels", _STACK),
    QCDefinition("NOISYPIX NUM", "", "noisy pixels", _STACK, "not defined where they were not searched"),
    QCDefinition("NOISYPIX TESTED", "", "F: too few frames to search noisy pixels", _STACK),
    QCDefinition("AMBIGPIX NUM", "", "ambiguous pixels", _DARK),
    QCDefinition(
        "SATPIX NUM", "", "pixels saturated in at least half of the frames", _DARK,
        "from the level of the instrument table, else from the highest that 16 bits hold",
    ),
    QCDefinition(
        "CRRATE", "1/(cm2 s)", "cosmic rays", _DARK,
        "groups of rejected samples that touch at an edge or a corner, within a frame, over the area of the pixels and "
        "the exposure of all frames (N times NDIT times DIT). Samples of noisy pixels are left out",
    ),
    QCDefinition("REJECT FRAC", "", "fraction of samples rejected", _STACK, "by the clip", (None, 0.05)),
    QCDefinition("INVALID FRAC", "", "fraction of samples without data", _STACK, range=(None, 0.01)),
    QCDefinition(
        "LEVEL SCATTER", "electron", "scatter of the levels of the frames", _STACK,
        "standard deviation (ddof 1) after overscan and bias subtraction", (None, 50.0),
    ),
    QCDefinition("LEVEL TREND", "electron/h", "slope of the levels against time", _STACK),
    QCDefinition("DETECTOR TEMP", "K", "mean detector temperature", _STACK, "where the headers have it"),
    QCDefinition("DETECTOR TEMP RANGE", "K", "range of the detector temperature", _STACK, "where the headers have it"),
    QCDefinition(
        "DARK RATE", "electron/s", "clipped mean of good pixels", _RATE, "no verdict within three errors of zero"
    ),
    QCDefinition("DARK RATE ERR", "electron/s", "one-sigma error of DARK RATE, from the levels", _RATE,
                 "from the line through the levels, so that it includes the drifts of whole frames"),
    QCDefinition(
        "DARK LIMIT", "electron/s", "specified; DARK RATE may be 2 errors above", _RATE,
        "dark current of the instrument table, times the pixels that are binned",
    ),
    QCDefinition("OFFSET", "electron", "clipped mean of the offsets of good pixels", _RATE),
    QCDefinition("OFFSET ERR", "electron", "one-sigma error of OFFSET, from the levels", _RATE),
    QCDefinition(
        "LEVEL CHI2", "", "reduced chi2 of the levels", _RATE,
        "over m - 2 degrees of freedom for m masters; not defined for two. Passes up to the value that one set in a "
        "thousand exceeds",
    ),
    QCDefinition(
        "CHI2 MEDIAN", "", "median reduced chi2 of good pixels", _RATE,
        "not defined for two masters. Passes from 0.81 to 1.21 times the median of chi2 with m - 2 degrees of freedom, "
        "over m - 2 (0.37 to 0.55 for three masters): errors that are right to 10 %",
    ),
    QCDefinition("NONLIN NUM", "", "non-linear pixels", _RATE, "not defined for two masters"),
    QCDefinition("NONLIN TESTED", "", "F: two masters only, chi2 is not defined", _RATE),
    QCDefinition("NODATA NUM", "", "pixels without a rate", _RATE),
    QCDefinition("MASTERS", "", "number of master darks", _RATE),
    QCDefinition("EXPTIME MIN", "s", "shortest exposure (DIT)", _RATE),
    QCDefinition("EXPTIME MAX", "s", "longest exposure (DIT)", _RATE),
)
# fmt: on

#: All QC values by name, in the order of header, JSON and documentation.
DEFINITIONS: Mapping[str, QCDefinition] = {definition.name: definition for definition in _ALL}


def definition_of(name: str) -> QCDefinition:
    """Return the definition of a QC value.

    Parameters
    ----------
    name : str
        A name in `DEFINITIONS`, or one of a numbered value, such as ``RON RAW7``.

    Returns
    -------
    QCDefinition

    Raises
    ------
    ValueError
        When no QC value has that name.
    """
    numbered = re.sub(r"[1-9][0-9]{0,3}\Z", "{i}", name)
    if name not in DEFINITIONS and numbered not in DEFINITIONS:
        raise ValueError(f"unknown QC value: {nearest(name, DEFINITIONS)}")
    return DEFINITIONS.get(name) or DEFINITIONS[numbered]
