"""Directives that generate parts of the pages from the package, so that pages and code always agree.

``.. settings-table:: [section ...]``  the settings of all sections, or of the named ones
``.. qc-table:: recipe``               the QC values of a recipe
``.. qc-advice::``                     what to do if a QC value is out of its range
``.. pixel-codes::``                   the pixel codes
``.. detector-table::``                the detectors of the instrument tables
``.. usage-text:: [command]``          the output of ``soxspipe --help``, or of ``soxspipe <command> --help``
``.. changes-list::``                  CHANGES.md, its Markdown converted to reStructuredText
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from settings_file import settings_rows, yaml_value

from soxspipe.checked_model import CheckedModel
from soxspipe.cli.usage import CommandHelp, overview
from soxspipe.instruments.detectors import Detector
from soxspipe.instruments.keywords import shipped_instruments
from soxspipe.instruments.tables import ArmWords, Defaults, InstrumentTable, KeywordTable, TypeWords, Units
from soxspipe.pixel_codes import PixelCode
from soxspipe.quality.definitions import ANY_ADVICE, DEFINITIONS, QCDefinition

CHANGES = Path(__file__).parents[2] / "CHANGES.md"
#: Formulas and exceptions of QC values: lines with their names, each followed by an indented text.
QC_DETAILS = Path(__file__).parents[1] / "qc_details.txt"


def table(header: list[str], rows: list[list[str]], widths: list[int], literal: set[int]) -> nodes.table:
    """Make a table; the columns in ``literal`` are set as code."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=width) for width in widths]
    for part, lines in ((nodes.thead(), [header]), (nodes.tbody(), rows)):
        for line in lines:
            row = nodes.row()
            for i, text in enumerate(line):
                code = i in literal and lines is rows and text
                word = nodes.literal(text, text) if code else nodes.inline(text, text)
                row += nodes.entry("", nodes.paragraph("", "", word))
            part += row
        group += part
    return nodes.table("", group, classes=["colwidths-given"])


class SettingsTable(Directive):
    """The settings, with default, range and meaning."""

    optional_arguments = 100

    def run(self) -> list[nodes.Node]:
        """Return a table for each section, with its name above if there are several."""
        sections = list(dict.fromkeys(row.section for row in settings_rows()))
        wanted = self.arguments or sections
        if unknown := set(wanted) - set(sections):
            raise self.error(f"no section {', '.join(unknown)}")
        found: list[nodes.Node] = []
        for section in wanted:
            if len(wanted) > 1:
                found.append(nodes.paragraph("", "", nodes.literal(section, section)))
            lines = [
                [
                    f"{row.arm}: {row.key}" if row.arm else row.key,
                    row.default,
                    f"{row.range} {row.unit}".strip(),
                    row.words,
                ]
                for row in settings_rows()
                if row.section == section
            ]
            found.append(table(["Key", "Default", "Range", "Meaning"], lines, [26, 14, 18, 42], {0, 1}))
        return found


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


class QCTable(Directive):
    """The QC values of a recipe, with unit, definition and default range."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        recipe, details = self.arguments[0], qc_details()
        lines = [
            [one.name, one.unit, "; ".join(filter(None, (one.words, details.get(one.name)))), default_ranges(one)]
            for one in DEFINITIONS.values()
            if recipe in one.recipes
        ]
        if not lines:
            raise self.error(f"no QC value of a recipe '{recipe}'")
        return [table(["Name", "Unit", "Definition", "Default range"], lines, [22, 12, 46, 20], {0})]


class QCAdvice(Directive):
    """What to do if a QC value is out of its range."""

    def run(self) -> list[nodes.Node]:
        """Return the table: values with the same advice share a row, those without their own come last."""
        names: dict[str, list[str]] = {}
        for one in DEFINITIONS.values():
            if one.advice != ANY_ADVICE:
                names.setdefault(one.advice, []).append(one.name)
        lines = [[", ".join(of), advice] for advice, of in names.items()]
        return [table(["Value", "What to do"], [*lines, ["any other", ANY_ADVICE]], [24, 76], set())]


class PixelCodes(Directive):
    """The pixel codes, with their bits and meanings."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [(code.value, code.value.bit_length() - 1, code.label, code.description) for code in PixelCode]
        lines = [["0", "", "good", ""], *([str(cell) for cell in row] for row in rows)]
        return [table(["Code", "Bit", "Name", "Meaning"], lines, [18, 8, 18, 56], set())]


