import pytest

from soxspipe.text import LONGEST_VALUE, escape, format_value, nearest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "'a b'"),
        ("\x1b[31m\u202e", "'\\x1b[31m\\u202e'"),
        ("é 星", "'é 星'"),
        (1.5, "1.5"),
        (True, "True"),
        (None, "None"),
        ([1, "a\n"], "[1, 'a\\n']"),
    ],
)
def test_a_value_is_written_on_one_printable_line(value, text):
    assert format_value(value) == text
    assert format_value(value).isprintable()


def test_a_long_value_is_cut():
    assert format_value("x" * 500) == f"'{'x' * (LONGEST_VALUE - 4)}..."
    assert format_value(1 << 60000) == "<int of 60001 bits>"


def test_printable_text_is_kept():
    assert escape("a é.fits") == "a é.fits"
    assert escape("a\tb\n") == "a\\tb\\n"


def test_the_nearest_name():
    assert nearest("pul std", ["PULL STD", "FPN"]) == "did you mean 'PULL STD'?"
    assert nearest("zzz", ["PULL STD", "FPN"]) == "expected PULL STD, FPN"
    assert nearest(5, ["PULL STD"]) == "expected PULL STD"
