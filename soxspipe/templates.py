"""Texts and pages made from templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["fill"]


def fill(template: Path, facts: Mapping[str, Any], *, html: bool = False, **filters: Callable[..., Any]) -> str:
    """Return the text of a template of Jinja2.

    Parameters
    ----------
    template : pathlib.Path
        The file of the template; it may include others of its folder.
    facts : mapping of str to object
        What it shows. A name that it uses and that is missing raises `jinja2.UndefinedError`.
    html : bool
        Whether characters that mean something in HTML are escaped.
    **filters : callable
        Filters of the template, by name.

    Returns
    -------
    str
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template.name).render(facts)
