"""A first instrument table from the header and pixels of one frame, with questions where they leave something open."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import FrameError
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader
from ..templates import fill
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
#: Parts of a word for the type of a frame, and what it means.
PARTS_OF_WORDS = {
    "dark": "dark", "bias": "bias", "zero": "bias", "flat": "flat", "light": "light", "object": "light",
    "science": "light",
}  # fmt: skip
_TIME_UNITS = {
    "ms": re.compile(r"[(\[]\s*(ms|milli\w*)\s*[)\]]|millisec", re.IGNORECASE),
    "us": re.compile(r"[(\[]\s*(us|micro\w*)\s*[)\]]|microsec", re.IGNORECASE),
    "min": re.compile(r"[(\[]\s*min\w*\s*[)\]]|minutes", re.IGNORECASE),
}
_PER_ADU = re.compile(r"e\w*-?\s*(/|per)\s*(adu|dn|a/d|count)", re.IGNORECASE)
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
    facts = {
        "file_name": escape(os.path.basename(path)),
        "header": _Header(image.header),
        "image": image,
        "n_images": len(images),
        "level": _Level.of(image),
        "frame_types": FRAME_TYPES,
        "most_noise_e": MOST_NOISE_E,
        "usual_pixel_um": USUAL_PIXEL_UM,
    }
    text = fill(Path(__file__).with_name("first_table.yaml.jinja"), facts, quoted=_quoted, listed=_listed)
    return FirstTable(text, tuple(re.findall("^ *# QUESTION: (.*)$", text, re.MULTILINE)))


class _Header:
    """Looks up keywords of a header."""

    def __init__(self, header: Any) -> None:
        self.cards: Mapping[str, Any] = header
        self.comments = header.comments
        self.camera = next((name for name in NAMES_OF_CAMERAS if self.text(name)), "")
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

    def first(self, meaning: str) -> str:
        """Return the best keyword of a meaning that the header has; empty where it has none."""
        return next(iter(self.found(meaning)), "")

    @property
    def camera_name(self) -> str:
        """Its camera, as it may stand in the name of a file."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.text(self.camera)).strip("-")[:20].strip("-")

    @property
    def dates(self) -> list[str]:
        """Keywords that may have the start of the exposure; DATE has that of the file."""
        usual = (keyword for keyword in self.cards if keyword != "DATE" and re.fullmatch(r"[A-Z0-9_-]+", keyword))
        others = (keyword for keyword in usual if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", self.text(keyword)))
        return self.found("date") or list(others)[:1]

    @property
    def time_unit(self) -> str:
        """Unit of the exposure time, from its comment."""
        comment = self.comment(self.first("exptime"))
        return next((unit for unit, words in _TIME_UNITS.items() if words.search(comment)), "s")

    def temperature_unit(self, keyword: str) -> tuple[str, bool]:
        """Return the unit of a temperature, and whether it is a guess."""
        comment, text = self.comment(keyword), self.text(keyword)
        if re.search(r"celsius|\bdeg(rees)? ?c\b|[(\[]c[)\]]", comment, re.IGNORECASE) or text.startswith("-"):
            return "celsius", False
        if re.search(r"kelvin|[(\[]k[)\]]", comment, re.IGNORECASE):
            return "kelvin", False
        return "kelvin" if (self.number(keyword) or 0.0) > 60 else "celsius", True

    @property
    def kind(self) -> str:
        """Type of the frame that its word means; empty where that is open, as for a dark of a flat."""
        word = self.text(self.first("type")).casefold()
        kinds = {kind for part, kind in PARTS_OF_WORDS.items() if part in word}
        return kinds.pop() if len(kinds) == 1 else ""

    def words_for(self, name: str) -> list[str]:
        """Return words for a type of frames; that of this frame is one of them."""
        word = self.text(self.first("type"))
        known = word.casefold() in [one.casefold() for one in WORDS[name]]
        return [*WORDS[name], *([word] if self.kind == name and not known else [])]

    @property
    def factor_keywords(self) -> list[str]:
        """Keyword of the conversion factor, electron/ADU."""
        found = [keyword for keyword in self.found("conad") if self.number(keyword)][:1]
        return found or (["GAIN"] if self.number("GAIN") and _PER_ADU.search(self.comment("GAIN")) else [])

    @property
    def factor(self) -> float | None:
        """Conversion factor, electron/ADU or electron per count."""
        return self.number(next(iter(self.factor_keywords), None))

    @property
    def gain_is_setting(self) -> bool:
        """Whether GAIN is a setting of the camera, and no conversion factor."""
        return DIALECTS.get(self.program) == "setting"

    @property
    def is_cmos(self) -> bool:
        """Whether it is of a CMOS camera: by its maker, its colour filter, or its settings of gain and offset."""
        is_set = bool(self.text("GAIN")) and bool(self.text("OFFSET"))
        return self.program in CMOS_ONLY or bool(self.text("BAYERPAT")) or is_set

    @property
    def binning(self) -> tuple[int, int]:
        """Binning in y and x."""
        factors = [self.number(self.first(name)) for name in ("biny", "binx")]
        bin_y, bin_x = (int(factor) if factor and 1 <= factor <= MOST_BINNING else 1 for factor in factors)
        return bin_y, bin_x


@dataclass(frozen=True)
class _Level:
    """Step and noise of the samples of a frame, ADU, and whether all are written as 0 to 1."""

    step: int
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
            return cls(1, 0.0, False)
        is_fraction = image.bitpix < 0 and bool(values.min() >= 0 and values.max() <= 1)
        scale = 65535.0 if is_fraction else 1.0
        whole = bool(np.abs(scale * values - np.rint(scale * values)).max() < 0.01)
        gaps = np.diff(np.unique(np.rint(scale * values).astype(np.int64)))
        differences = rows[:, 2:] - rows[:, :-2]  # of pixels of one colour
        low, high = scale * np.nanpercentile(differences, [15.87, 84.13])
        return cls(int(np.gcd.reduce(gaps)) if whole and gaps.size else 1, (high - low) / 2 / np.sqrt(2.0), is_fraction)


#: Words that YAML reads as they are: letters of the alphabet first, and no word for true, false or nothing.
_PLAIN = re.compile(r"(?!(on|off|yes|no|y|n|true|false|null)$)[a-z][a-z0-9_-]*", re.IGNORECASE | re.ASCII)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _listed(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"