class DetectorTable(Directive):
    """The detectors of the instrument tables: their pixels and their numbers."""

    PIXELS: ClassVar = [
        "Instrument, arm", "Detector", "Raw frame", "Product", "Turns", "Amplifiers", "Overscan columns",
    ]  # fmt: skip
    NUMBERS: ClassVar = [
        "Instrument, arm", "e-/ADU", "Read noise, e-", "Dark current, e-/s", "Saturation, ADU", "Pixel, µm",
    ]  # fmt: skip

    def run(self) -> list[nodes.Node]:
        """Return the two tables."""
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
                    ", ".join(f"{first}:{end}" for first, end in detector.overscan_columns) or "-",
                ])  # fmt: skip
                numbers.append([
                    f"{instrument.name} {arm}",
                    f"header, else {conad}" if detector.conad_from_header else conad,
                    f"{detector.read_noise_e:g}",
                    "-" if limit is None else f"{limit:g}",
                    "-" if saturation is None else f"{saturation:g}",
                    f"{detector.pixel_size_um:g}",
                ])  # fmt: skip
        return [
            table(self.PIXELS, pixels, [18, 20, 14, 14, 8, 10, 16], set()),
            table(self.NUMBERS, numbers, [18, 20, 16, 18, 16, 12], set()),
        ]


class InstrumentEntries(Directive):
    """The entries of one part of an instrument table."""

    PARTS: ClassVar = {
        "top": InstrumentTable, "units": Units, "keywords": KeywordTable, "type": TypeWords, "arm": ArmWords,
        "defaults": Defaults, "detector": Detector,
    }  # fmt: skip
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        model = self.PARTS[self.arguments[0]]
        lines = []
        for name, info in model.model_fields.items():
            if model is Detector and name == "arm":
                continue
            key = str(info.validation_alias.choices[0]) if info.validation_alias else name
            unit = (info.json_schema_extra or {}).get("unit")
            lines.append([key, self._default(info), f"{info.description}{f'; {unit}' if unit else ''}"])
        return [table(["Key", "Without it", "Meaning"], lines, [18, 24, 58], {0})]

    @staticmethod
    def _default(info: Any) -> str:
        default = info.default
        if info.is_required():
            derived = ("light-sensitive", "raw region")
            return (
                "whole frame" if info.description.removeprefix("rows and columns of the ").startswith(derived) else "-"
            )
        if isinstance(default, tuple):
            return ", ".join(map(str, default)) or "none"
        return "none" if default in (None, {}) or isinstance(default, CheckedModel) else str(yaml_value(default))


class UsageText(Directive):
    """The text of ``soxspipe --help``, or of the help of a command."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the text as a literal block."""
        text = CommandHelp(self.arguments[0]).text if self.arguments else overview()
        return [nodes.literal_block(text, text, language="none")]


class ChangesList(Directive):
    """The changes of each version."""

    def run(self) -> list[nodes.Node]:
        """Return a heading and a list for each version."""
        text = CHANGES.read_text(encoding="utf-8").partition("\n")[2]
        text = re.sub(r"`([^`]+)`", r"``\1``", text)
        text = re.sub(r"^##+ (.*)$", r".. rubric:: \1", text, flags=re.MULTILINE)
        page = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), source=CHANGES.name), 0, page)
        return page.children


def keep_attribute_comments(app: Any) -> None:
    """Keep the comments of attributes unchanged: napoleon reads words before a colon as a type."""
    kept: dict[str, list[str]] = {}

    def keep(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        if what == "attribute":
            kept[name] = list(lines)

    def put_back(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        if what == "attribute":
            lines[:] = kept.pop(name, lines)

    app.connect("autodoc-process-docstring", keep, priority=100)
    app.connect("autodoc-process-docstring", put_back, priority=900)


def list_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Add the values of a checked model to its docstring, from their declarations."""
    if isinstance(obj, type) and issubclass(obj, CheckedModel):
        lines += ["", "Attributes", "----------"]
        for field, info in obj.model_fields.items():
            unit = (info.json_schema_extra or {}).get("unit")
            lines += [field, f"    {info.description}{f', {unit}' if unit else ''}"]


def skip_of_pydantic(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the attributes that every pydantic model has."""
    return True if name.startswith("model_") else None


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    keep_attribute_comments(app)
    app.connect("autodoc-process-docstring", list_fields, priority=100)
    app.connect("autodoc-skip-member", skip_of_pydantic)
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("qc-table", QCTable)
    app.add_directive("qc-advice", QCAdvice)
    app.add_directive("pixel-codes", PixelCodes)
    app.add_directive("detector-table", DetectorTable)
    app.add_directive("instrument-entries", InstrumentEntries)
    app.add_directive("usage-text", UsageText)
    app.add_directive("changes-list", ChangesList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
