import copy
import json
import math
import pickle
import random
import re
import runpy
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from soxspipe.exceptions import SettingsError
from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.settings import (
    ArmSettings,
    InstrumentSettings,
    MasterBiasSettings,
    MasterDarkSettings,
    QualitySettings,
    Settings,
    default_settings_text,
)
from soxspipe.stacking.parameters import DarkRateParameters, NoiseMapParameters, StackParameters
from soxspipe.yaml_files import LARGEST_FILE_BYTES, parse_yaml

ARMS = ("NIR", "VIS", "UVB", "ACQ")
ROOT = Path(__file__).parent.parent
SETTINGS_FILE = runpy.run_path(str(ROOT / "docs" / "_ext" / "settings_file.py"))
ROWS = list(SETTINGS_FILE["settings_rows"]())


def refusals(text):
    with pytest.raises(SettingsError) as caught:
        Settings.from_text(text, "my.yaml")
    assert caught.value.exit_code == 2
    assert all("\n" not in fault for fault in caught.value.faults)
    return list(caught.value.faults)


def the_refusal(text):
    (fault,) = refusals(text)
    return fault


# ---- defaults ----


def test_the_file_is_written_from_the_models():
    text = SETTINGS_FILE["settings_text"]()
    assert (ROOT / "settings.yaml").read_text(encoding="utf-8") == text, "run docs/_ext/settings_file.py"
    assert default_settings_text() == text


def test_file_models_and_table_agree():
    in_file = yaml.safe_load(default_settings_text())
    in_table = {}
    for row in ROWS:
        section = in_table.setdefault(row.section, {})
        (section.setdefault(row.arm, {}) if row.arm else section)[row.key] = yaml.safe_load(row.default)
    assert in_table == in_file
    assert [[*section] for section in in_table.values()] == [[*section] for section in in_file.values()]
    assert Settings.load(None) == Settings.from_mapping(in_file) == Settings.from_text("") == Settings.load({})
    for key, section in Settings.load().common:
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in section.as_mapping().items()}
        assert values == {k: v for k, v in in_file[key.replace("_", "-")].items() if k not in ARMS}


def test_comments_of_the_file_are_the_words_of_the_table():
    lines = iter(default_settings_text().splitlines())
    for row in ROWS:  # in the order of the file
        line = next(line for line in lines if line.strip().startswith(f"{row.key}: "))
        assert row.words in line.partition("#")[2]


def test_the_file_names_every_qc_value():
    text = " ".join(line.strip("# ") for line in default_settings_text().splitlines())
    assert all(name in text for name in DEFINITIONS)


def test_every_option_has_range_and_words():
    for row in ROWS:
        assert row.range
        assert row.words


def test_default_values():
    arm = Settings.load().for_arm("NIR")
    clip = {
        "frame_clipping_sigma": 10.0,
        "clipping_iteration_count": 5,
        "stacked_clipping_sigma": 5.0,
        "stacked_clipping_iterations": 5,
        "stacked_clipping_scale": "noise-model",
    }
    assert arm.mdark == MasterDarkSettings(**clip, minimum_frames=3)
    assert arm.mbias == MasterBiasSettings(**clip, minimum_frames=3)
    assert StackParameters() == StackParameters(**clip)
    assert arm.create_noise_map == NoiseMapParameters(
        hot_pixel_sigma=5.0, cold_pixel_sigma=5.0, noisy_pixel_sigma=5.5, noisy_minimum_frames=5, background_box=8
    )
    assert arm.dark_current == DarkRateParameters(nonlinear_sigma=5.0)
    assert arm.quality.ranges["PULL STD"] == (0.95, 1.05)
    assert arm.quality.ranges["DARK CURRENT"] == (None, 0.005)
    assert Settings.load().for_arm("VIS").quality.ranges["DARK CURRENT"] == (None, 0.00012)
    assert "DARK CURRENT" not in Settings.load().common.quality.ranges
    assert arm.instruments == InstrumentSettings(table=None)


def test_values_have_the_type_of_their_default():
    section = Settings.from_mapping({"mdark": {"frame-clipping-sigma": 7}}).common.mdark
    for name, value in section:
        assert type(value) is type(getattr(MasterDarkSettings(), name))


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "mdark:\n", "quality: {}\nmdark:\n  NIR:\n"])
def test_empty_files_and_sections_are_all_defaults(text):
    assert Settings.from_text(text).common == ArmSettings()


