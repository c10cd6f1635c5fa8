"""A figure of a report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "brief"]


@dataclass(frozen=True)
class Figure:
    """A plot with the words around it.

    Attributes
    ----------
    title : str
        Its title.
    svg : str
        The plot; see `~soxspipe.report.plots.plot`.
    alt : str
        What it shows, for readers who cannot see it.
    caption : str
        How to read it.
    """

    title: str
    svg: str
    alt: str
    caption: str


def brief(value: float | int | bool | None, unit: str = "") -> str:
    """Return a value as a reader wants it: few digits, thousands apart, yes and no."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    words = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{words} {unit}".rstrip()
