import json

import pytest

from soxspipe.exceptions import FrameError, SettingsError
from soxspipe.instruments.keywords import (
    example_tables,
    find_instrument,
    instrument_for,
    load_instrument,
    table_path,
)

MINIMAL = {
    "instrument": "CAM",
    "match": {"INSTRUME": "My Camera"},
    "keywords": {"type": {"keyword": "IMAGETYP", "dark": ["Dark Frame", "DARK"], "bias": "Bias Frame"}},
    "detectors": {"CMOS": {"name": "x", "raw_shape": [100, 200], "conad": 1.0, "pixel_size": 3.8}},
}


@pytest.fixture
def load(tmp_path):
    def loaded(**changes):
        path = tmp_path / "own.yaml"
        path.write_text(json.dumps(MINIMAL | changes))
        return load_instrument(path)

    return loaded


def test_a_short_table_is_enough(load):
    instrument = load()
    detector = instrument.detectors["CMOS"]
    assert detector.science == ((0, 100), (0, 200))
    assert detector.regions == ((0, 100, 0, 200),)
    assert (detector.mode, detector.rot90_count, detector.read_noise_e) == ("binning", 0, None)
    header = {"IMAGETYP": "dark frame", "EXPOSURE": 60, "XBINNING": 2}
    found = {meaning: instrument.value(header, meaning) for meaning in ("type", "exptime", "binx", "biny", "arm")}
    assert found == {"type": "DARK", "exptime": 60, "binx": 2, "biny": None, "arm": "CMOS"}
    assert [instrument.value({}, meaning) for meaning in ("category", "technique")] == ["CALIB", "IMAGE"]
    assert not instrument.follows_eso


def test_a_turned_detector_without_trim_keeps_the_whole_frame(load):
    detector = load(detectors={"A": MINIMAL["detectors"]["CMOS"] | {"rot90_count": 1}}).detectors["A"]
    assert detector.science == ((0, 200), (0, 100))
    assert detector.geometry((100, 200), (1, 1), "x").shape == (100, 200)


def test_words_of_a_camera_mean_types(load):
    instrument = load()
    assert instrument.find({"IMAGETYP": "BIAS FRAME "}, "type") == ("IMAGETYP", "BIAS")
    assert instrument.find({"IMAGETYP": "Tricolor"}, "type") == ("IMAGETYP", "Tricolor")
    assert instrument.find({}, "type") == ("IMAGETYP", None)
    assert instrument.words_for("type", "DARK") == "'Dark Frame' or 'DARK'"


def test_values_of_the_table_where_a_header_has_none(load):
    instrument = load(defaults={"read_mode": "slow", "binx": 2, "unit": "electron", "type": "dark"})
    assert instrument.value({}, "read_mode") == "slow"
    assert instrument.value({}, "binx") == 2
    assert instrument.value({"XBINNING": 1}, "binx") == 1
    assert instrument.value({}, "unit") == "electron"
    assert instrument.value({}, "type") == "DARK"


@pytest.mark.parametrize(("unit", "value"), [("s", 2.0), ("ms", 2000), ("us", 2e6), ("min", 2 / 60)])
def test_units_of_the_exposure_time(load, unit, value):
    assert load(units={"exptime": unit}).value({"EXPTIME": value}, "exptime") == pytest.approx(2.0)


def test_a_temperature_in_celsius(load):
    assert load(units={"temperature": "celsius"}).kelvin(5.0) == 278.15
    assert load(units={"temperature": "celsius"}).kelvin("cold") == "cold"
    assert load().kelvin(5.0) == 5.0


def test_an_instrument_is_matched_by_any_keyword_and_value(load):
    instrument = load(match={"DETECTOR": ["ccd1", "ccd2"], "CAMERA": "left"})
    assert instrument.matches({"DETECTOR": "ccd2 ", "CAMERA": "left"})
    assert not instrument.matches({"DETECTOR": "ccd2"})
    assert find_instrument({"DETECTOR": "ccd1", "CAMERA": "left"}, instrument) is instrument
    assert load(match="any").matches({})
    assert load(match="any").matches({"INSTRUME": "SOXS"})