# ---- partial files, arms, aliases ----


def test_old_names_of_sections_are_read():
    text = "mdark: {minimum-frames: 7, NIR: {minimum-frames: 9}}\nmbias: {minimum-frames: 8}"
    new, old = Settings.from_text(text), Settings.from_text(re.sub("^m", "soxs-m", text, flags=re.MULTILINE))
    assert old == new
    assert (new.common.mdark.minimum_frames, new.for_arm("NIR").mdark.minimum_frames) == (7, 9)


def test_values_of_a_section_are_replaced_for_all_arms():
    settings = Settings.from_text("mdark: {NIR: {minimum-frames: 9}}").with_values("subtract_dark", scale=True)
    assert settings.common.subtract_dark.scale
    assert settings.for_arm("NIR").subtract_dark.scale
    assert settings.for_arm("NIR").mdark.minimum_frames == 9


def test_a_partial_file_keeps_the_other_defaults():
    common = Settings.from_text("create-noise-map: {hot-pixel-sigma: 7}").common
    assert common.create_noise_map == NoiseMapParameters(hot_pixel_sigma=7.0)
    assert common.mdark == MasterDarkSettings()


def test_values_of_an_arm_hold_for_that_arm_only():
    settings = Settings.from_text(
        "mdark:\n  minimum-frames: 4\n  stacked-clipping-sigma: 6\n  NIR:\n    minimum-frames: 9\n"
        "create-noise-map:\n  VIS: {background-box: 16}\n"
    )
    assert [settings.for_arm(arm).mdark.minimum_frames for arm in ARMS] == [9, 4, 4, 4]
    assert [settings.for_arm(arm).mdark.stacked_clipping_sigma for arm in ARMS] == [6.0] * 4
    assert [settings.for_arm(arm).create_noise_map.background_box for arm in ARMS] == [8, 16, 8, 8]
    assert settings.for_arm("some new arm") == settings.common


def test_an_arm_may_stand_before_the_values_of_all_arms():
    settings = Settings.from_text("mdark:\n  NIR: {minimum-frames: 9}\n  stacked-clipping-sigma: 6\n")
    assert settings.for_arm("NIR").mdark == MasterDarkSettings(minimum_frames=9, stacked_clipping_sigma=6.0)


def test_quality_ranges_of_an_arm_add_to_the_common_ones():
    settings = Settings.from_text(
        "quality:\n  PULL STD: [null, 2]\n  HOTPIX FRAC: [null, 0.5]\n"
        "  NIR:\n    DARK CURRENT: [null, 0.1]\n    REJECT FRAC: [null, null]\n"
    )
    common, nir = settings.common.quality.ranges, settings.for_arm("NIR").quality.ranges
    assert common["PULL STD"] == nir["PULL STD"] == (None, 2.0)
    assert common["REJECT FRAC"] == (None, 0.05)
    assert nir["REJECT FRAC"] == (None, None)
    assert nir["DARK CURRENT"] == (None, 0.1)
    # a range of the user for all arms comes before the default of one arm
    assert nir["HOTPIX FRAC"] == settings.for_arm("VIS").quality.ranges["HOTPIX FRAC"] == (None, 0.5)
    assert nir["RON RAW"] == (3.0, 20.0)


def test_the_other_name_of_the_clipping_iterations():
    assert Settings.from_text("mdark: {frame-clipping-iterations: 9}").common.mdark == MasterDarkSettings(
        clipping_iteration_count=9
    )
    assert the_refusal("mdark: {clipping-iteration-count: 5, frame-clipping-iterations: 5}") == (
        "my.yaml: mdark: clipping-iteration-count and frame-clipping-iterations are the same setting: keep one of them"
    )


