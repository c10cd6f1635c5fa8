"""Parts of the pages that Sphinx makes from the package.

``.. changes-list::``  CHANGES.md, its Markdown converted to reStructuredText

``tables.py`` writes the tables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from soxspipe.checked_model import CheckedModel

CHANGES = Path(__file__).parents[2] / "CHANGES.md"


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
    """Register the directive and the handlers."""
    keep_attribute_comments(app)
    app.connect("autodoc-process-docstring", list_fields, priority=100)
    app.connect("autodoc-skip-member", skip_of_pydantic)
    app.add_directive("changes-list", ChangesList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
