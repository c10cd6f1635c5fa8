import pytest
import yaml

from soxspipe.exceptions import SettingsError
from soxspipe.instruments import keywords
from soxspipe.instruments.keywords import load_instrument, shipped_instruments

TABLE = (keywords.Path(keywords.__file__).parent / "soxs.yaml").read_text(encoding="utf-8")


def refusals(path, content):
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_instrument(path)
    for fault in caught.value.faults:
        assert fault.startswith(f"{path}: ")
        assert fault.isprintable()
    return [fault.removeprefix(f"{path}: ") for fault in caught.value.faults]


def test_a_table_of_a_user(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(TABLE, encoding="utf-8")
    assert load_instrument(path) == next(table for table in shipped_instruments() if table.name == "SOXS")


def test_values_that_may_be_left_out_or_null(tmp_path):
    table = yaml.safe_load(TABLE)
    camera = table["detectors"]["ACQ"]
    camera.update(overscan_columns=None, conad_modes=None, temperature=None, dark_current_limit=None, saturation=None)
    table["keywords"].update(gain=None, chip=[])
    table["keywords"].pop("read_mode_name")
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(table), encoding="utf-8")
    instrument = load_instrument(path)
    detector = instrument.detectors["ACQ"]
    assert (detector.arm, detector.overscan_columns, detector.conad_modes_e_per_adu) == ("ACQ", (), (1.0,))
    assert detector.dark_current_limit_e_per_s is detector.saturation_adu is detector.temperature_keyword is None
    assert instrument.keywords["gain"] == instrument.keywords["chip"] == ()
    assert instrument.keywords["read_mode_name"] == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x: &a [1]\ny: *a", "anchors and aliases are not read"),
        ("a: !!python/name:os.system", "tags are not read"),
        ("[" * 5000, "too deeply nested"),
        ("x" * 2**17 + "y", "more than 131072 bytes"),
        ("a: {b: 4,\u202e c: {d'x'", "not usable YAML"),
        (TABLE + "instrument: X\n", "'instrument' is given twice"),
    ],
)
def test_files_that_are_no_tables_are_refused_in_one_line(tmp_path, content, words):
    (fault,) = refusals(tmp_path / "own.yaml", content)
    assert words in fault


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("conad: 2.3 ", "conad: 0.0 ", "conad is 0.0, expected a number from 1e-06 to 1e+10 (electron/ADU)"),
        ("conad: 2.3 ", "conad: -1.0 ", "conad is -1.0, expected a number from 1e-06 to 1e+10 (electron/ADU)"),
        ("conad: 2.3 ", "conad: .nan ", "conad is nan, expected a number from 1e-06 to 1e+10 (electron/ADU)"),
        ("conad: 2.3 ", "conad: '2.3' ", "conad is '2.3', expected a number from 1e-06 to 1e+10 (electron/ADU)"),
        ("read_noise: 7.3", "read_noise: .inf", "read_noise is inf, expected a number from 1e-06 to 1e+10 (electron), or null"),  # noqa: E501
        ("pixel_size: 18.0", "pixel_size: 0", "pixel_size is 0, expected a number from 1e-06 to 1e+10 (micrometre)"),
        ("pixel_size: 18.0 ", "# ", "pixel_size is missing, expected a number from 1e-06 to 1e+10 (micrometre)"),
        ("saturation: null", "saturation: -3", "saturation is -3, expected a number from 1e-06 to 1e+10 (ADU), or null"),  # noqa: E501
        ("saturation: null", "saturaton: 3", "unknown key 'saturaton': did you mean 'saturation'?"),
        ("conad: 2.3 ", "conad: 1.0e+300 ", "conad is 1e+300, expected a number from 1e-06 to 1e+10 (electron/ADU)"),
        ("name: Teledyne H2RG", "name: ' '", "name is ' ', expected text without control characters"),
        ("rot90_count: 0", "rot90_count: 4", "rot90_count is 4, expected a whole number from -3 to 3"),
        ("rot90_count: 0", "rot90_count: 0.5", "rot90_count is 0.5, expected a whole number from -3 to 3"),
        (
            "raw_shape: [2048, 2048]",
            "raw_shape: [.inf, 1]",
            "raw_shape is [inf, 1], expected [rows, columns], 32 at least",
        ),
        (
            "raw_shape: [2048, 2048]",
            "raw_shape: [128, 128]",
            "science is [[4, 2044], [4, 2044]], expected rows and columns inside the 128 x 128 raw pixels, 32 x 32 "
            "at least",
        ),
        (
            "[[4, 2044], [4, 2044]]",
            "[[0, 3000], [0, 3000]]",
            "science is [[0, 3000], [0, 3000]], expected rows and columns inside the 2048 x 2048 raw pixels, 32 x 32 "
            "at least",
        ),
        (
            "[[4, 2044], [4, 2044]]",
            "[[2044, 4], [4, 2044]]",
            "science is [[2044, 4], [4, 2044]], expected [[first row, end row], [first column, end column]]",
        ),
        (
            "temperature: ESO INS TEMP217 VAL",
            "temperature: [a]",
            "temperature is ['a'], expected a header keyword that has a value, such as ESO DET DIT, or null",
        ),
        ('conad_from_header: false', 'conad_from_header: "no"', "conad_from_header is 'no', expected true or false"),
        ("mode: read_mode", 'mode: "\\e[31m"', "mode is '\\x1b[31m', expected one of read_mode, binning"),
        ("name: Teledyne H2RG", 'name: "\\e[31m"', "name is '\\x1b[31m', expected text without control characters"),
        ("column_parity: true", "column_parity: 1", "column_parity is 1, expected true or false"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_in_one_line(tmp_path, old, new, fault):
    assert old in TABLE
    assert refusals(tmp_path / "own.yaml", TABLE.replace(old, new, 1)) == [f"detectors NIR: {fault}"]


AREA = "that do not overlap, have 16 x 16 at least and cover the light-sensitive rows 4 to 2044 and columns 4 to 2044"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("[0, 2048, 0, 64]", "[0, 2048, 0, 65]", f"regions of 2048 x 2048 pixels {AREA}"),
        ("[0, 2048, 64, 128]", "[0, 2048, 0, 64]", f"regions of 2048 x 2048 pixels {AREA}"),
        ("[0, 2048, 64, 128]", "[0, 2048, 70, 128]", f"regions of 2048 x 2048 pixels {AREA}"),
        ("[0, 2048, 1984, 2048]", "[0, 2048, 1984, 2049]", f"regions of 2048 x 2048 pixels {AREA}"),
    ],
)
def test_amplifiers_cover_the_light_sensitive_part_once(tmp_path, old, new, fault):
    (line,) = refusals(tmp_path / "own.yaml", TABLE.replace(old, new, 1))
    assert line.startswith("detectors NIR: amplifiers is [[0, 2048, 0, 6")
    assert line.endswith(f", expected {fault}")


