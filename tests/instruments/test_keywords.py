import pytest

from soxspipe.exceptions import SettingsError
from soxspipe.instruments import keywords
from soxspipe.instruments.keywords import load_instrument, shipped_instruments

TABLE = (keywords.Path(keywords.__file__).parent / "soxs.yaml").read_text(encoding="utf-8")


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(TABLE, encoding="utf-8")
    assert load_instrument(path) == next(table for table in shipped_instruments() if table.name == "SOXS")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x: &a [1]\ny: *a", "anchors and aliases are not read"),
        ("a: !!python/name:os.system", "tags are not read"),
        ("[" * 5000, "too deeply nested"),
        ("x" * 2**17 + "y", "more than 131072 bytes"),
        ("a: {b: 4,\u202e c: {d'x'", "not usable YAML"),
        (TABLE.replace("mode: read_mode", 'mode: "\\e[31m\\u202e"'), "mode is '\\x1b[31m\\u202e', expected read_mode"),
        (
            TABLE.replace("raw_shape: [2048, 2048]", "raw_shape: [.inf, 1]"),
            "not a usable instrument table: a value is of the wrong kind",
        ),
        (TABLE + "instrument: X\n", "is given twice"),
        ("instrument: SOXS", "not a usable instrument table: lacks 'keywords'"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "own.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_instrument(path)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}: ")
    assert words in fault
    assert fault.isprintable()
