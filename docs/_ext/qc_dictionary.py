"""Write the data dictionary of the QC values: ``python docs/_ext/qc_dictionary.py``.

docs/soxspipe_qc.dic, in the form of ESO's data interface (DICD), is the output of this program; a test compares them.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from soxspipe.quality.definitions import DEFINITIONS, QCDefinition
from soxspipe.version import __version__

FILE = Path(__file__).parents[1] / "soxspipe_qc.dic"
NAME = "ESO-VLT-DIC.SOXSPIPE_QC"
#: Names of values that are whole numbers; words of values that are true or false begin with one of these.
_COUNTS, _TRUE_OR_FALSE = re.compile(r".*\b(NUM|DOF|ABS\d|EXCLUDED|MASTERS|QUALITY)"), ("T: ", "F: ")
_FORMATS = {"double": "%.7g", "integer": "%d", "logical": "%c", "string": "%s"}
_STACKED = ("soxs_mdark", "soxs_mbias")
_OF_RAW = (*_STACKED, "soxs_subtract_dark")
_ALL = (*_OF_RAW, "soxs_dark_current")
#: Column at which values begin.
INDENT = 19


class DictionaryEntry(NamedTuple):
    """A parameter of the dictionary."""

    name: str  #: Behind ``ESO`` in the header; a final i stands for a number from 1.
    type: str  #: ``double``, ``integer``, ``logical`` or ``string``.
    unit: str  #: In the notation of the FITS standard; empty for pure numbers.
    words: str  #: Its meaning.
    recipes: tuple[str, ...]  #: Recipes whose products have it.


#: Keywords of a product that state how it was made, and are no QC values.
_CONTEXT = (
    DictionaryEntry("QC CONAD", "double", "electron/ADU", "conversion factor used", _OF_RAW),
    DictionaryEntry("QC RON HEADER", "double", "electron", "read noise of header or instrument table", _OF_RAW),
    DictionaryEntry("QC PEDESTAL", "string", "", "subtracted level", _ALL),
    DictionaryEntry(
        "QC LEVEL TYPE", "string", "", "what FLUX holds: dark or bias, alone or with the pedestal", _OF_RAW
    ),
    DictionaryEntry("QC EXPOSURE", "double", "s", "exposure that FLUX belongs to (one DIT)", _OF_RAW),
    DictionaryEntry("QC BIAS COMMON", "double", "electron", "error that all masters share", ("soxs_dark_current",)),
    DictionaryEntry("QC VET FRAME", "string", "", "raw frame that was left out of the stack", _STACKED),
    DictionaryEntry("QC VERDICT", "string", "", "PASS, WARN or FAIL (a value out of range)", _ALL),
    DictionaryEntry("QC FAILED", "string", "", "names of the values out of range", _ALL),
)


def dictionary_entries() -> Iterator[DictionaryEntry]:
    """Yield all keywords ``ESO QC`` of products, those of QC values first."""
    for definition in DEFINITIONS.values():
        name, words = definition.name.replace("{i}", "i"), definition.words.replace("{i}", "i")
        yield DictionaryEntry(f"QC {name}", _type_of(definition), definition.unit, words, definition.recipes)
    yield from _CONTEXT


def _type_of(definition: QCDefinition) -> str:
    if definition.words.startswith(_TRUE_OR_FALSE):
        return "logical"
    return "integer" if _COUNTS.fullmatch(definition.name) else "double"


def dictionary_text() -> str:
    """Return the dictionary, a text of ASCII letters."""
    records = [
        {
            "Dictionary Name": NAME,
            "Scope": "SOXSPIPE",
            "Source": "soxspipe",
            "Revision": __version__,
            "Status": "draft",
            "Description": "QC parameters of soxspipe products, generated from the definitions of the package.",
        }
    ]
    records += [
        {
            "Parameter Name": entry.name,
            "Class": "header|qc-log",
            "Context": "Process",
            "Type": entry.type,
            "Value Format": _FORMATS[entry.type],
            "Unit": entry.unit,
            "Comment Field": f"[{entry.unit}] {entry.words}" if entry.unit else entry.words,
            "Description": f"{entry.words[0].upper()}{entry.words[1:]}. In products of {', '.join(entry.recipes)}.",
        }
        for entry in dictionary_entries()
    ]
    return "\n".join("".join(map(_line, record.items())) for record in records)


def _line(field: tuple[str, str]) -> str:
    label, value = field
    words = textwrap.fill(value, 100, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT)
    return f"{label + ':':{INDENT}}{words[INDENT:]}".rstrip() + "\n"


if __name__ == "__main__":
    FILE.write_text(dictionary_text(), encoding="ascii")
