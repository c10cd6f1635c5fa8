"""The page of a report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import InputError, SoxspipeError
from ..fits_files.checksums import read_verified_images
from ..inputs.frame_kinds import RECIPE, numbered
from ..products.atomic_files import write_file
from ..products.product_files import ENDINGS, REPORT_MARK
from ..templates import fill
from ..text import escape
from .bad_pixels import describe_bad_pixels
from .frame_figures import frame_figures
from .images import ImagePanel, colour_stops, reduced, scaled_panel
from .plots import Figure
from .rate_figures import chi2_histogram, linearity_figures
from .read_product import ProductData, read_product, sample
from .stack_figures import amplifier_figure, level_histograms, noise_histogram, profile_figures, pull_figure
from .verdict import answers, product_noun, rows, verdict_sentence

__all__ = ["make_report", "write_report"]

TEMPLATE = Path(__file__).parent / "templates" / "report.html.jinja"
#: Planes that are shown as images: title and what to look for.
PLANES = {
    "FLUX": ("{noun}", "Look for glow at the edges, for light, and for lines that stand out."),
    "ERRS": (
        "Error",
        "One-sigma error of each pixel: even, apart from bright regions and pixels with rejected samples.",
    ),
    "NOISE": (
        "Noise image",
        "Standard deviation of a single frame in each pixel: even, apart from amplifiers and glow.",
    ),
    "OFFSET": ("Offset", "The level at exposure 0: what does not grow with the exposure, such as amplifier glow."),
    "CHI2": ("Chi-square", "Reduced chi-square of the line: about 1. Regions above it do not follow a line."),
}


def make_report(product_path: str | os.PathLike[str]) -> str:
    """Make the report of a product from its files.

    Parameters
    ----------
    product_path : str or path-like
        Main file of the product, with its ``_qc.json`` beside it.

    Returns
    -------
    str
        An HTML page that needs no other file and no network. The same product gives the same page.

    Raises
    ------
    InputError
        When the file is not a product of soxspipe, or is damaged.
    SoxspipeError
        When matplotlib cannot be imported.
    """
    product = read_product(Path(product_path))
    _require_matplotlib()
    try:
        return fill(TEMPLATE, _context(product), html=True)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, SoxspipeError):
            raise
        reason = f"cannot be shown ({type(error).__name__}: {error}): reduce the frames again"
        raise InputError(escape(f"{product.path}: its header, planes or record {reason}")) from error


def write_report(product_path: str | os.PathLike[str]) -> Path:
    """Make the report of a product again, and write it beside the product.

    Parameters
    ----------
    product_path : str or path-like
        Main file of the product.

    Returns
    -------
    pathlib.Path
        The report; an older one is replaced.

    Raises
    ------
    InputError
        When the file is not a product of soxspipe, or is damaged, or a file with the name of the report is no report.
    ProductError
        When the report cannot be written.
    """
    path = Path(product_path)
    read_verified_images(path)
    report = path.with_name(f"{path.stem}.html")
    write_file(report, make_report(path), overwrite=True, inputs=[path], marks={report.name: REPORT_MARK})
    return report


def _require_matplotlib() -> None:
    """Raise an error where the configuration of matplotlib is wrong: it is no fault of the product."""
    try:
        from matplotlib import rcParams  # noqa: F401
    except ValueError as error:
        raise SoxspipeError(
            f"matplotlib cannot be imported ({error}): correct its configuration, such as the variable MPLBACKEND"
        ) from error


def _context(product: ProductData) -> dict[str, Any]:
    """Return what the template shows."""
    header, noun = product.header, product_noun(product)
    figures = list(rows(product))
    return {
        "title": _title(product, noun),
        "noun": noun,
        "verdict": product.document["verdict"],
        "sentence": verdict_sentence(product),
        "answers": answers(product),
        "warnings": product.document["warnings"],
        "judged": [row for row in figures if row.passed is not None],
        "others": [row for row in figures if row.passed is None],
        "colour_stops": colour_stops(),
        "frames": product.frames,
        "masters": product.document.get("masters", ()),
        "facts": _facts(header),
        "inputs": [(header[f"{key} NAME"], header[f"{key} CATG"]) for key in numbered(header, "RAW")],
        "calibrations": [(header[f"{key} NAME"], header[f"{key} CATG"]) for key in numbered(header, "CAL")],
        "parameters": list(_parameters(product)),
        "files": _files(product),
        "name": product.document["product"],
        **_pixels(product, noun),
    }


def _title(product: ProductData, noun: str) -> str:
    """Return the title: the product, its detector and its exposure."""
    header = product.header
    arm = str(header.get("ESO PRO CATG", "")).rpartition("_")[2]
    words = f"{noun.capitalize()}, {header.get('INSTRUME', '')} {arm}"
    return f"{words}, {header['EXPTIME']:g} s" if header.get("EXPTIME") else words


def _files(product: ProductData) -> dict[str, str]:
    """Return the names of the other files of the product; the log is written after the report."""
    stem = product.path.stem
    names = {role: f"{stem}{ending}" for ending, role in ENDINGS.items() if role != "report"}
    return {role: name for role, name in names.items() if role in product.files or role == "log"}


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return provenance that is one line each."""
    keys = {
        "Recipe": f"{RECIPE} ID", "Made by": f"{RECIPE} PIPE ID", "Made at (UTC)": "DATE",
        "First exposure (UTC)": "DATE-OBS", "End of the last exposure (UTC)": "DATE-END", "Frames": "ESO PRO DATANCOM",
        "First raw frame": "ESO PRO ANCESTOR", "Subtracted level": "ESO QC PEDESTAL",
        "Gain used, electron/ADU": "ESO QC CONAD", "MD5 of the data": "DATAMD5",
    }  # fmt: skip
    return [(words, str(header[key])) for words, key in keys.items() if key in header]


