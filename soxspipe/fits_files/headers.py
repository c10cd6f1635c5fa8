"""Headers of FITS units: read with a limit, mended where they are odd, checked before they are believed."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import threading
import warnings
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ..exceptions import FrameError
from ..text import escape
from .streams import Stream, truncated

__all__ = [
    "BLOCK",
    "HEADER_LIMIT",
    "STORED",
    "image_layout",
    "merge_headers",
    "parse",
    "read_header",
    "require_count",
    "scaling",
    "suppress_fits_warnings",
]

BLOCK, CARD = 2880, 80
#: More header than this in one file is refused; a raw frame has 30 kB.
HEADER_LIMIT = 4 * 2**20
#: Cards of one header that may be odd or continued; each costs up to a millisecond.
ODD_LIMIT = 2000
#: Samples as FITS stores them, by BITPIX.
STORED: dict[int, np.dtype[Any]] = {
    8: np.dtype("u1"),
    16: np.dtype(">i2"),
    32: np.dtype(">i4"),
    64: np.dtype(">i8"),
    -32: np.dtype(">f4"),
    -64: np.dtype(">f8"),
}
_MOST_AXES = 9

_ASCII = bytes(code if 32 <= code < 127 else ord("?") for code in range(256))
#: Cards that astropy reads without a word; others are looked at one by one.
_PLAIN_CARD = re.compile(
    r"(?:COMMENT |HISTORY | {8}).{72}"
    r"|(?!CONTINUE)(?:(?=[A-Z0-9_-]+ *=)[A-Z0-9_ -]{8}= |HIERARCH (?= *[A-Z0-9_-])[A-Z0-9_ -]+=)"
    r" *(?:'(?:[^']|'')*'|[+-]?[0-9]+(?:\.[0-9]*)?(?:E[+-]?[0-9]+)?|[TF])? *(?:/.*)?"
)
#: Keywords of a tile-compressed image that tell of the table which holds it.
_TABLE_KEYWORD = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|T(?:FIELDS|HEAP)|T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+"
    r"|CHECKSUM|DATASUM|Z(?:IMAGE|SIMPLE|TENSION|EXTEND|BLOCKED|[PG]COUNT|HECKSUM|CMPTYPE|QUANTIZ|DITHER0|MASKCMP)"
    r"|ZBLANK|Z(?:NAME|VAL|TILE)\d+"
)
_IMAGE_KEYWORD = re.compile(r"Z(BITPIX|NAXIS\d*|DATASUM)")
_PRIMARY_KEYWORD = re.compile(r"SIMPLE|BITPIX|NAXIS|EXTEND|EXTNAME|CHECKSUM|DATASUM|COMMENT|HISTORY|")

#: What astropy raises at a card that is none.
_ODD = (fits.VerifyError, ValueError, TypeError, AttributeError, IndexError)

# catching warnings changes the whole process: one thread at a time
_quiet_lock = threading.RLock()


@contextlib.contextmanager
def suppress_fits_warnings() -> Iterator[None]:
    """Keep what astropy has to say of odd headers and files from the user; they were checked here."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.lru_cache(maxsize=32)
def parse(cards: str) -> fits.Header:
    """Parse the text of a header; the result is shared by all callers and must not be changed."""
    with suppress_fits_warnings():
        return fits.Header.fromstring(cards)


def _mended(image: str) -> str:
    """Turn an odd card into what astropy reads in silence: as it repairs it, else a text, else a comment."""
    with contextlib.suppress(*_ODD):
        card = fits.Card.fromstring(image)
        if "=" in image and card.keyword not in ("COMMENT", "HISTORY", ""):
            value = " ".join(image[8:].split("=", 1)[-1].split())
            for repair in (lambda: card.image, lambda: fits.Card(card.keyword, value).image):
                with contextlib.suppress(*_ODD):
                    if _reads_silently(repaired := str(repair())):
                        return repaired
    text = image.rstrip()
    return "".join(f"COMMENT {text[start : start + 72]:72}" for start in range(0, len(text), 72))


def _reads_silently(image: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            card = fits.Card.fromstring(image)
            # a keyword with a star or a question mark would be a search when it is looked up
            usual = re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9_ +/.-]+", card.keyword) is not None
            return usual and (card.value, card.comment) is not None and str(copy.copy(card)) == image
        except (Warning, *_ODD):
            return False


def _clean(block: bytes, path: Path) -> str:
    """Header text in which astropy finds nothing to complain about."""
    text = block.translate(_ASCII).decode("ascii")
    images = [text[start : start + CARD] for start in range(0, len(text), CARD)]
    odd = sum(not _PLAIN_CARD.fullmatch(image) for image in images)
    if not odd:
        return text
    if odd > ODD_LIMIT:
        raise FrameError(
            f"{escape(path)}: {odd} odd or continued cards in its header, expected at most {ODD_LIMIT}: leave it out"
        )
    cards: list[str] = []
    for image in images:
        if image.startswith("CONTINUE") and cards:
            cards[-1] += image
        else:
            cards.append(image)
    with suppress_fits_warnings():
        return "".join(card if _PLAIN_CARD.fullmatch(card) else _mended(card) for card in cards)


