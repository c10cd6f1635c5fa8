"""Headers of FITS files: read with a limit, odd cards repaired, numbers checked before they are used.

astropy warns of odd cards, and warnings can be silenced only for a whole process. So each card is brought into a form
that astropy reads without a warning before it sees the header.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ..exceptions import FrameError
from ..text import escape
from .streams import Stream, truncated

__all__ = ["image_layout", "merge_headers", "parse", "read_header", "require_count", "scaling", "split_cards"]

BLOCK, CARD = 2880, 80
#: More header than this in one file is refused; a raw frame has 30 kB.
HEADER_LIMIT = 4 * 2**20
#: Most odd or continued cards of one header; astropy needs up to a millisecond for each.
ODD_LIMIT = 2000
#: Types of stored samples by BITPIX.
STORED: dict[int, np.dtype[Any]] = {
    bitpix: np.dtype(code)
    for bitpix, code in {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}.items()
}
_MOST_AXES = 9

_ASCII = bytes(code if 32 <= code < 127 else ord("?") for code in range(256))
_TEXT = r"'(?P<text>(?:[^']|'')*)'"
#: An exponent of three digits is no measurement, and may be infinite: such a value is a text, and no number anywhere.
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[DE][+-]?0*[0-9]{1,2})?"
#: Cards that astropy reads without a warning.
_PLAIN_CARD = re.compile(
    r"(?:COMMENT |HISTORY | {8}).{72}"
    r"|(?!CONTINUE)(?:(?=[A-Z0-9_-]+ *=)[A-Z0-9_ -]{8}= |HIERARCH (?= *[A-Z0-9_-])[A-Z0-9_ -]+=)"
    rf" *(?:{_TEXT}|{_NUMBER}|[TF])? *(?:/.*)?"
)
_CONTINUATION = re.compile(rf"CONTINUE  {_TEXT} *(?:/.*)?")
_ASSIGNMENT = re.compile(r" *(?P<hierarch>HIERARCH )?(?P<keyword>[A-Z0-9_ -]+)=(?P<rest>.*)", re.IGNORECASE)
#: A card with those that continue it.
_WHOLE_CARD = re.compile(r".{80}(?:CONTINUE.{72})*")

#: Keywords of a tile-compressed image that describe the table, not the image.
_TABLE_KEYWORD = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|T(?:FIELDS|HEAP)|T(?:TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+"
    r"|CHECKSUM|DATASUM|Z(?:IMAGE|SIMPLE|TENSION|EXTEND|BLOCKED|[PG]COUNT|HECKSUM|CMPTYPE|QUANTIZ|DITHER0|MASKCMP)"
    r"|ZBLANK|Z(?:NAME|VAL|TILE)\d+"
)
_IMAGE_KEYWORD = re.compile(r"Z(BITPIX|NAXIS\d*|DATASUM)")
_DEFAULT_NAME = re.compile(r"EXTNAME = *'COMPRESSED_IMAGE *'.*")
_PRIMARY_KEYWORD = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|EXTNAME|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|COMMENT|HISTORY|"
)


@functools.lru_cache(maxsize=32)
def parse(cards: str) -> fits.Header:
    """Parse the text of a header; the result is shared by all callers and must not be changed."""
    return fits.Header.fromstring(cards)


def split_cards(cards: str) -> Iterator[tuple[str, str]]:
    """Yield keyword and text of each card, together with the cards that continue it."""
    for card in _WHOLE_CARD.findall(cards):
        is_hierarch = card.startswith("HIERARCH ")
        yield card[9:].partition("=")[0].strip() if is_hierarch else card[:8].rstrip(), card


def _repair(card: str) -> str:
    """Return an odd card as a plain one: its value as a number or text, else the card as comments."""
    if match := _ASSIGNMENT.fullmatch(card):
        keyword = " ".join(match["keyword"].upper().split())
        value, rest = match["rest"].partition("/")[0].strip().upper(), match["rest"].strip()
        if not re.fullmatch(_NUMBER, value):
            quoted = re.match(r"'((?:[^']|'')*)", rest)
            text = quoted[1] if quoted else rest.replace("'", "''")
            value = f"'{text}'"
        name = f"HIERARCH {keyword} " if match["hierarch"] or len(keyword) > 8 else f"{keyword:8}"
        repaired = f"{f'{name}= {value}':80}"
        is_card = len(repaired) == CARD and keyword not in ("CONTINUE", "COMMENT", "HISTORY", "HIERARCH")
        if is_card and _PLAIN_CARD.fullmatch(repaired):
            return repaired
    text = card.rstrip()
    return "".join(f"COMMENT {text[start : start + 72]:72}" for start in range(0, len(text), 72))


def _clean(block: bytes, path: Path) -> str:
    """Return the text of a header with plain cards only."""
    text = block.translate(_ASCII).decode("ascii")
    cards, odd, is_continued = [], 0, False
    for start in range(0, len(text), CARD):
        card = text[start : start + CARD]
        match = _PLAIN_CARD.fullmatch(card)
        odd += match is None
        if match is None and is_continued:
            match = _CONTINUATION.fullmatch(card)
        is_continued = match is not None and (match["text"] or "").rstrip().endswith("&")
        cards.append(card if match else _repair(card))
    if odd > ODD_LIMIT:
        raise FrameError(
            f"{escape(path)}: {odd} odd or continued cards in its header, expected at most {ODD_LIMIT}: leave it out"
        )
    return "".join(cards)


def read_header(stream: Stream, first: bool, budget: int) -> tuple[str, int] | None:
    """Read the next header of a file.

    Parameters
    ----------
    stream : Stream
        The file, at the start of an HDU.
    first : bool
        Whether it is the header of the primary HDU.
    budget : int
        Bytes of header that may still be read from this file.

    Returns
    -------
    tuple of (str, int) or None
        Text of its cards and its length in the file; None where no HDU starts here.

    Raises
    ------
    FrameError
        When the header has no end, or one beyond the budget.
    """
    start_of_header = b"SIMPLE  =" if first else b"XTENSION="
    blocks: list[bytes] = []
    while True:
        block = stream.read(BLOCK)
        if not blocks and not block.startswith(start_of_header):
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


def _damaged(path: Path, keyword: str, value: Any, expected: str) -> FrameError:
    found = "missing" if value is None else f"'{escape(value)}'"
    return FrameError(f"{escape(path)}: {keyword} is {found}, expected {expected}: damaged, fetch it again")


def require_count(header: fits.Header, keyword: str, path: Path, default: int | None = None) -> int:
    """Return a header's value that must be a whole number, not negative; raises FrameError."""
    value = header.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _damaged(path, keyword, value, "a whole number")
    return value