@pytest.mark.parametrize(
    "region", ["[0, 2048, 128, 64]", "[0, 2048, 64]", "[0, 2048, -64, 128]", "[0, 2048, 64, 128.5]"]
)
def test_a_faulty_region_is_reported_with_its_number(tmp_path, region):
    (line,) = refusals(tmp_path / "own.yaml", TABLE.replace("[0, 2048, 64, 128]", region))
    expected = "expected [first row, end row, first column, end column] with first < end"
    assert line == f"detectors NIR amplifiers: entry 2 is {region}, {expected}"


OUTSIDE = "columns of 908 that do not overlap, outside the light-sensitive 50 to 858"


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("[[0, 60]]", f": overscan_columns is [[0, 60]], expected {OUTSIDE}"),
        ("[[9, 909]]", f": overscan_columns is [[9, 909]], expected {OUTSIDE}"),
        ("[[50, 0]]", " overscan_columns: entry 1 is [50, 0], expected [first, end] with first < end"),
    ],
)  # fmt: skip
def test_overscan_columns_hold_no_light(tmp_path, columns, fault):
    content = TABLE.replace("overscan_columns: [[0, 50], [858, 908]]", f"overscan_columns: {columns}")
    assert refusals(tmp_path / "own.yaml", content) == [f"detectors VIS{fault}"]


