"""Start of an exposure, from the ways in which headers write it.

Dates are converted by ERFA, the library below `astropy.time`. Its functions in `erfa.ufunc` return a status; the same
functions in `astropy.time` warn of dates a few years from now, and a filter of warnings holds for the whole process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import erfa

from ..instruments.keywords import Instrument
from ..text import format_value
from .keyword_rules import read_number

__all__ = ["MJD_DECIMALS", "read_start", "utc_text"]

#: First and last date of a sound header (MJD; the years 1900 and 2406).
FIRST_MJD, LAST_MJD = 15_020, 200_000
#: Zero of MJD in JD.
MJD_ZERO = 2_400_000.5
DAY_S = 86_400.0
#: Decimals of a modified Julian date in a header: a millisecond.
MJD_DECIMALS = 8
#: MJD-OBS and DATE-OBS that differ by more contradict each other, second.
SAME_START_S = 1.0
#: A year of two digits is one of the 20th century (FITS standard), in which no detector is older than this.
FIRST_TWO_DIGIT_YEAR = 70
#: Time scales (TIMESYS) ahead of TAI, second; None: UTC. ET, TDT and TDB are TT to a millisecond or two.
SCALES = {
    "UTC": None, "UT": None, "UT1": None, "GMT": None, "TAI": 0.0, "IAT": 0.0, "GPS": -19.0, "TT": 32.184,
    "TDT": 32.184, "ET": 32.184, "TDB": 32.184,
}  # fmt: skip

_DATE = re.compile(
    r"(?:(?P<year>\d{4})(?P<dash>[-/])(?P<month>\d\d?)(?P=dash)(?P<day>\d\d?)"
    r"|(?P<old_day>\d\d?)/(?P<old_month>\d\d?)/(?P<old_year>\d\d))(?:[T ] *(?P<time>.+))?",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?P<hour>\d\d?):(?P<minute>\d\d?)(?::(?P<second>\d\d?(?:\.\d*)?))?\s*"
    r"(?P<zone>Z|UTC?|GMT|(?P<sign>[+-])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?)?",
    re.IGNORECASE,
)


def utc_text(mjd: float) -> str:
    """Return a date as FITS writes it, ``YYYY-MM-DDThh:mm:ss.sss``.

    It is rounded to eight decimals, as MJD-OBS is, and then to the millisecond. Names of files have the same text
    without the fraction of the second: name, DATE-OBS and MJD-OBS agree.

    Parameters
    ----------
    mjd : float
        Modified Julian date, UTC.

    Returns
    -------
    str
    """
    year, month, day, clock, _ = erfa.ufunc.d2dtf("UTC", 3, MJD_ZERO, round(mjd, MJD_DECIMALS))
    hour, minute, second, fraction = clock.item()
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}"


def read_start(header: Mapping[str, Any], instrument: Instrument) -> tuple[float | None, str]:
    """Read the start of an exposure.

    Parameters
    ----------
    header : mapping
        Header of a raw frame.
    instrument : Instrument
        Its instrument.

    Returns
    -------
    mjd : float or None
        Modified Julian date, UTC; None where no keyword has a usable one.
    problem : str
        The keyword that is missing or unusable, or keywords that contradict each other; empty where all agree.
    """
    scale = str(header.get("TIMESYS") or "UTC")
    word = re.match("[A-Z0-9]*", scale.strip().upper())
    if word is None or word[0] not in SCALES:
        return None, f"TIMESYS is {format_value(scale)}, expected one of {', '.join(SCALES)}"
    ahead_s = SCALES[word[0]]
    mjd_keyword, stated = instrument.find(header, "mjd")
    date_keyword, written = instrument.find(header, "date")
    mjd = _checked(_to_utc(read_number(stated, FIRST_MJD, LAST_MJD), ahead_s))
    date, is_day, date_problem = _read_date(header, instrument, ahead_s)
    mjd_is = f"{mjd_keyword} is {'missing' if stated is None else format_value(stated)}"
    date_is = f"{date_keyword} is {format_value(written)}"
    if mjd is not None and date is not None:
        if (int(mjd) == int(date)) if is_day else (abs(mjd - date) * DAY_S <= SAME_START_S):
            return mjd, ""
        # a whole number is a day without a time
        used, keyword = (date, date_keyword) if mjd.is_integer() and not is_day else (mjd, mjd_keyword)
        return used, f"{mjd_is} ({utc_text(mjd)}), but {date_is}, expected the same start: {keyword} is used"
    if mjd is not None:
        return mjd, f"{date_problem}: {mjd_keyword} is used" if date_problem else ""
    unusable = f"{mjd_is}, expected the start of the exposure, here or in {date_keyword}"
    if date is not None and not is_day:
        return date, "" if stated is None else f"{unusable}: {date_keyword} is used"
    if written is not None:
        unusable += f" ({date_problem})"
    jd_keyword, julian = instrument.find(header, "jd")
    jd = read_number(julian, MJD_ZERO + FIRST_MJD, MJD_ZERO + LAST_MJD)
    if jd is not None:
        return _checked(_to_utc(jd - MJD_ZERO, ahead_s)), f"{unusable}: {jd_keyword} {format_value(julian)} is used"
    return None, unusable


def _checked(mjd: float | None) -> float | None:
    return mjd if mjd is not None and FIRST_MJD <= mjd <= LAST_MJD else None


def _to_utc(mjd: float | None, ahead_s: float | None) -> float | None:
    """Return a modified Julian date in UTC, from a time scale that is so far ahead of TAI (None: UTC)."""
    if mjd is None or ahead_s is None:
        return mjd
    first, second, _ = erfa.ufunc.taiutc(MJD_ZERO, mjd - ahead_s / DAY_S)
    return float((first - MJD_ZERO) + second)


def _read_date(
    header: Mapping[str, Any], instrument: Instrument, ahead_s: float | None
) -> tuple[float | None, bool, str]:
    """Return the date of DATE-OBS, MJD in UTC, whether it is a day without a time, and a problem."""
    keyword, written = instrument.find(header, "date")
    if written is None:
        return None, False, ""
    problem = f"{keyword} is {format_value(written)}, expected YYYY-MM-DDThh:mm:ss"
    date = _DATE.fullmatch(str(written))
    if date is None or int(date["old_year"] or FIRST_TWO_DIGIT_YEAR) < FIRST_TWO_DIGIT_YEAR:
        return None, False, problem
    time = date["time"]
    if time is None:
        time_keyword, time = instrument.find(header, "time")
        seconds = read_number(time, 0, DAY_S) if time_keyword == "UTC" else None  # ESO: seconds since midnight
        if seconds is not None:
            time = f"{seconds // 3600:.0f}:{seconds % 3600 // 60:.0f}:{seconds % 60:.6f}"
        problem += f", or a time in {', '.join(instrument.keywords['time'])}"
        problem += "" if time is None else f" ({time_keyword} is {format_value(time)})"
    mjd = _convert(date, "0:0" if time is None else str(time), ahead_s)
    return mjd, time is None, "" if mjd is not None and time is not None else problem


def _convert(date: re.Match[str], time: str, ahead_s: float | None) -> float | None:
    """Return date and time as MJD in UTC; None where they do not exist."""
    clock = _TIME.fullmatch(time.strip())
    if clock is None or float(clock["second"] or 0) >= 61:
        return None
    day = int(date["year"] or 1900 + int(date["old_year"])), int(date["month"] or date["old_month"])
    in_utc = ahead_s is None or clock["zone"] is not None
    first, second, status = erfa.ufunc.dtf2d(
        "UTC" if in_utc else "TAI",
        *day,
        int(date["day"] or date["old_day"]),
        int(clock["hour"]),
        int(clock["minute"]),
        float(clock["second"] or 0),
    )
    if status < 0:  # no such day or time; above zero: seconds of 60, or a year whose leap seconds are not known
        return None
    mjd = float((first - MJD_ZERO) + second)
    if clock["sign"]:
        zone = int(clock["zone_hour"]) / 24 + int(clock["zone_minute"] or 0) / 1440
        mjd += zone if clock["sign"] == "-" else -zone
    return _checked(mjd if in_utc else _to_utc(mjd, ahead_s))
