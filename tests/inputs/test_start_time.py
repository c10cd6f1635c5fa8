"""Dates as cameras write them."""

from __future__ import annotations

import warnings

import pytest
from astropy.time import Time

from soxspipe.inputs.start_time import read_start, utc_text
from soxspipe.instruments.keywords import shipped_instruments

SOXS = next(table for table in shipped_instruments() if table.name == "SOXS")


def start(**cards) -> tuple[float | None, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_start({keyword.replace("_", "-"): value for keyword, value in cards.items()}, SOXS)


@pytest.mark.parametrize(
    ("cards", "utc"),
    [
        ({"DATE_OBS": "2026-03-01T23:59:00.123Z"}, "2026-03-01T23:59:00.123"),
        ({"DATE_OBS": "2026-03-01t23:59:00"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026-03-01 23:59:00"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026/03/01T23:59:00"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026-03-01T23:59"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026-03-01T23:59:00 UTC"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026-03-01T23:59:00.1234567"}, "2026-03-01T23:59:00.123"),
        ({"DATE_OBS": "2026-03-01T00:30:00+02:00"}, "2026-02-28T22:30:00.000"),
        ({"DATE_OBS": "2026-03-01T23:30:00-0330"}, "2026-03-02T03:00:00.000"),
        ({"DATE_OBS": "2026-03-01", "TIME_OBS": "23:59:00"}, "2026-03-01T23:59:00.000"),
        ({"DATE_OBS": "2026-03-01", "UT": "23:59:00.5"}, "2026-03-01T23:59:00.500"),
        ({"DATE_OBS": "2026-03-01", "UTC_OBS": "1:02:03"}, "2026-03-01T01:02:03.000"),
        ({"DATE_OBS": "2026-03-01", "UTSTART": "01:02:03"}, "2026-03-01T01:02:03.000"),
        ({"DATE_OBS": "2026-03-01", "UTC": 0.0}, "2026-03-01T00:00:00.000"),
        ({"DATE_OBS": "2026-03-01", "UTC": 36059.9999999}, "2026-03-01T10:01:00.000"),
        ({"DATE_OBS": "01/03/98", "TIME_OBS": "10:00:00"}, "1998-03-01T10:00:00.000"),
        # a rounded second; leap seconds; the day after one
        ({"DATE_OBS": "2026-03-01T10:00:60.000"}, "2026-03-01T10:01:00.000"),
        ({"DATE_OBS": "2016-12-31T23:59:60.5"}, "2016-12-31T23:59:60.500"),
        ({"DATE_OBS": "2017-01-01T00:00:00"}, "2017-01-01T00:00:00.000"),
        # other time scales
        ({"DATE_OBS": "2026-03-01T10:00:37", "TIMESYS": "TAI"}, "2026-03-01T10:00:00.000"),
        ({"DATE_OBS": "2026-03-01T10:01:09.184", "TIMESYS": "TT"}, "2026-03-01T10:00:00.000"),
        ({"DATE_OBS": "2026-03-01T10:00:18", "TIMESYS": "GPS"}, "2026-03-01T10:00:00.000"),
        ({"DATE_OBS": "2026-03-01T10:00:00Z", "TIMESYS": "TAI"}, "2026-03-01T10:00:00.000"),
        ({"DATE_OBS": "2026-03-01T10:00:00", "TIMESYS": "utc(NTP)"}, "2026-03-01T10:00:00.000"),
        ({"MJD_OBS": 61100.5, "TIMESYS": "TAI"}, "2026-03-01T11:59:23.000"),
        # later than the table of leap seconds is known
        ({"DATE_OBS": "2041-03-01T10:00:00"}, "2041-03-01T10:00:00.000"),
        # both, and they agree
        ({"MJD_OBS": 61100.41667, "DATE_OBS": "2026-03-01T10:00:00"}, "2026-03-01T10:00:00.288"),
        ({"MJD_OBS": 61100.5, "DATE_OBS": "2026-03-01"}, "2026-03-01T12:00:00.000"),
        ({"MJD_OBS": 61100.0, "DATE_OBS": "2026-03-01T00:00:00"}, "2026-03-01T00:00:00.000"),
        ({"MJD_OBS": 61100.5}, "2026-03-01T12:00:00.000"),
    ],
)
def test_dialects(cards, utc):
    mjd, problem = start(**cards)
    assert problem == ""
    assert mjd is not None
    assert utc_text(mjd) == utc


@pytest.mark.parametrize("date", ["2026-03-01T23:59:00.123", "2016-12-31T23:59:60.5", "2016-12-31T12:00:00"])
def test_dates_are_those_of_astropy(date):
    assert start(DATE_OBS=date)[0] == pytest.approx(Time(date, scale="utc").mjd, abs=1e-9)


@pytest.mark.parametrize(
    ("cards", "utc", "problem"),
    [
        (
            {"MJD_OBS": 60000.25, "DATE_OBS": "2026-03-01T10:00:00"},
            "2023-02-25T06:00:00.000",
            "MJD-OBS is 60000.25 (2023-02-25T06:00:00.000), but DATE-OBS is '2026-03-01T10:00:00', expected the same "
            "start: MJD-OBS is used",
        ),
        (
            {"MJD_OBS": 61100.5, "DATE_OBS": "2026-03-01T12:00:02"},
            "2026-03-01T12:00:00.000",
            "but DATE-OBS is '2026-03-01T12:00:02', expected the same start: MJD-OBS is used",
        ),
        ({"MJD_OBS": 61101.5, "DATE_OBS": "2026-03-01"}, "2026-03-02T12:00:00.000", "expected the same start"),
        # a day without a time
        ({"MJD_OBS": 61100, "DATE_OBS": "2026-03-01T10:00:00"}, "2026-03-01T10:00:00.000", "DATE-OBS is used"),
        # MJD-OBS that is unusable
        ({"MJD_OBS": "61100.5", "DATE_OBS": "2026-03-01T10:00:00"}, "2026-03-01T10:00:00.000", "DATE-OBS is used"),
        (
            {"MJD_OBS": 2461100.5, "DATE_OBS": "2026-03-01T10:00:00"},
            "2026-03-01T10:00:00.000",
            "MJD-OBS is 2461100.5, expected the start of the exposure, here or in DATE-OBS: DATE-OBS is used",
        ),
        ({"MJD_OBS": 61100.5, "DATE_OBS": "soon"}, "2026-03-01T12:00:00.000", "DATE-OBS is 'soon', expected YYYY"),
        ({"JD": 2461100.75}, "2026-03-01T06:00:00.000", "MJD-OBS is missing"),
        ({"JD": 2461100.75, "DATE_OBS": "2026-03-01"}, "2026-03-01T06:00:00.000", "JD 2461100.75 is used"),
    ],
)
def test_contradictions_and_unusable_dates_are_named(cards, utc, problem):
    mjd, found = start(**cards)
    assert mjd is not None
    assert utc_text(mjd) == utc
    assert problem in found


@pytest.mark.parametrize(
    ("cards", "problem"),
    [
        ({}, "MJD-OBS is missing, expected the start of the exposure, here or in DATE-OBS"),
        ({"DATE_OBS": "2026-03-01"}, "expected YYYY-MM-DDThh:mm:ss, or a time in TIME-OBS, UT, UTC-OBS, UTSTART, UTC"),
        ({"DATE_OBS": "2026-03-01", "UT": 36000.5}, "UT is 36000.5"),
        ({"DATE_OBS": "2026-03-01", "TIME_OBS": "25:00:00"}, "TIME-OBS is '25:00:00'"),
        ({"DATE_OBS": "01/03/26", "TIME_OBS": "10:00:00"}, "DATE-OBS is '01/03/26'"),  # 1926 by the FITS standard
        ({"DATE_OBS": "2016-12-31T23:59:61"}, "DATE-OBS is"),
        ({"DATE_OBS": "2026-02-30T10:00:00"}, "DATE-OBS is"),
        ({"DATE_OBS": "2026-03-01T10:00:00+2"}, "DATE-OBS is"),
        ({"DATE_OBS": 20260301}, "DATE-OBS is 20260301"),
        ({"MJD_OBS": 2461100.5}, "MJD-OBS is 2461100.5"),
        ({"MJD_OBS": 61100.5, "TIMESYS": "LOCAL"}, "TIMESYS is 'LOCAL', expected one of UTC"),
    ],
)
def test_frames_without_a_start(cards, problem):
    mjd, found = start(**cards)
    assert mjd is None
    assert problem in found


def test_dates_as_fits_writes_them():
    assert utc_text(61100.0 - 1e-9) == "2026-03-01T00:00:00.000"
    assert utc_text(round(61100 + 86399.9994 / 86400, 8)) == "2026-03-01T23:59:59.999"