@pytest.mark.parametrize("keyword", ["COMMENT", "HISTORY", "exptime", "ESO  DET", "A.B", "''"])
def test_a_keyword_without_a_value_is_refused(tmp_path, keyword):
    content = TABLE.replace("read_mode: [ESO DET READ CURID]", f"read_mode: [ESO DET READ CURID, {keyword}]")
    (line,) = refusals(tmp_path / "own.yaml", content)
    assert line.startswith("keywords read_mode: entry 2 is ")
    assert line.endswith(", expected a header keyword that has a value, such as ESO DET DIT")


def test_all_faults_of_a_table_are_reported_at_once(tmp_path):
    content = TABLE.replace("instrument: SOXS", "instrument: ../SOXS").replace("  ndit:", "  ndits:")
    content = content.replace("read_noise: 7.3", "read_noise: none").replace("pixel_size: 13.0", "pixel_size: 0")
    assert refusals(tmp_path / "own.yaml", content.replace("  ACQ:", "  acq:")) == [
        "instrument is '../SOXS', expected letters, digits, - and _, 20 at most",
        "keywords: unknown key 'ndits': did you mean 'ndit'?",
        "detectors NIR: read_noise is 'none', expected a number from 1e-06 to 1e+10 (electron), or null",
        "detectors acq: pixel_size is 0, expected a number from 1e-06 to 1e+10 (micrometre)",
    ]
    assert refusals(tmp_path / "own.yaml", "instrument: SOXS") == [
        "match is missing, expected any, or keywords with lists of values, such as INSTRUME: [ZWO ASI294MC Pro]",
        "keywords is missing, expected keys with values",
        "detectors is missing, expected keys with values",
    ]


@pytest.mark.parametrize("arm", ["acq", "A C", "A/B", "''", "5"])
def test_an_arm_has_a_plain_name(tmp_path, arm):
    (line,) = refusals(tmp_path / "own.yaml", TABLE.replace("  ACQ:", f"  {arm}:"))
    assert line.startswith("detectors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.update(detectors={}), "detectors is {}, expected one arm at least"),
        (lambda table: table.update(instrume=[]), "match: INSTRUME is [], expected a list of one value at least"),
        (lambda table: table.update(instrument="A" * 500), "expected letters, digits, - and _, 20 at most"),
        (lambda table: table["keywords"].update(exptime=[]), "keywords: exptime is [], expected one header keyword"),
        (
            lambda table: table["keywords"].update(gain=["BITPIX"]),
            "keywords gain: entry 1 is 'BITPIX', expected a header",
        ),
        (lambda table: table["detectors"]["NIR"].update(arm="VIS"), "expected one arm at least, each named by"),
        (
            lambda table: table["detectors"]["VIS"].update(overscan_columns=[[0, 30], [20, 50]]),
            "overscan_columns is [[0, 30], [20, 50]], expected columns of 908 that do not overlap",
        ),
        (
            lambda table: table["detectors"]["ACQ"].update(amplifiers=[[0, 1024, 0, 5], [0, 1024, 5, 1024]]),
            "amplifiers is [[0, 1024, 0, 5], [0, 1024, 5, 1024]], expected regions",
        ),
    ],
)
def test_a_table_that_no_frame_can_be_reduced_with(tmp_path, change, words):
    table = yaml.safe_load(TABLE)
    change(table)
    (line,) = refusals(tmp_path / "own.yaml", yaml.safe_dump(table))
    assert words in line