def test_arms_by_words_of_a_keyword(load):
    camera = MINIMAL["detectors"]["CMOS"]
    keywords = MINIMAL["keywords"] | {"arm": {"keyword": "DETECTOR", "values": {"BLUE": "chip 1", "RED": ["chip 2"]}}}
    instrument = load(detectors={"BLUE": camera, "RED": camera}, keywords=keywords)
    assert instrument.find({"DETECTOR": "Chip 2"}, "arm") == ("DETECTOR", "RED")


def test_an_unknown_instrument_is_named_with_the_remedy(load):
    with pytest.raises(FrameError) as error:
        instrument_for({"CAMERA": "QHY600"}, "x.fits")
    assert str(error.value) == (
        "x.fits: instrument 'QHY600' is unknown: make a table with 'soxspipe instrument --from=FRAME', and pass it "
        "with --instrument"
    )
    with pytest.raises(FrameError, match="the given table is for INSTRUME 'My Camera': correct 'match' of the table"):
        instrument_for({"INSTRUME": "Other"}, "x.fits", load())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"match": "all"}, "match: found 'all', expected keys with values"),
        ({"match": {"INSTRUME": []}}, "match: INSTRUME is [], expected a list of one value at least"),
        ({"match": {"instrume": ["x"]}}, "match: key instrume is not valid, expected text"),
        ({"keywords": {"type": {"keywords": "A"}}}, "keywords type: unknown key 'keywords': did you mean 'keyword'?"),
        ({"keywords": {"type": {"keyword": "A", "drak": "x"}}}, "keywords type: unknown key 'drak': did you mean 'dark'?"),  # noqa: E501
        ({"keywords": {"type": {"keyword": "A", "dark": ["x"], "bias": ["X"]}}}, "keywords type: bias is ['X'], expected words that no other type has"),  # noqa: E501
        ({"keywords": {"type": []}}, "defaults is {}, expected a type, such as dark, as no keyword of the table holds it"),  # noqa: E501
        ({"defaults": {"type": "drak"}}, "defaults: type is 'drak', expected one of dark, bias, flat, light, or null"),
        ({"defaults": {"arm": "X"}}, "defaults is {'arm': 'X'}, expected an arm of the table (CMOS), here and in the values of keywords: arm"),  # noqa: E501
        ({"units": {"temperature": "C"}}, "units: temperature is 'C', expected one of kelvin, celsius"),
        ({"detectors": {"CMOS": {"name": "x", "raw_shape": [5, 5], "conad": 1.0, "pixel_size": 1.0}}}, "detectors CMOS: raw_shape is [5, 5], expected [rows, columns], 32 at least"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_fault_is_one_line(load, tmp_path, changes, fault):
    with pytest.raises(SettingsError) as error:
        load(**changes)
    assert fault in [line.removeprefix(f"{tmp_path / 'own.yaml'}: ") for line in error.value.faults]


def test_two_arms_need_a_keyword_or_a_default(load):
    camera = MINIMAL["detectors"]["CMOS"]
    with pytest.raises(SettingsError, match="expected an arm of the table"):
        load(detectors={"A": camera, "B": camera})
    assert load(detectors={"A": camera, "B": camera}, defaults={"arm": "B"}).value({}, "arm") == "B"


def test_example_tables_are_used_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(example_tables()) == ["asi183", "esis", "stf8300"]
    for name, path in example_tables().items():
        assert table_path(name) == path
        assert not load_instrument(path).follows_eso
    with pytest.raises(SettingsError, match="no such file or example table: did you mean 'asi183'"):
        table_path("asi188")
    (tmp_path / "esis").write_text("mine")
    assert table_path("esis").read_text() == "mine"
    assert table_path("own.yaml").name == "own.yaml"