# ---- refusals ----


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("soxs_mdark: {}", "my.yaml: unknown section 'soxs_mdark': did you mean 'mdark'?"),
        ("mdark: {}\nsoxs-mdark: {}", "my.yaml: soxs-mdark is the old name of mdark, which is given too: keep one"),
        (
            "5: {}",
            "my.yaml: unknown section 5: expected mdark, mbias, create-noise-map, dark-current, verify, pixel-changes, "
            "subtract-dark, quality, input, night, instruments",
        ),
        (
            "mdark: {stacked_clipping_sigma: 3}",
            "my.yaml: mdark: unknown key 'stacked_clipping_sigma': did you mean 'stacked-clipping-sigma'?",
        ),
        ("mdark: {nir: {}}", "my.yaml: mdark: unknown key 'nir': did you mean 'NIR'?"),
        (
            "create-noise-map: {NIR: {VIS: {}}}",
            "my.yaml: create-noise-map NIR: unknown key 'VIS': expected hot-pixel-sigma, cold-pixel-sigma, "
            "noisy-pixel-sigma, noisy-minimum-frames, background-box",
        ),
        ("quality: {PULSTD: [1, 2]}", "my.yaml: quality: unknown key 'PULSTD': did you mean 'PULL STD'?"),
        (
            "mdark: {frame-clipping-sigma: -1}",
            "my.yaml: mdark: frame-clipping-sigma is -1, expected a number from 0.001 to 1e+06 (sigma)",
        ),
        (
            "mdark: {NIR: {frame-clipping-sigma: '5'}}",
            "my.yaml: mdark NIR: frame-clipping-sigma is '5', expected a number from 0.001 to 1e+06 (sigma)",
        ),
        (
            "mdark: {minimum-frames: 3.0}",
            "my.yaml: mdark: minimum-frames is 3.0, expected a whole number from 2 to 1000 (frames)",
        ),
        (
            "mdark: {stacked-clipping-scale: sigma}",
            "my.yaml: mdark: stacked-clipping-scale is 'sigma', expected one of noise-model, std, mad",
        ),
        (
            "quality: {PULL STD: [1.1, 0.9]}",
            "my.yaml: quality: PULL STD is [1.1, 0.9], expected [low, high] with low <= high, null for an open end",
        ),
        ("instruments: {table: ''}", "my.yaml: instruments: table is '', expected a path, or null"),
        ("instruments: {NIR: {}}", "my.yaml: instruments: unknown key 'NIR': expected table"),
        ("mdark: [1, 2]", "my.yaml: mdark: found [1, 2], expected keys with values"),
        ("mdark: {NIR: 3}", "my.yaml: mdark NIR: found 3, expected keys with values"),
        ("- a\n- b", "my.yaml: found ['a', 'b'], expected sections with keys and values"),
        ("just words", "my.yaml: found 'just words', expected sections with keys and values"),
        (
            "mdark: {minimum-frames: 3}\nmdark: {minimum-frames: 4}",
            "my.yaml: line 2: 'mdark' is given twice: keep one",
        ),
        (
            "mdark:\n  minimum-frames: 3\n  'minimum-frames': 4",
            "my.yaml: line 3: 'minimum-frames' is given twice: keep one",
        ),
    ],
)
def test_a_refusal_names_file_section_key_value_and_remedy(text, fault):
    assert the_refusal(text) == fault


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "'5'",
        "five",
        "[5]",
        "{}",
        "null",
        ".nan",
        ".inf",
        "-.inf",
        "0",
        "-5",
        "2026-03-01",
        "1_000",
        "-1e-3",
        "1e300",
        "1e-300",
    ],
)
def test_values_that_are_no_positive_number_are_refused(value):
    assert "expected a number from 0.001 to 1e+06 (sigma)" in the_refusal(f"mdark: {{frame-clipping-sigma: {value}}}")


@pytest.mark.parametrize("value", ["true", "'5'", "5.0", "0", "101", ".nan", "null", "0x" + "f" * 4000])
def test_values_that_are_no_count_are_refused(value):
    fault = the_refusal(f"mdark: {{clipping-iteration-count: {value}}}")
    assert "expected a whole number from 1 to 100" in fault
    assert len(fault) < 200


@pytest.mark.parametrize(
    "value", ["0.9", "[0.9]", "[0, 1, 2]", "[a, b]", "[true, 2]", "[.nan, 1]", "[0, .inf]", "null", "{low: 1}"]
)
def test_values_that_are_no_range_are_refused(value):
    assert "expected [low, high] with low <= high, null for an open end" in the_refusal(
        f"quality: {{PULL STD: {value}}}"
    )


