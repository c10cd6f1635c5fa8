"""Write the tables of the pages that derive from the package: ``python docs/_ext/tables.py``.

A page holds its tables as plain reStructuredText between two comments, so that a forge shows them as well::

    .. begin settings-table mdark create-noise-map
    .. end settings-table

A test compares pages and package. The kinds of tables are the keys of `KINDS`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from settings_file import settings_rows, yaml_value

from soxspipe.checked_model import CheckedModel
from soxspipe.cli.usage import CommandHelp, overview
from soxspipe.instruments.detectors import Detector
from soxspipe.instruments.keywords import shipped_instruments
from soxspipe.instruments.tables import ArmWords, Defaults, InstrumentTable, KeywordTable, TypeWords, Units
from soxspipe.pixel_codes import PixelCode
from soxspipe.quality.definitions import ANY_ADVICE, DEFINITIONS, QCDefinition

DOCS = Path(__file__).parents[1]
#: Formulas and exceptions of QC values: lines with their names, each followed by an indented text.
QC_DETAILS = DOCS / "qc_details.txt"
PARTS = {
    "top": InstrumentTable, "units": Units, "keywords": KeywordTable, "type": TypeWords, "arm": ArmWords,
    "defaults": Defaults, "detector": Detector,
}  # fmt: skip
_BLOCK = re.compile(r"^\.\. begin (?P<kind>[\w-]+)(?P<words>[^\n]*)\n.*?^\.\. end (?P=kind)$", re.MULTILINE | re.DOTALL)


def table(header: list[str], rows: list[list[str]], widths: list[int], literal: tuple[int, ...] = ()) -> str:
    """Return a table; the columns in ``literal`` are set as code."""

    def cell(text: str, column: int) -> str:
        if column in literal and text:
            return f"``{text}``"
        # roles such as :ref:`...` stay as they are
        marks = r"(:\w+:`[^`]+`)|[\\*`|_](?=\W|$)|(?<!\w)[\\*`|]"
        return re.sub(marks, lambda match: match[1] or f"\\{match[0]}", text)

    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in [header, *rows]:
        for column, text in enumerate(row):
            shown = text if row is header else cell(text, column)
            mark = "   * -" if column == 0 else "     -"
            wrapped = textwrap.wrap(
                shown, 112, initial_indent=f"{mark} ", subsequent_indent=" " * 7, break_long_words=False,
                break_on_hyphens=False,
            )  # fmt: skip
            lines += wrapped or [mark]
    return "\n".join(lines)


def settings_table(*wanted: str) -> str:
    """Return the settings of sections, or of all, with default, range and meaning."""
    sections = list(dict.fromkeys(row.section for row in settings_rows()))
    if unknown := set(wanted) - set(sections):
        raise ValueError(f"no section {', '.join(unknown)}")
    parts = []
    for section in wanted or sections:
        lines = [
            [f"{row.arm}: {row.key}" if row.arm else row.key, row.default, f"{row.range} {row.unit}".strip(), row.words]
            for row in settings_rows()
            if row.section == section
        ]
        name = [f"``{section}``"] if len(wanted) != 1 else []
        parts += [*name, table(["Key", "Default", "Range", "Meaning"], lines, [26, 14, 18, 42], (0, 1))]
    return "\n\n".join(parts)


def qc_details() -> dict[str, str]:
    """Return the details of QC values by name; raises ValueError for a name without definition."""
    details = {}
    for names, text in re.findall(r"^(\S.*)\n((?:[ ].*\n)+)", QC_DETAILS.read_text(encoding="utf-8"), re.MULTILINE):
        details |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    if unknown := details.keys() - DEFINITIONS.keys():
        raise ValueError(f"{QC_DETAILS.name}: unknown {', '.join(sorted(unknown))}")
    return details


def default_ranges(definition: QCDefinition) -> str:
    """Return the default ranges of a QC value: for all arms, and for single arms."""
    common = [] if definition.range == (None, None) else [yaml_value(definition.range)]
    arms = [
        f"{arm}: {yaml_value(limits)}" for arm, (limits, _) in definition.arm_ranges.items() if limits != (None, None)
    ]
    return "; ".join([*common, *arms])


def qc_table(recipe: str) -> str:
    """Return the QC values of a recipe, with unit, definition and default range."""
    details = qc_details()
    lines = [
        [one.name, one.unit, "; ".join(filter(None, (one.words, details.get(one.name)))), default_ranges(one)]
        for one in DEFINITIONS.values()
        if recipe in one.recipes
    ]
    if not lines:
        raise ValueError(f"no QC value of a recipe '{recipe}'")
    return table(["Name", "Unit", "Definition", "Default range"], lines, [22, 12, 46, 20], (0,))


def qc_advice() -> str:
    """Return what to do if a QC value is out of its range; values with the same advice share a row."""
    names: dict[str, list[str]] = {}
    for one in DEFINITIONS.values():
        if one.advice != ANY_ADVICE:
            names.setdefault(one.advice, []).append(one.name)
    lines = [[", ".join(of), advice] for advice, of in names.items()]
    return table(["Value", "What to do"], [*lines, ["any other", ANY_ADVICE]], [24, 76])


def pixel_codes() -> str:
    """Return the pixel codes, with their bits and meanings."""
    rows = [(code.value, code.value.bit_length() - 1, code.label, code.description) for code in PixelCode]
    lines = [["0", "", "good", ""], *([str(cell) for cell in row] for row in rows)]
    return table(["Code", "Bit", "Name", "Meaning"], lines, [18, 8, 18, 56])


def detector_table() -> str:
    """Return the detectors of the shipped instrument tables: their pixels and their numbers."""
    pixels, numbers = [], []
    for instrument in shipped_instruments():
        for arm, detector in instrument.detectors.items():
            geometry = detector.geometry(detector.raw_shape, (1, 1), arm)
            conad = f"{detector.conad_e_per_adu:g}"
            limit, saturation = detector.dark_current_limit_e_per_s, detector.saturation_adu
            pixels.append([
                f"{instrument.name} {arm}",
                detector.name,
                "{} x {}".format(*detector.raw_shape),
                "{} x {}".format(*geometry.product_shape),
                str(detector.rot90_count),
                str(len(detector.amplifiers)),
                ", ".join(f"{first}:{end}" for first, end in detector.overscan_columns) or "none",
            ])  # fmt: skip
            numbers.append([
                f"{instrument.name} {arm}",
                f"header, else {conad}" if detector.conad_from_header else conad,
                f"{detector.read_noise_e:g}",
                "none" if limit is None else f"{limit:g}",
                "none" if saturation is None else f"{saturation:g}",
                f"{detector.pixel_size_um:g}",
            ])  # fmt: skip
    of_pixels = ["Instrument, arm", "Detector", "Raw frame", "Product", "Turns", "Amplifiers", "Overscan columns"]
    of_numbers = ["Instrument, arm", "e-/ADU", "Read noise, e-", "Dark current, e-/s", "Saturation, ADU", "Pixel, µm"]
    return "\n\n".join([
        table(of_pixels, pixels, [18, 20, 14, 14, 8, 10, 16]), table(of_numbers, numbers, [18, 20, 16, 18, 16, 12]),
    ])  # fmt: skip


def instrument_entries(part: str) -> str:
    """Return the entries of one part of an instrument table."""
    model, lines = PARTS[part], []
    for name, info in model.model_fields.items():
        if model is Detector and name == "arm":
            continue
        key = str(info.validation_alias.choices[0]) if info.validation_alias else name
        unit = (info.json_schema_extra or {}).get("unit")
        lines.append([key, _without_it(info), f"{info.description}{f'; {unit}' if unit else ''}"])
    return table(["Key", "Without it", "Meaning"], lines, [18, 24, 58], (0,))


def _without_it(info: Any) -> str:
    default = info.default
    if info.is_required():
        derived = ("light-sensitive", "raw region")
        words = info.description.removeprefix("rows and columns of the ")
        return "whole frame" if words.startswith(derived) else "refused"
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or "none"
    return "none" if default in (None, {}) or isinstance(default, CheckedModel) else str(yaml_value(default))


def usage_text(*command: str) -> str:
    """Return the text of ``soxspipe --help``, or of the help of a command."""
    text = CommandHelp(command[0]).text if command else overview()
    return ".. code-block:: none\n\n" + textwrap.indent(text, "   ")


KINDS: dict[str, Callable[..., str]] = {
    "settings-table": settings_table,
    "qc-table": qc_table,
    "qc-advice": qc_advice,
    "pixel-codes": pixel_codes,
    "detector-table": detector_table,
    "instrument-entries": instrument_entries,
    "usage-text": usage_text,
}


def pages() -> Iterator[tuple[Path, str, str]]:
    """Yield each page that has tables, its text, and its text with the tables of the package."""
    for page in sorted(DOCS.rglob("*.rst")):
        text = page.read_text(encoding="utf-8")
        new = _BLOCK.sub(
            lambda match: (
                f".. begin {match['kind']}{match['words']}\n\n{KINDS[match['kind']](*match['words'].split())}\n\n"
                f".. end {match['kind']}"
            ),
            text,
        )
        if _BLOCK.search(text):
            yield page, text, new


if __name__ == "__main__":
    for page, text, new in pages():
        if new != text:
            page.write_text(new, encoding="utf-8")