def _parameters(product: ProductData) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and default of each parameter."""
    header = product.header
    for key in numbered(header, "PARAM"):
        default = str(header.comments[f"{key} VALUE"]).removeprefix("Default: ")
        yield str(header[f"{key} NAME"]), str(header[f"{key} VALUE"]), default


def _pixels(product: ProductData, noun: str) -> dict[str, Any]:
    """Return what the planes of the product show: images, bad pixels, and figures by section."""
    flux = product.plane("FLUX")
    codes = product.plane("QUAL") if "QUAL" in product.images else np.zeros(flux.shape, np.int32)
    good = (codes == 0) & np.isfinite(flux)
    images: list[tuple[str, str, ImagePanel]] = []
    noise: list[Figure | None] = []
    for name in [name for name in PLANES if name in product.images]:
        plane = flux if name == "FLUX" else product.plane(name)
        title, caption = PLANES[name]
        panel = scaled_panel(reduced(plane), plane.shape, unit=product.unit(name))
        images.append((title.format(noun=noun.capitalize()), caption, panel))
        if name == "ERRS":
            errors = sample(plane.reshape(-1))[sample(good.reshape(-1))]
            noise += level_histograms(product, flux, good, float(np.median(errors)) if errors.size else 1.0)
        elif name == "NOISE":
            noise.append(noise_histogram(product, plane, good))
        elif name == "CHI2":
            noise.append(chi2_histogram(product, plane, good))
    noise += [pull_figure(product), amplifier_figure(product)]
    return {
        "images": images,
        "bad": describe_bad_pixels(flux, codes, product.unit("FLUX")),
        "noise_figures": _present(noise),
        "frame_figures": frame_figures(product) + linearity_figures(product),
        "profiles": profile_figures(product, flux, good),
    }


def _present(figures: Sequence[Figure | None]) -> list[Figure]:
    return [figure for figure in figures if figure is not None]