def read_header(stream: Stream, first: bool, budget: int) -> tuple[str, int] | None:
    """Read the next header of a file.

    Parameters
    ----------
    stream : Stream
        The file, at the begin of a unit.
    first : bool
        Whether it is the primary's header.
    budget : int
        Bytes of header that may still be read from this file.

    Returns
    -------
    tuple of (str, int) or None
        Text of its cards and its length in the file; None where no unit begins here.

    Raises
    ------
    FrameError
        When the header has no end, or one beyond the budget.
    """
    begin = b"SIMPLE  =" if first else b"XTENSION="
    blocks: list[bytes] = []
    while True:
        block = stream.read(BLOCK)
        if not blocks and not block.startswith(begin):
            return None
        length = BLOCK * (len(blocks) + 1)
        if length > budget:
            raise FrameError(
                f"{escape(stream.path)}: more than {HEADER_LIMIT} bytes of header, or a header without END, "
                "expected a raw frame or product: leave it out"
            )
        for start in range(0, len(block), CARD):
            if block.startswith(b"END     ", start):
                if len(block) < BLOCK:
                    raise truncated(stream.path, length, length - BLOCK + len(block))
                return _clean(b"".join(blocks) + block[:start], stream.path), length
        if len(block) < BLOCK:
            raise FrameError(
                f"{escape(stream.path)}: truncated: the file ends inside a header, whose END is missing: fetch it again"
            )
        blocks.append(block)


def require_count(header: fits.Header, keyword: str, path: Path, default: int | None = None) -> int:
    """Look up a number that must be whole and not negative; raises FrameError."""
    value = header.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        found = "missing" if value is None else f"'{escape(value)}'"
        raise FrameError(f"{escape(path)}: {keyword} is {found}, expected a whole number: damaged, fetch it again")
    return value


def image_layout(header: fits.Header, path: Path, prefix: str = "") -> tuple[int, list[int]]:
    """Look up how the samples of a unit are laid out.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the unit.
    path : pathlib.Path
        Its file, for messages.
    prefix : str
        ``'Z'`` for the image that a table holds in compressed tiles.

    Returns
    -------
    bitpix : int
        Type of a sample.
    axes : list of int
        Lengths of the axes, the fastest first. They may be absurd: compare them with the file's size.

    Raises
    ------
    FrameError
        When a keyword is missing or impossible.
    """
    bitpix = header.get(f"{prefix}BITPIX")
    if isinstance(bitpix, (bool, float)) or bitpix not in STORED:
        found = "missing" if bitpix is None else f"'{escape(bitpix)}'"
        raise FrameError(
            f"{escape(path)}: {prefix}BITPIX is {found}, expected one of "
            f"{', '.join(map(str, STORED))}: damaged, fetch it again"
        )
    count = require_count(header, f"{prefix}NAXIS", path)
    if count > _MOST_AXES:
        raise FrameError(f"{escape(path)}: {prefix}NAXIS is {count}, expected 2: not a frame, leave it out")
    return bitpix, [require_count(header, f"{prefix}NAXIS{axis}", path) for axis in range(1, count + 1)]


def scaling(header: fits.Header, path: Path) -> tuple[float, float]:
    """Look up BSCALE and BZERO; raises FrameError where they are no numbers."""
    values = []
    for keyword, default in (("BSCALE", 1.0), ("BZERO", 0.0)):
        value: Any = header.get(keyword)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise FrameError(
                f"{escape(path)}: {keyword} is '{escape(value)}', expected a number: damaged, fetch it again"
            )
        values.append(float(value))
    return values[0], values[1]


def merge_headers(header: fits.Header, primary: fits.Header | None, tiles: bool) -> str:
    """Make the text of an image's header from what its file scatters over two.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the unit.
    primary : astropy.io.fits.Header or None
        Header of a primary unit without pixels, whose keywords hold for the image too.
    tiles : bool
        Whether the unit is a table that holds the image in compressed tiles: then the table's own keywords are
        left out and those of the image get their names back.

    Returns
    -------
    str
        Text of the cards.
    """
    with suppress_fits_warnings():
        image = fits.Header([("SIMPLE", True)]) if tiles else header.copy()
        for card in header.cards if tiles else ():
            if renamed := _IMAGE_KEYWORD.fullmatch(card.keyword):
                image.append((renamed[1], card.value, card.comment), end=True)
            elif not _TABLE_KEYWORD.fullmatch(card.keyword) and card.value != "COMPRESSED_IMAGE":
                image.append(card, end=True)
        known = set(image)
        for card in primary.cards if primary is not None else ():
            if card.keyword not in known and not _PRIMARY_KEYWORD.fullmatch(card.keyword):
                image.append(card, end=True)
        return str(image.tostring(endcard=False, padding=False))
