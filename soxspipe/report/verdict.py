"""The words of a report: the verdict, the answers to the first questions, and the table of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..quality.definitions import definition_of
from ..text import counted, range_words
from .frame_figures import odd_frames
from .plots import brief
from .read_product import ProductData

__all__ = ["Answer", "Row", "answers", "product_noun", "rows", "verdict_sentence"]

#: Nouns of the products by the beginning of their category.
NOUNS = {
    "MASTER_DARK": "master dark",
    "MASTER_BIAS": "master bias",
    "DARK_RATE": "map of dark rates",
    "DARK_SUBTRACTED": "dark-subtracted frame",
}
#: Frames of which one can be left out.
FEWEST_TO_EXCLUDE = 5


@dataclass(frozen=True)
class Answer:
    """A question that a reader has first, and its answer in one or a few sentences; a wide one has its own row."""

    question: str
    lines: Sequence[str]
    wide: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the table of figures.

    Attributes
    ----------
    name, value, expected, description : str
        The figure, as a reader wants it.
    passed : bool or None
        Whether it is in its range; None without a range.
    advice : str
        What to do; empty unless it is out of its range.
    """

    name: str
    value: str
    expected: str
    description: str
    passed: bool | None
    advice: str


def product_noun(product: ProductData) -> str:
    """Return what the product is."""
    category = str(product.header.get("ESO PRO CATG", ""))
    return next((noun for start, noun in NOUNS.items() if category.startswith(start)), "product")


def rows(product: ProductData) -> list[Row]:
    """Return the table of figures: those out of their range first, then those in it, then the others."""
    order = {False: 0, True: 1, None: 2}
    return [_row(one) for one in sorted(product.qc, key=lambda one: order[one["passed"]])]


def _row(one: Mapping[str, Any]) -> Row:
    advice = definition_of(one["name"]).advice if one["passed"] is False else ""
    value, (low, high) = brief(one["value"], one["unit"]), one["range"]
    return Row(one["name"], value, range_words(low, high, ".4g"), one["description"], one["passed"], advice)


def verdict_sentence(product: ProductData) -> str:
    """Return the verdict in one sentence."""
    noun = product_noun(product)
    judged = [one for one in product.qc if one["passed"] is not None]
    failed, warnings = product.document["failed"], product.document["warnings"]
    if failed:
        are = "is" if len(failed) == 1 else "are"
        return (
            f"Do not use this {noun} before you have checked it: {len(failed)} of {len(judged)} figures with a range "
            f"{are} out of it ({', '.join(failed)})."
        )
    in_range = f"All {len(judged)} figures with a range are in it"
    if not judged and not warnings:
        return f"No figure of this {noun} has a range: check the figures yourself. There are no warnings."
    if warnings:
        return f"Use this {noun} with care: it has {counted(len(warnings), 'warning')}. {in_range}."
    return f"This {noun} is good. {in_range}, and there are no warnings."


def answers(product: ProductData) -> list[Answer]:
    """Return the answers to the questions that a reader has first."""
    found = [
        Answer("What is the read noise?", _read_noise(product)),
        Answer("What is the level?", _level(product)),
        Answer("How many pixels are bad?", _bad_pixels(product)),
        Answer("Which frame is odd?", _odd(product), wide=True),
        Answer("What should I do?", actions(product), wide=True),
    ]
    return [answer for answer in found if answer.lines]


def _read_noise(product: ProductData) -> list[str]:
    noise, master = product.value("RON RAW"), product.value("RON MASTER")
    if noise is None:
        return []
    of_master = f"; in the master {brief(master)} electron" if master is not None else ""
    return [f"{brief(noise)} electron in a single frame{of_master}."]


def _level(product: ProductData) -> list[str]:
    lines = []
    for name, words in (("LEVEL", "Mean level"), ("BIAS LEVEL", "Bias level")):
        if product.value(name) is not None:
            error = brief(product.value(f"{name} ERR"))
            lines.append(f"{words}: {brief(product.value(name))} ± {error} electron.")
    for name in ("DARK CURRENT", "DARK RATE"):
        if product.value(name) is not None:
            error = brief(product.value(f"{name} ERR"))
            limit = " (only an upper limit)" if product.value(f"{name} LIMIT") else ""
            lines.append(f"Dark current: {brief(product.value(name))} ± {error} electron/s{limit}.")
    return lines


def _bad_pixels(product: ProductData) -> list[str]:
    names = {
        "HOTPIX NUM": "hot", "COLDPIX NUM": "cold", "NOISYPIX NUM": "noisy", "BADCOL NUM": "bad columns",
        "HOTCOL NUM": "hot columns", "NONLIN NUM": "non-linear", "NODATA NUM": "without a rate",
    }  # fmt: skip
    counts = [f"{brief(product.value(name))} {word}" for name, word in names.items() if _is_known(product, name)]
    share = product.value("HOTPIX FRAC")
    if share is not None and counts:
        counts[0] += f" ({100 * share:.2g} % of all)"
    lines = [f"{', '.join(counts)}."] if counts else []
    if product.value("NOISYPIX TESTED") is False:
        lines.append("Noisy pixels were not tested: there are too few frames, or the noise is below the digital step.")
    return lines


def _is_known(product: ProductData, name: str) -> bool:
    return product.value(name) is not None


def _odd(product: ProductData) -> list[str]:
    if not product.frames:
        return []
    odd = odd_frames(product)
    if odd:
        return [
            f"Frame {i}, {frame['name']}: {'; '.join(frame['findings'])}."
            + (" It was left out of the stack." if frame.get("excluded") else "")
            for i, frame in odd
        ]
    if not any("box_ratio" in frame for frame in product.frames):
        return ["Not tested: vet-frames is off, or there are only two frames."]
    return [f"None: all {len(product.frames)} frames agree."]


def actions(product: ProductData) -> list[str]:
    """Return what to do, the most important first."""
    lines = []
    for i, frame in odd_frames(product):
        if not frame.get("excluded"):
            option = (
                " (vet-frames: exclude in the settings does that)" if len(product.frames) >= FEWEST_TO_EXCLUDE else ""
            )
            lines.append(f"Look at frame {i}, {frame['name']}. If it is bad, reduce again without it{option}.")
    failed = dict.fromkeys(definition_of(name).advice for name in product.document["failed"])
    names = {advice: [n for n in product.document["failed"] if definition_of(n).advice == advice] for advice in failed}
    lines += [f"{', '.join(of)}: {advice}" for advice, of in names.items()]
    if not lines and product.document["warnings"]:
        return ["Read the warnings below. If none of them matters for your frames, use it."]
    return lines or ["Nothing: use it."]
