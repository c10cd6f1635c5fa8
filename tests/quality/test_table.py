import json

import numpy as np
import pytest

from soxspipe.quality.table import QCValue, QualityTable


def table():
    return QualityTable(
        [
            QCValue("A", 1.5, "electron", "one"),
            QCValue("B", 7, "", "two"),
            QCValue("C", np.nan, "electron/s", "three"),
            QCValue("D", None, "", "four"),
            QCValue("E", True, "", "five"),
        ],
        {"A": (1.0, 2.0), "B": (None, 5.0), "C": (0.0, 1.0)},
    )


def test_verdicts_and_warnings():
    assert [qc.passed for qc in table()] == [True, False, None, None, None]
    assert table().warnings == ("QC B is 7, expected at most 5",)
    assert table()["A"].value == 1.5
    with pytest.raises(KeyError):
        table()["Z"]


def test_names_of_one_value_share_a_warning():
    values = [QCValue(name, 1.2, "", name, (None, 1.0), note="ERRS") for name in ("A", "B")]
    assert QualityTable(values).warnings == ("QC A and B are 1.2, expected at most 1: ERRS",)
    assert QualityTable(values).failed == ("A", "B")


def test_undefined_values_are_null_and_masked():
    records = json.loads(json.dumps(table().records(), allow_nan=False))
    assert [record["value"] for record in records] == [1.5, 7, None, None, True]
    qtable = table().to_qtable()
    assert qtable["value"].mask.tolist() == [False, False, True, True, False]
    assert qtable["passed"].mask.tolist() == [False, False, True, True, True]
    assert qtable["range"][0] == "1 to 2"


def test_limits_that_are_no_numbers_are_open_ends():
    odd = QualityTable([QCValue("A", 1.0, "", "", (np.nan, np.inf)), QCValue("B", 9.0, "", "", (np.nan, 5.0))])
    assert [record["range"] for record in odd.records()] == [[None, None], [None, 5.0]]
    assert (odd["A"].passed, odd.warnings) == (None, ("QC B is 9, expected at most 5",))
