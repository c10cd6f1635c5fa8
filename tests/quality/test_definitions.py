import pytest

from soxspipe.quality.definitions import ANY_ADVICE, DEFINITIONS, definition_of
from soxspipe.quality.table import measured


def test_names_are_plain_and_words_are_there():
    for name, definition in DEFINITIONS.items():
        assert name == definition.name == " ".join(name.split())
        assert name.replace("{i}", "").isupper()
        assert definition.words
        assert set(definition.recipes) <= {"soxs_mdark", "soxs_mbias", "soxs_dark_current", "soxs_subtract_dark"}
        assert definition.recipes


def test_default_ranges_are_ranges():
    for definition in DEFINITIONS.values():
        for low, high in (definition.range, *(limits for limits, _ in definition.arm_ranges.values())):
            assert low is None or high is None or low <= high
        assert all(reason for _, reason in definition.arm_ranges.values())


def test_a_value_with_a_default_range_has_advice_of_its_own():
    for definition in DEFINITIONS.values():
        ranges = (definition.range, *(limits for limits, _ in definition.arm_ranges.values()))
        if any(limits != (None, None) for limits in ranges):
            assert definition.advice != ANY_ADVICE, definition.name
        assert definition.advice[0].isupper()
        assert definition.advice[-1] == "."


def test_numbered_values_share_a_definition():
    assert definition_of("RON RAW7") is definition_of("RON RAW32") is DEFINITIONS["RON RAW{i}"]
    assert definition_of("RON RAW") is DEFINITIONS["RON RAW"]
    assert definition_of("HOTPIX ABS2") is DEFINITIONS["HOTPIX ABS2"]


@pytest.mark.parametrize("name", ["RON", "RON RAW0", "RON RAW{i}", "FPN1", ""])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ValueError, match="unknown QC value: "):
        definition_of(name)


def test_a_measured_value_has_unit_and_words_of_its_definition():
    value = measured("RON RAW{i}", 7.3, number=4)
    assert (value.name, value.value, value.unit) == ("RON RAW4", 7.3, "electron")
    assert value.description == "noise of amplifier 4"
    with pytest.raises(KeyError):
        measured("RON", 7.3)