def test_all_faults_are_reported_at_once():
    faults = refusals(
        "mdark:\n  minimum-frames: 0\n  minimum-frames: 0\n  NIR: {minimum-frames: 0}\n"
        "create-noise-map: {hot-pixel-sigma: x, bog: 1}\nfoo: 1\n"
    )
    assert len(faults) == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mdark: &a {}\nquality: *a", "line 1: not usable YAML: anchors and aliases"),
        ("mdark: &a\n  minimum-frames: 4", "anchors and aliases"),
        ("quality: *a", "anchors and aliases"),
        ("mdark:\n  <<: {minimum-frames: 4}", "line 2: not usable YAML: merge keys"),
        ("mdark: !!python/object/apply:os.system [echo]", "tags are not read"),
        ("mdark: {minimum-frames: !!int '4'}", "tags are not read"),
        ("mdark: !!binary aGk=", "tags are not read"),
        ("mdark: {minimum-frames: ! 4}", "tags are not read"),
        ("{[1]: 2}", "a key must be a word"),
        ("mdark: {", "not usable YAML"),
        ("mdark:\n\tminimum-frames: 3", "line 2: not usable YAML"),
        ("a: 1\n---\nb: 2", "not usable YAML"),
        ("a: 1\x00", "not usable YAML"),
        ("a: 2026-99-99", "not usable YAML"),
        ("a: " + "[" * 20000, "not usable YAML: too deeply nested"),
        ("=: 1", "not usable YAML"),
        ("a: " + "1:" * 500000 + "1", "a value has more than 4096 characters"),
    ],
)
def test_unusable_yaml_is_refused_in_one_line(text, words):
    assert words in the_refusal(text)


def test_nested_aliases_are_refused_before_they_expand():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    assert "anchors and aliases are not read" in the_refusal("\n".join(lines))


def test_any_text_gives_settings_or_a_refusal():
    draw = random.Random(1)
    for _ in range(500):
        text = "".join(draw.choices("ab:-{}[],'\"\n #&*!|>%@?<=0.1x_\\", k=draw.randrange(40)))
        try:
            assert isinstance(Settings.from_text(text), Settings)
        except SettingsError as error:
            assert error.faults  # noqa: PT017 - either is right


# ---- numbers of YAML 1.1 and 1.2 ----


@pytest.mark.parametrize(("text", "number"), [("1e-3", 1e-3), ("1e5", 1e5), ("2.5E+1", 25.0), (".5", 0.5), ("5.", 5.0)])
def test_numbers_are_those_of_yaml_1_2(text, number):
    section = Settings.from_text(f"mdark: {{frame-clipping-sigma: {text}}}").common.mdark
    assert section.frame_clipping_sigma == number


@pytest.mark.parametrize("text", ["010", "-010", "00", "0_7", "11:00", "1:30:00.5", "08"])
def test_numbers_of_base_8_and_60_are_refused(text):
    assert the_refusal(f"mdark:\n  minimum-frames: {text}") == (
        f"my.yaml: line 2: not usable YAML: {text} may be read as a number of base 8 or 60: write a decimal number "
        "without leading zeros, or quotes around a text"
    )


def test_numbers_in_quotes_are_text():
    assert parse_yaml("a: '010'\nb: \"11:00\"\n", "x.yaml") == ({"a": "010", "b": "11:00"}, [])


# ---- ranges of QC values, arms of instrument tables ----


@pytest.mark.parametrize("name", [name.replace("{i}", "32") for name in DEFINITIONS])
def test_every_qc_value_may_be_given_a_range(name):
    quality = Settings.from_text(f"quality: {{{name}: [null, 3], VIS: {{{name}: [1, 2]}}}}")
    assert quality.for_arm("NIR").quality.ranges[name] == (None, 3.0)
    assert quality.for_arm("VIS").quality.ranges[name] == (1.0, 2.0)


@pytest.mark.parametrize("name", ["RON RAW0", "RON RAW01", "RON RAW{i}", "FPN1", "RON RAW12345", "ron raw"])
def test_other_names_of_qc_values_are_refused(name):
    assert f"unknown key '{name}': did you mean" in the_refusal(f"quality: {{'{name}': [null, 3]}}")