def image_layout(header: fits.Header, path: Path, prefix: str = "") -> tuple[int, list[int]]:
    """Return type and axes of the samples of an HDU.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the HDU.
    path : pathlib.Path
        Its file, for messages.
    prefix : str
        ``'Z'`` for the image in a table of compressed tiles.

    Returns
    -------
    bitpix : int
        Type of a sample.
    axes : list of int
        Lengths of the axes, the fastest first. They may be absurd: compare them with the size of the file.

    Raises
    ------
    FrameError
        When a keyword is missing or impossible.
    """
    bitpix = header.get(f"{prefix}BITPIX")
    if isinstance(bitpix, (bool, float)) or bitpix not in STORED:
        raise _damaged(path, f"{prefix}BITPIX", bitpix, f"one of {', '.join(map(str, STORED))}")
    count = require_count(header, f"{prefix}NAXIS", path)
    if count > _MOST_AXES:
        raise FrameError(f"{escape(path)}: {prefix}NAXIS is {count}, expected 2: not a frame, leave it out")
    return bitpix, [require_count(header, f"{prefix}NAXIS{axis}", path) for axis in range(1, count + 1)]


def scaling(header: fits.Header, path: Path) -> tuple[float, float]:
    """Return BSCALE and BZERO; raises FrameError where they are not numbers, or BSCALE is not above zero."""
    values = []
    for keyword, default in (("BSCALE", 1.0), ("BZERO", 0.0)):
        value: Any = header.get(keyword)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise _damaged(path, keyword, value, "a number")
        if keyword == "BSCALE" and value <= 0:
            raise _damaged(path, keyword, value, "a number above zero")
        values.append(float(value))
    return values[0], values[1]


def merge_headers(cards: str, primary: str | None, tiles: bool) -> str:
    """Return the header of an image, which a file may have in two HDUs.

    Parameters
    ----------
    cards : str
        Text of the header of the HDU.
    primary : str or None
        Text of the header of a primary HDU whose keywords hold for the image too.
    tiles : bool
        Whether the HDU is a table of compressed tiles: then the keywords of the table are left out, and those of the
        image get their names back.

    Returns
    -------
    str
        Text of the cards.
    """
    merged = [f"{'SIMPLE  =':10}{'T':>20}{'':50}"] if tiles else []
    known = set()
    for keyword, card in split_cards(cards):
        if tiles and (renamed := _IMAGE_KEYWORD.fullmatch(keyword)):
            keyword, card = renamed[1], f"{renamed[1]:8}{card[8:]}"
        elif tiles and (_TABLE_KEYWORD.fullmatch(keyword) or _DEFAULT_NAME.fullmatch(card)):
            continue
        merged.append(card)
        known.add(keyword)
    for keyword, card in split_cards(primary or ""):
        if keyword not in known and not _PRIMARY_KEYWORD.fullmatch(keyword):
            merged.append(card)
    return "".join(merged)
