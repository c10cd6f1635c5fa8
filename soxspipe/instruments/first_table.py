"""A first instrument table from the header and pixels of one frame, with questions where they leave something open."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..exceptions import FrameError
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader
from ..text import escape
from .detectors import LONGEST_TEXT, SMALLEST_SIDE
from .keywords import NAMES_OF_CAMERAS
from .tables import FRAME_TYPES

__all__ = ["FirstTable", "first_table"]

#: Words for the types of frames, as cameras' programs write them.
WORDS = {
    "dark": ["Dark Frame", "DARK"],
    "bias": ["Bias Frame", "BIAS", "Zero"],
    "flat": ["Flat Field", "Flat Frame", "FLAT"],
    "light": ["Light Frame", "LIGHT", "Object"],
}
#: Keywords for a meaning, the most usual first.
CANDIDATES = {
    "type": ("IMAGETYP", "IMAGETYPE", "OBSTYPE", "FRAME", "EXPTYPE", "OBSTYP"),
    "exptime": ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "ITIME", "INTTIME", "IMG_EXP"),
    "date": ("DATE-OBS", "DATE-BEG", "DATE_OBS", "UTC-OBS"),
    "binx": ("XBINNING", "BINX", "CCDXBIN", "CCDBIN1"),
    "biny": ("YBINNING", "BINY", "CCDYBIN", "CCDBIN2"),
    "conad": ("EGAIN", "CONAD"),
    "read_noise": ("RDNOISE", "READNOIS", "RON", "ENOISE"),
    "temperature": ("CCD-TEMP", "DET-TEMP", "CCDTEMP", "DETTEMP", "SENSTEMP", "CHIPTEMP"),
    "pixel_size": ("XPIXSZ", "PIXSIZE1", "PIXSZX", "PIXELSZ"),
}  # fmt: skip
#: Programs and makers that a header names, and what their GAIN is: a setting of the camera, or open.
DIALECTS = {
    "N.I.N.A.": "setting", "ASIAIR": "setting", "ZWO": "setting", "SharpCap": "setting", "INDI": "setting",
    "Ekos": "setting", "QHY": "setting", "ToupTek": "setting", "MaxIm": "open", "SBIG": "open", "CCDOPS": "open",
    "CCDSoft": "open", "TheSky": "open", "Voyager": "setting", "PRISM": "open", "FireCapture": "setting",
}  # fmt: skip
CMOS_ONLY = ("ASIAIR", "ZWO", "ToupTek")
#: Pixels that are looked at.
MOST_ROWS = 512
#: No CMOS detector that writes 12 or 14 bits as 16 has more read noise, electron: the factor is per count then.
MOST_NOISE_E = 12.0
#: No camera bins more pixels in a row or column.
MOST_BINNING = 16
#: Side of a pixel where the header has none, micrometre.
USUAL_PIXEL_UM = 5.0


@dataclass(frozen=True)
class FirstTable:
    """An instrument table as text.

    Attributes
    ----------
    text : str
        The table, with comments.
    questions : tuple of str
        What is to be checked in it, one line each.
    """

    text: str
    questions: tuple[str, ...]


@dataclass
class _Writer:
    """Collects lines of a table, and questions."""

    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def line(self, text: str, comment: str = "") -> None:
        """Add a line."""
        self.lines.append(f"{text:<34}# {comment}" if comment else text)

    def ask(self, question: str, indent: int = 0) -> None:
        """Add a question as a comment."""
        self.lines.append(f"{' ' * indent}# QUESTION: {question}")
        self.questions.append(question)


def first_table(path: str | os.PathLike[str]) -> FirstTable:
    """Write a first instrument table of a camera.

    Parameters
    ----------
    path : path-like
        A raw frame, best a dark.

    Returns
    -------
    FirstTable
        A table that can be read; with a question for each value that the frame leaves open.

    Raises
    ------
    InputError
        When the frame cannot be read, or holds no image.
    """
    images = read_image_hdus(path)
    if not images:
        raise FrameError(f"{escape(path)}: holds no two-dimensional image, expected NAXIS = 2: give a frame")
    image = max(images, key=lambda one: one.shape[0] * one.shape[1])
    ny, nx = image.shape
    if min(ny, nx) < SMALLEST_SIDE:
        side = SMALLEST_SIDE
        raise FrameError(f"{escape(path)}: {ny} x {nx} pixels, expected {side} x {side} at least: give a frame")
    header = _Header(image.header)
    writer = _Writer()
    program = f", a header of {header.program}" if header.program else ""
    writer.line(f"# Instrument table, written by soxspipe from {escape(os.path.basename(path))}{program}.")
    writer.line(
        "# Answer the questions below, and remove them. The page 'Your own camera' of the docs has all entries."
    )
    writer.line("")
    camera = next((name for name in NAMES_OF_CAMERAS if header.text(name)), None)
    name = re.sub(r"[^A-Za-z0-9]+", "-", header.text(camera) if camera else "").strip("-")[:20].strip("-")
    writer.line(f"instrument: {_quoted(name or 'CAMERA')}", "word in the names of products")
    if camera is None:
        writer.ask("no keyword names the camera: the table is for any frame, or which keyword is it?")
        writer.line("match: any")
    else:
        writer.line("match:", "a frame with this value is one of the camera")
        writer.line(f"  {camera}: {_listed([header.text(camera)])}")
    _write_units_and_keywords(writer, header)
    writer.line("detectors:")
    writer.line(f"  {'CMOS' if header.is_cmos else 'CCD'}:", "the arm: a word in the names of products")
    _write_detector(writer, header, image, len(images))
    return FirstTable("\n".join(writer.lines) + "\n", tuple(writer.questions))


class _Header:
    """Looks up keywords of a header."""

    def __init__(self, header: Any) -> None:
        self.cards: Mapping[str, Any] = header
        self.comments = header.comments
        words = " ".join(self.text(name) for name in ("SWCREATE", "SOFTWARE", "PROGRAM", "CREATOR", *NAMES_OF_CAMERAS))
        self.program = next((name for name in DIALECTS if name.lower() in words.lower()), "")

    def text(self, keyword: str) -> str:
        """Return a value as text; empty where there is none."""
        value = self.cards.get(keyword)
        words = str(value).strip() if isinstance(value, str | int | float) else ""
        return words[:LONGEST_TEXT] if words.isprintable() else ""

    def number(self, keyword: str | None) -> float | None:
        """Return a number of a sound header; None where there is none."""
        value = None if keyword is None else self.cards.get(keyword)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and 0.01 <= value < 1e6 else None  # type: ignore[operator, arg-type]

    def comment(self, keyword: str) -> str:
        """Return the comment of a card."""
        return str(self.comments[keyword]) if keyword in self.cards else ""

    def found(self, meaning: str) -> list[str]:
        """Return the keywords of a meaning that the header has."""
        return [keyword for keyword in CANDIDATES[meaning] if self.text(keyword)]

    def is_date(self, keyword: str) -> bool:
        """Return whether a keyword may have the start of the exposure; DATE has that of the file."""
        usual = keyword != "DATE" and re.fullmatch(r"[A-Z0-9_-]+", keyword) is not None
        return usual and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", self.text(keyword)) is not None

    @property
    def is_cmos(self) -> bool:
        """Whether it is of a CMOS camera: by its maker, its colour filter, or its settings of gain and offset."""
        is_set = bool(self.text("GAIN")) and bool(self.text("OFFSET"))
        return self.program in CMOS_ONLY or bool(self.text("BAYERPAT")) or is_set

    @property
    def binning(self) -> tuple[int, int]:
        """Binning in y and x."""
        factors = [self.number(next(iter(self.found(name)), None)) for name in ("biny", "binx")]
        bin_y, bin_x = (int(factor) if factor and 1 <= factor <= MOST_BINNING else 1 for factor in factors)
        return bin_y, bin_x


def _write_units_and_keywords(writer: _Writer, header: _Header) -> None:
    exptime = header.found("exptime")
    writer.line("units:")
    comment = header.comment(exptime[0]) if exptime else ""
    unit = next((unit for unit, words in _TIME_UNITS.items() if words.search(comment)), "s")
    writer.line(f"  exptime: {unit}")
    temperature = next(iter(header.found("temperature")), None)
    if temperature is not None:
        writer.line(f"  temperature: {_temperature_unit(writer, header, temperature)}", f"of {temperature}")
    writer.line("keywords:")
    _write_type(writer, header)
    if not exptime:
        writer.ask("which keyword has the exposure time? The frame has none of the usual ones", 2)
    writer.line(f"  exptime: {_listed(exptime or ['EXPTIME', 'EXPOSURE'])}")
    dates = header.found("date") or [keyword for keyword in header.cards if header.is_date(keyword)][:1]
    if not dates and not header.text("MJD-OBS") and not header.text("JD"):
        writer.ask("which keyword has the start of the exposure? The frame has none of the usual ones", 2)
    writer.line(f"  date: {_listed(dates or ['DATE-OBS'])}", "start of the exposure, UTC")
    for meaning in ("binx", "biny"):
        writer.line(f"  {meaning}: {_listed(header.found(meaning)[:1])}")
    for meaning, words in (("conad", "electron/ADU"), ("read_noise", "electron; only compared")):
        found = _factor_keywords(header) if meaning == "conad" else header.found(meaning)[:1]
        writer.line(f"  {meaning}: {_listed(found)}", words)


_TIME_UNITS = {
    "ms": re.compile(r"[(\[]\s*(ms|milli\w*)\s*[)\]]|millisec", re.IGNORECASE),
    "us": re.compile(r"[(\[]\s*(us|micro\w*)\s*[)\]]|microsec", re.IGNORECASE),
    "min": re.compile(r"[(\[]\s*min\w*\s*[)\]]|minutes", re.IGNORECASE),
}
_PER_ADU = re.compile(r"e\w*-?\s*(/|per)\s*(adu|dn|a/d|count)", re.IGNORECASE)


def _temperature_unit(writer: _Writer, header: _Header, keyword: str) -> str:
    comment, text = header.comment(keyword), header.text(keyword)
    if re.search(r"celsius|\bdeg(rees)? ?c\b|[(\[]c[)\]]", comment, re.IGNORECASE) or text.startswith("-"):
        return "celsius"
    if re.search(r"kelvin|[(\[]k[)\]]", comment, re.IGNORECASE):
        return "kelvin"
    unit = "kelvin" if (header.number(keyword) or 0.0) > 60 else "celsius"
    writer.ask(f"{keyword} is {text}: is it in {unit}?", 2)
    return unit


def _write_type(writer: _Writer, header: _Header) -> None:
    keyword = next(iter(header.found("type")), None)
    if keyword is None:
        writer.ask("no keyword has the type of the frame: are all frames darks? Then keep defaults: type", 2)
        writer.line("  type: []")
        writer.lines.insert(writer.lines.index("units:"), "defaults: {type: dark}")
        return
    word = header.text(keyword)
    kind = _kind_of(word)
    if kind is None:
        writer.ask(f"{keyword} is '{word}': is this a dark? Then add the word below", 2)
    writer.line("  type:")
    writer.line(f"    keyword: {_listed([keyword])}")
    for name in FRAME_TYPES:
        known = word.casefold() in [one.casefold() for one in WORDS[name]]
        writer.line(f"    {name}: {_listed([*WORDS[name], *([word] if kind == name and not known else [])])}")


def _kind_of(word: str) -> str | None:
    """Return the type of a frame that a word of a camera means; None where it is open, as for a dark of a flat."""
    parts = {
        "dark": "dark", "bias": "bias", "zero": "bias", "flat": "flat", "light": "light", "object": "light",
        "science": "light",
    }  # fmt: skip
    kinds = {kind for part, kind in parts.items() if part in word.casefold()}
    return kinds.pop() if len(kinds) == 1 else None


def _factor_keywords(header: _Header) -> list[str]:
    """Return the keyword of the conversion factor, electron/ADU."""
    found = [keyword for keyword in header.found("conad") if header.number(keyword)][:1]
    return found or (["GAIN"] if header.number("GAIN") and _PER_ADU.search(header.comment("GAIN")) else [])


def _write_detector(writer: _Writer, header: _Header, image: FitsImage, n_images: int) -> None:
    (ny, nx), (bin_y, bin_x) = image.shape, header.binning
    indent = 4
    writer.line(f"    name: {_quoted(header.text('DETECTOR') or header.text('INSTRUME') or 'camera')}")
    if n_images > 1:
        writer.ask(f"the file has {n_images} images: is {image} the one with the pixels?", indent)
        if image.extname:
            writer.line(f"    extension: {_quoted(image.extname)}")
    if (bin_y, bin_x) != (1, 1) or header.number("XORGSUBF") or header.number("YORGSUBF"):
        writer.ask("is raw_shape that of the whole detector, unbinned? The frame is binned, or a part of it", indent)
    writer.line(f"    raw_shape: [{ny * bin_y}, {nx * bin_x}]", "rows, columns of the whole detector, unbinned")
    for keyword in ("BIASSEC", "TRIMSEC"):
        if header.text(keyword):
            writer.ask(
                f"{keyword} is {header.text(keyword)}: give overscan_columns and science, counted from 0", indent
            )
    level = _Level.of(image)
    scale = 65535.0 if level.is_fraction else 1.0
    if level.is_fraction:
        writer.ask("samples are from 0 to 1: is 1 the highest value of 16 bits, 65535?", indent)
        writer.line("    scale: 65535", "ADU of a sample of 1")
    _write_factor(writer, header, level, scale)
    pixel_um = header.number(next(iter(header.found("pixel_size")), None))
    if pixel_um is None:
        writer.ask("side of a pixel in micrometre?", indent)
    writer.line(
        f"    pixel_size: {round((pixel_um or USUAL_PIXEL_UM) / (bin_x if pixel_um else 1), 4):g}", "micrometre"
    )
    step = max(1, round(level.step * scale))
    if image.bitpix in (16, -32, -64):
        writer.line(f"    saturation: {65535 // step * step}", "ADU of a saturated sample")
    temperature = next(iter(header.found("temperature")), None)
    if temperature is not None:
        writer.line(f"    temperature: {temperature}")


def _write_factor(writer: _Writer, header: _Header, level: _Level, scale: float) -> None:
    """Write the conversion factor; of a camera that writes few bits as 16, per count or per ADU."""
    keyword = next(iter(_factor_keywords(header)), None)
    factor, noise_adu, step = header.number(keyword), level.noise * scale, max(1, round(level.step * scale))
    if keyword is None or factor is None:
        gain = header.text("GAIN")
        if gain and DIALECTS.get(header.program) != "setting":
            writer.ask(f"GAIN is {gain}: is it in electron/ADU? Then it is conad", 4)
        else:
            writer.ask("conversion factor in electron/ADU? With 1.0 all values are in ADU", 4)
        writer.line("    conad: 1.0", "electron/ADU")
        return
    per_count = step > 1 and noise_adu * factor > MOST_NOISE_E
    if step > 1:
        writer.ask(
            f"samples are multiples of {step}: few bits are written as 16. Is {keyword} electron per count of the "
            f"converter (adu_per_count: {step})? Then the noise of this frame is {noise_adu * factor / step:.2g} "
            f"electron, else {noise_adu * factor:.3g}: compare with the read noise of the data sheet",
            4,
        )
    if per_count:
        writer.line(f"    adu_per_count: {step}", f"{keyword} is per count; 1 where it is per ADU")
    writer.line(f"    conad: {factor / (step if per_count else 1):.6g}", f"electron/ADU, from {keyword}")
    writer.line("    conad_from_header: true")


@dataclass(frozen=True)
class _Level:
    """What the samples of a frame look like: their step and noise, and whether all are from 0 to 1."""

    step: float
    noise: float
    is_fraction: bool

    @classmethod
    def of(cls, image: FitsImage) -> _Level:
        ny = image.shape[0]
        start = max(0, (ny - MOST_ROWS) // 2)
        with PixelReader([image]) as reader:
            rows = reader.read_rows(0, start, min(ny, start + MOST_ROWS)).astype(float)
        values = rows[np.abs(rows) < 2**31]
        if values.size < 2:
            return cls(1.0, 0.0, False)
        is_fraction = image.bitpix < 0 and bool(values.min() >= 0 and values.max() <= 1)
        scaled = values * 65535.0 if is_fraction else values
        whole = bool(np.abs(scaled - np.rint(scaled)).max() < 0.01)
        gaps = np.diff(np.unique(np.rint(scaled).astype(np.int64)))
        step = float(np.gcd.reduce(gaps)) if whole and gaps.size else 0.0
        differences = rows[:, 2:] - rows[:, :-2]  # of pixels of one colour
        low, high = np.nanpercentile(differences, [15.87, 84.13])
        return cls(step / 65535.0 if is_fraction else step, float(high - low) / 2 / np.sqrt(2.0), is_fraction)


#: Words that YAML reads as they are: letters of the alphabet first, and no word for true, false or nothing.
_PLAIN = re.compile(r"(?!(on|off|yes|no|y|n|true|false|null)$)[a-z][a-z0-9_-]*", re.IGNORECASE | re.ASCII)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _listed(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"