@pytest.fixture
def table(tmp_path):
    """Return an instrument table with an arm CMOS."""
    text = (ROOT / "soxspipe" / "instruments" / "soxs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "camera.yaml"
    path.write_text(text.replace("instrument: SOXS", "instrument: CAMERA").replace("  ACQ:", "  CMOS:"))
    return path


def test_arms_are_those_of_the_instrument_tables(table):
    path = table.with_name("my.yaml")
    path.write_text("mdark: {CMOS: {minimum-frames: 9}}\ninstruments: {table: camera.yaml}\n")
    settings = Settings.load(path)
    assert settings.for_arm("CMOS").mdark.minimum_frames == 9
    assert settings.for_arm("CMOS").quality == settings.common.quality
    assert settings.for_arm("NIR").mdark.minimum_frames == 3
    assert "unknown key 'CMOS'" in the_refusal("mdark: {CMOS: {minimum-frames: 9}}")


def test_faults_of_the_instrument_table_come_with_those_of_the_settings(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("mdark: {CMOS: {minimum-frames: 9}, minimum-frames: 0}\ninstruments: {table: none.yaml}\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load(path)
    assert caught.value.faults[0].startswith(f"{tmp_path}/none.yaml: not readable")
    assert any("minimum-frames is 0" in fault for fault in caught.value.faults)


# ---- the schema for editors ----


def test_the_schema_describes_every_setting():
    schema = Settings.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(schema, allow_nan=False)
    for row in ROWS:
        section = schema["properties"][row.section]
        assert section["additionalProperties"] is False
        part = section["properties"][row.key]
        assert part["description"]
        assert part.get("unit", "") == row.unit
        if row.arm:
            assert part["default-of-arms"][row.arm] == yaml.safe_load(row.default)
        else:
            assert part["default"] == yaml.safe_load(row.default)
        if row.section not in ("input", "night", "instruments"):
            assert set(ARMS) <= set(section["properties"])
    sigma = schema["properties"]["mdark"]["properties"]["frame-clipping-sigma"]
    assert (sigma["type"], sigma["minimum"], sigma["maximum"], sigma["unit"]) == ("number", 1e-3, 1e6, "sigma")
    assert "frame-clipping-iterations" in schema["properties"]["mdark"]["properties"]
    assert schema["properties"]["input"]["properties"]["verify-checksums"]["enum"] == ["warn", "strict"]
    assert set(schema["properties"]["quality"]["patternProperties"]) == {"^RON RAW[1-9][0-9]{0,3}$"}


def test_the_schema_has_the_arms_of_a_table(table):
    schema = Settings.json_schema(table)
    assert schema["properties"]["mdark"]["properties"]["CMOS"] == {"$ref": "#/$defs/mdark"}
    assert "CMOS" not in schema["properties"]["instruments"]["properties"]


def test_schema_and_loader_accept_the_same_files():
    validator = jsonschema.Draft202012Validator(Settings.json_schema())
    validator.check_schema(Settings.json_schema())
    for text in (
        default_settings_text(),
        "mdark: {NIR: {minimum-frames: 9}, frame-clipping-iterations: 3}",
        "mdark:\nquality: {RON RAW3: [1, null]}",
        "instruments: {table: x.yaml}",
    ):
        assert isinstance(Settings.from_text(text), Settings)
        validator.validate(yaml.safe_load(text))
    for text in (
        "mdarks: {}",
        "mdark: {minimum-frames: 1}",
        "mdark: {NIR: {NIR: {}}}",
        "mdark: {frame-clipping-sigma: '5'}",
        "quality: {PULL: [1, 2]}",
        "quality: {PULL STD: [1]}",
        "input: {NIR: {}}",
    ):
        refusals(text)
        assert not validator.is_valid(yaml.safe_load(text))


# ---- files ----


def test_a_settings_file(tmp_path):
    path = tmp_path / "my settings é.yaml"
    path.write_text("mdark: {minimum-frames: 7}\n", encoding="utf-8-sig")
    for source in (path, str(path)):
        settings = Settings.load(source)
        assert settings.name == str(path)
        assert settings.common.mdark.minimum_frames == 7


def test_the_instrument_table_is_relative_to_the_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("instruments: {table: tables/new.yaml}\nmdark: {NIR: {minimum-frames: 4}}\n")
    settings = Settings.load(path)
    assert settings.instruments.table == tmp_path / "tables" / "new.yaml"
    assert settings.for_arm("NIR").instruments == settings.instruments
    path.write_text("instruments: {table: /some/new.yaml}\n")
    assert Settings.load(path).instruments.table == Path("/some/new.yaml")
    assert Settings.load({"instruments": {"table": "new.yaml"}}).instruments.table == Path("new.yaml")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.joinpath("my.yaml").write_text("instruments: {table: ~/new.yaml}\n")
    assert Settings.load("~/my.yaml").instruments.table == tmp_path / "new.yaml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        ("mdark: {}\n# é".encode("latin-1"), "byte 12 is not UTF-8"),
        ("mdark: {}".encode("utf-16"), "is not UTF-8"),
        (b"#" * (LARGEST_FILE_BYTES + 1), "no settings file is that large"),
    ],
)
def test_binary_and_large_files_are_refused(tmp_path, content, words):
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=words) as caught:
        Settings.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="No such file or directory"):
        Settings.load(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="Is a directory"):
        Settings.load(tmp_path)
    with pytest.raises(SettingsError, match="not readable"):
        Settings.load("a\0b")
    with pytest.raises(SettingsError, match="not a regular file"):
        Settings.load("/dev/zero")


