"""Names, ESO headers and planes of products."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..quality.table import QCValue
from ..version import __version__
from .provenance import Provenance

__all__ = [
    "ProductFile",
    "add_qc",
    "big_endian_pixels",
    "card_text",
    "data_md5",
    "image_hdu",
    "product_header",
    "product_stem",
    "set_card",
]

PIPELINE = f"soxspipe/{__version__}"
#: Keywords of the first input frame that a product keeps.
KEPT = re.compile(
    r"(ORIGIN|TELESCOP|INSTRUME|OBJECT|OBSERVER|PI-COI|RA|DEC|EQUINOX|RADESYS|LST|UTC|DATE-OBS|MJD-OBS|ARCFILE|"
    r"ESO (OBS|TPL|SEQ|GEN|ADA|(TEL|INS|DET)[0-9]?) .*)"
)
#: What the planes of a product are in ESO's dictionary: HDUCLAS2, HDUCLAS3.
CLASSES = {"FLUX": ("DATA", ""), "QUAL": ("QUALITY", "FLAG32BIT"), "ERRS": ("ERROR", "RMSE")}
#: No word of a file name is longer, whatever a header says.
LONGEST_WORD = 40
#: Longest card that fits one record.
CARD = 80
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def product_stem(origin: Provenance, kind: str) -> str:
    """Return the name, without ending, that the products of a set share.

    Parameters
    ----------
    origin : Provenance
        What the product is made from.
    kind : str
        What the product is, e.g. ``'MDARK'``.

    Returns
    -------
    str
        ``<UTC of first input>_<ARM>_<mode>_<kind>_<EXPTIME>S_<INSTRUME>``, without EXPTIME where it differs or is 0.
    """
    utc = MJD_EPOCH + timedelta(days=origin.begin_mjd)
    utc = (utc + timedelta(milliseconds=500)).replace(microsecond=0)
    mode = origin.read_mode or "X"
    if origin.detector.mode == "binning":
        mode = f"{origin.binning[1]}x{origin.binning[0]}"
    exposure = [] if not origin.exptime_s else [f"{_seconds(origin.exptime_s).replace('.', '_')}S"]
    words = [f"{utc:%Y%m%dT%H%M%S}", origin.arm, mode, kind, *exposure, origin.instrument.name]
    return "_".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:LONGEST_WORD] for word in words)


def _seconds(exptime_s: float) -> str:
    """Write an exposure time with one decimal, with more only where that would change it."""
    seconds = f"{exptime_s:.1f}"
    return seconds if abs(float(seconds) - exptime_s) <= 1e-6 else f"{exptime_s:.6f}".rstrip("0")


def card_text(text: str) -> str:
    """Return a text as it stands in a header: percent-encoded where it is not ASCII."""
    return urllib.parse.quote(text, safe="".join(chr(c) for c in range(32, 127)))


def set_card(header: fits.Header, keyword: str, value: Any, comment: str = "") -> None:
    """Set a card so that it is legal whatever the value: ASCII, and a comment that fits.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Where to set it.
    keyword : str
        ``'ESO ...'`` becomes a HIERARCH card.
    value : str, int, float or bool
        Characters that are not ASCII are percent-encoded.
    comment : str
        Cut where it does not fit.
    """
    if isinstance(value, str):
        value = card_text(value)
    elif isinstance(value, np.generic):
        value = value.item()
    name = f"HIERARCH {keyword}" if keyword.startswith("ESO ") else keyword
    card = fits.Card(name, value)
    used = len(str(card).rstrip())
    if used > CARD:
        set_card(header, "LONGSTRN", "OGIP 1.0", "The OGIP long string convention may be used")
    comment = comment[: max(0, CARD - used - 3)]
    if name in header:
        header[name] = (value, comment)
    else:  # elsewhere than at the very end, each card would take time for all that are there
        header.append((name, value, comment), end=True)


def product_header(
    origin: Provenance,
    recipe: str,
    category: str,
    parameters: Mapping[str, tuple[Any, Any]],
) -> fits.Header:
    """Make the primary header of a product.

    Parameters
    ----------
    origin : Provenance
        What the product was made from.
    recipe : str
        Name of the recipe.
    category : str
        ``ESO PRO CATG`` of the product.
    parameters : mapping of str to (value, default)
        Parameters of the recipe.

    Returns
    -------
    astropy.io.fits.Header
    """
    header = fits.Header()
    keywords = origin.instrument.keywords
    # where the inputs differ in their exposure, that of the first says nothing of the product
    of_one = () if origin.exptime_s is not None else keywords["exptime"] + keywords["dit"] + keywords["ndit"]
    for card in origin.header.cards:
        if not KEPT.fullmatch(card.keyword) or isinstance(card.value, fits.card.Undefined) or card.keyword in of_one:
            continue
        if isinstance(card.value, float) and not math.isfinite(card.value):  # FITS has no number for it
            continue
        set_card(header, card.keyword, card.value, _ascii(card.comment))
    if origin.exptime_s is not None:
        set_card(header, "EXPTIME", origin.exptime_s, "[s] exposure time of each raw frame")
    set_card(header, "MJD-OBS", origin.begin_mjd, "start of the first frame")
    if "DATE-OBS" not in header:
        set_card(header, "DATE-OBS", _iso(origin.begin_mjd), "start of the first frame")
    set_card(header, "MJD-END", origin.end_mjd, "end of the last frame")
    set_card(header, "DATE-END", _iso(origin.end_mjd), "end of the last frame")
    set_card(header, "DATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] when this file was written")
    set_card(header, "ESO PRO CATG", category, "category of this product")
    set_card(header, "ESO PRO TYPE", "REDUCED", "product type")
    set_card(header, "ESO PRO TECH", origin.technique, "technique")
    set_card(header, "ESO PRO SCIENCE", False, "scientific product if T")
    set_card(header, "ESO PRO DID", "PRO-1.16", "data dictionary for PRO")
    set_card(header, "ESO PRO ANCESTOR", origin.ancestor, "first raw frame")
    set_card(header, "ESO PRO DATANCOM", len(origin.names), "number of frames combined")
    set_card(header, "ESO PRO REC1 ID", recipe, "recipe")
    set_card(header, "ESO PRO REC1 DRS ID", PIPELINE, "data reduction system")
    set_card(header, "ESO PRO REC1 PIPE ID", PIPELINE, "pipeline")
    for i, name in enumerate(origin.names, 1):
        set_card(header, f"ESO PRO REC1 RAW{i} NAME", name, "file name of input frame")
        set_card(header, f"ESO PRO REC1 RAW{i} CATG", origin.category, "category of input frame")
        if origin.datasums:
            set_card(header, f"ESO PRO REC1 RAW{i} DATASUM", origin.datasums[i - 1], "sum of its data")
    for i, file in enumerate(origin.calibrations, 1):
        set_card(header, f"ESO PRO REC1 CAL{i} NAME", file.name, "file name of calibration frame")
        set_card(header, f"ESO PRO REC1 CAL{i} CATG", file.category, "category of calibration frame")
        set_card(header, f"ESO PRO REC1 CAL{i} DATAMD5", file.datamd5, "MD5 of its data")
    for i, (name, (value, default)) in enumerate(parameters.items(), 1):
        set_card(header, f"ESO PRO REC1 PARAM{i} NAME", name, "parameter")
        set_card(header, f"ESO PRO REC1 PARAM{i} VALUE", _words(value), f"Default: {_words(default)}")
    return header


def add_qc(header: fits.Header, quality: Iterable[QCValue]) -> None:
    """Write QC values as ``ESO QC`` keywords; what was not measured is left out."""
    for qc in quality:
        if qc.value is not None:
            set_card(
                header,
                f"ESO QC {qc.name}",
                qc.value,
                f"[{qc.unit}] {qc.description}" if qc.unit else qc.description,
            )


def _words(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _ascii(text: str) -> str:
    return "".join(character for character in text if 32 <= ord(character) < 127)


def _iso(mjd: float) -> str:
    return (MJD_EPOCH + timedelta(days=mjd)).isoformat(timespec="milliseconds").removesuffix("+00:00")


def image_hdu(name: str, data: np.ndarray[Any, Any], unit: str = "") -> fits.PrimaryHDU | fits.ImageHDU:
    """Make one plane of a product, with the keywords that say what it is.

    Parameters
    ----------
    name : str
        Its EXTNAME. FLUX becomes the primary HDU; FLUX, QUAL and ERRS name each other as ESO's dictionary has it.
    data : ndarray, shape (ny, nx)
        Its pixels.
    unit : str
        Their unit; empty for pure numbers.

    Returns
    -------
    astropy.io.fits.PrimaryHDU or ImageHDU
    """
    hdu = fits.PrimaryHDU(data) if name == "FLUX" else fits.ImageHDU(data)
    set_card(hdu.header, "EXTNAME", name)
    if unit:
        set_card(hdu.header, "BUNIT", unit, "unit of the pixels")
    if name in CLASSES:
        class2, class3 = CLASSES[name]
        set_card(hdu.header, "HDUCLASS", "ESO", "class name (ESO format)")
        set_card(hdu.header, "HDUDOC", "DICD", "document with the class description")
        set_card(hdu.header, "HDUVERS", "DICD version 6", "version of that document")
        set_card(hdu.header, "HDUCLAS1", "IMAGE", "image data format")
        set_card(hdu.header, "HDUCLAS2", class2, "what this extension is")
        if class3:
            set_card(hdu.header, "HDUCLAS3", class3, "how it is to be read")
        for keyword, other in (("SCIDATA", "FLUX"), ("ERRDATA", "ERRS"), ("QUALDATA", "QUAL")):
            if other != name:
                set_card(hdu.header, keyword, other, "name of the extension that belongs to this")
    if name == "ERRS":
        set_card(hdu.header, "UTYPE", "StdDevUncertainty", "one-sigma errors")
    return hdu


@contextlib.contextmanager
def big_endian_pixels(hdus: Iterable[fits.PrimaryHDU | fits.ImageHDU]) -> Iterator[None]:
    """Hold pixels as they stand in a file: big-endian, and unsigned integers shifted.

    Where it can be done in place it is, and undone at the end: copies would take as much memory as all images. Astropy
    would do so too, but for every sum and every write. After an exception the arrays are as they were, and the HDUs are
    not to be used.

    Parameters
    ----------
    hdus : iterable of astropy.io.fits.PrimaryHDU or ImageHDU
        Some may share their pixels.
    """
    planes = [(hdu, hdu.data) for hdu in hdus if hdu.data is not None]
    swapped: dict[int, NDArray[Any]] = {}

    def in_place(data: NDArray[Any]) -> bool:
        """Tell whether nobody else has some of these pixels, but not all."""
        return data.flags.writeable and all(
            (data.ctypes.data, data.shape, data.dtype) == (other.ctypes.data, other.shape, other.dtype)
            or not np.may_share_memory(data, other)
            for _, other in planes
        )

    try:
        for hdu, data in planes:
            stored = data.dtype.newbyteorder(">")
            if data.dtype.kind == "u" and data.dtype.itemsize > 1:
                half = 1 << (8 * data.dtype.itemsize - 1)
                shifted = (data ^ data.dtype.type(half)).view(f"i{data.dtype.itemsize}")
                hdu.data = shifted.astype(shifted.dtype.newbyteorder(">"))
                hdu.header["BSCALE"], hdu.header["BZERO"] = 1, half
            elif stored != data.dtype and in_place(data):
                if data.ctypes.data not in swapped:
                    swapped[data.ctypes.data] = data.byteswap(inplace=True)
                hdu.data = data.view(stored)
            else:
                hdu.data = data.astype(stored, copy=False)
        yield
    finally:
        for data in swapped.values():
            data.byteswap(inplace=True)
    for hdu, data in planes:  # not after a stop: it may have hit a header half way
        hdu.data = data


def data_md5(hdus: Iterable[fits.PrimaryHDU | fits.ImageHDU]) -> str:
    """MD5 of all data units with their padding, as ESO's DATAMD5 has it; the pixels are `big_endian_pixels`."""
    digest = hashlib.md5(usedforsecurity=False)
    for hdu in hdus:
        if hdu.data is not None:
            digest.update(np.ascontiguousarray(hdu.data).data)
            digest.update(bytes(-hdu.data.nbytes % 2880))
    return digest.hexdigest()


@dataclass(frozen=True)
class ProductFile:
    """One FITS file of a product.

    Attributes
    ----------
    role : str
        What it is to the product, e.g. ``'bad-pixel map'``.
    ending : str
        What follows the product's stem in its name.
    category : str
        ``ESO PRO CATG`` without the arm.
    hdus : astropy.io.fits.HDUList
        Its contents, without provenance.
    """

    role: str
    ending: str
    category: str
    hdus: fits.HDUList