@pytest.mark.parametrize("source", [3, b"my.yaml", ["my.yaml"]])
def test_other_sources_are_refused(source):
    with pytest.raises(SettingsError, match="expected a path or a mapping"):
        Settings.load(source)


# ---- from Python ----


def test_settings_are_returned_unchanged():
    settings = Settings.from_mapping({"mdark": {"minimum-frames": 4}})
    assert Settings.load(settings) is settings


def test_a_mapping_is_not_changed():
    mapping = {"mdark": {"minimum-frames": 4, "NIR": {"minimum-frames": 5}}, "quality": {"PULL STD": [0, 1]}}
    before = copy.deepcopy(mapping)
    settings = Settings.load(mapping)
    assert mapping == before
    mapping["quality"]["PULL STD"][0] = 9
    assert settings.common.quality.ranges["PULL STD"] == (0.0, 1.0)


def test_numbers_of_numpy_are_accepted():
    section = Settings.load(
        {"mdark": {"frame-clipping-sigma": np.float32(8), "minimum-frames": np.int64(4)}}
    ).common.mdark
    assert section == MasterDarkSettings(frame_clipping_sigma=8.0, minimum_frames=4)
    assert type(section.minimum_frames) is int
    with pytest.raises(SettingsError):
        Settings.load({"mdark": {"minimum-frames": np.bool_(True)}})


@pytest.mark.parametrize("number", [math.nan, math.inf, 0.0, -1, True, "5", None, 10**400, np.bool_(True)])
def test_parameters_given_in_python_are_checked(number):
    with pytest.raises(
        SettingsError, match=r"StackParameters: frame_clipping_sigma is .*, expected a number from 0.001"
    ):
        StackParameters.of(frame_clipping_sigma=number)
    with pytest.raises(ValidationError):
        StackParameters(frame_clipping_sigma=number)


def test_unknown_parameters_given_in_python_are_refused():
    with pytest.raises(
        SettingsError, match=r"unknown key 'frame_cliping_sigma': did you mean 'frame_clipping_sigma'\?"
    ):
        StackParameters.of(frame_cliping_sigma=3)


def test_quality_ranges_given_in_python_are_checked():
    assert QualitySettings({"PULL STD": [None, 1]}).ranges == {"PULL STD": (None, 1.0)}
    for ranges in ({"PULL": [None, 1]}, {"PULL STD": 1}, {"PULL STD": [2, 1]}):
        with pytest.raises(ValidationError):
            QualitySettings(ranges)


def test_settings_are_immutable_and_can_be_pickled():
    settings = Settings.load({"mdark": {"NIR": {"minimum-frames": 4}}})
    with pytest.raises(ValidationError, match="frozen"):
        settings.common.mdark.minimum_frames = 9
    with pytest.raises(TypeError):
        settings.common.quality.ranges["PULL STD"] = (0.0, 1.0)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, copy.deepcopy(settings)}) == 1


def test_sections_written_as_mappings_can_be_read():
    common = Settings.from_text("mdark: {minimum-frames: 4}\nquality: {RON RAW: [1, 9]}").common
    mapping = {key.replace("_", "-"): section.as_mapping() for key, section in common}
    assert mapping["mdark"]["minimum-frames"] == 4
    assert Settings.load(mapping).common == common


def test_duplicate_keys_are_reported_with_their_lines():
    mapping, faults = parse_yaml("a: 1\nb: {c: 1, c: 2}\n", "x.yaml")
    assert mapping == {"a": 1, "b": {"c": 2}}
    assert faults == ["x.yaml: line 2: 'c' is given twice: keep one"]
