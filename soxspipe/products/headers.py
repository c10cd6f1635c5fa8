"""Names, headers as ESO defines them, and planes of products."""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..inputs.frame_kinds import SIMULATED
from ..inputs.raw_frames import CalibrationFile
from ..inputs.start_time import MJD_DECIMALS, utc_text
from ..pixel_codes import PixelCode
from ..quality.table import QualityTable
from ..version import __version__
from .provenance import Naming, Provenance

__all__ = [
    "ProductFile",
    "add_qc",
    "card_text",
    "image_hdu",
    "leave_out_eso_claim",
    "plain_header",
    "product_header",
    "product_stem",
    "record_calibrations",
    "set_card",
]

PIPELINE = f"soxspipe/{__version__}"
#: Keywords of the first input frame that a product keeps.
KEPT = re.compile(
    r"(ORIGIN|TELESCOP|INSTRUME|OBJECT|OBSERVER|PI-COI|RA|DEC|EQUINOX|RADESYS|LST|UTC|DATE-OBS|MJD-OBS|ARCFILE|"
    r"ESO (OBS|TPL|SEQ|GEN|ADA|(TEL|INS|DET)[0-9]?) .*)"
)
#: Keywords of another camera's frame that do not hold for a product: pixels, type, check sums, times and coordinates.
NOT_KEPT = re.compile(
    r"|SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|GROUPS|BSCALE|BZERO|BLANK|BUNIT|DATA(MIN|MAX|SUM)|CHECKSUM|"
    r"EXT(NAME|VER|LEVEL)|INHERIT|COMMENT|HISTORY|CONTINUE|LONGSTRN|PEDESTAL|C(BLACK|WHITE)|CSTRETCH|SWMODIFY|"
    r"DATE|TIMESYS|(DATE|MJD|JD)[-_](AVG|MID|END|HELIO|LOC)|LTV\d|LTM\d_\d|(DATA|TRIM|BIAS|CCD|AMP|DET|OVR)SEC\d*|"
    r"WCS.*|C(TYPE|UNIT|RVAL|RPIX|ROTA|RDER|SYER|NAME)\d.*|CDELT\d.*|(CD|PC|PV|PS)\d+_\d+.*|"
    r"HDU.*|PIPEFILE|DATAMD5|ORIGFILE|UTYPE|(SCI|ERR|QUAL)DATA|ESO (DPR|PRO|QC) .*"
)
#: Keywords that state that an extension follows ESO's dictionary.
ESO_CLAIM = ("HDUCLASS", "HDUDOC", "HDUVERS", "HDUCLAS1", "HDUCLAS2", "HDUCLAS3")
#: HDUCLAS2 of the planes in ESO's dictionary.
CLASSES = {"FLUX": "DATA", "QUAL": "QUALITY", "ERRS": "ERROR"}
#: Planes of pixel codes, and planes in the primary HDU.
CODE_PLANES, MAIN_PLANES = ("QUAL", "BPMAP"), ("FLUX", "BPMAP")
#: Most letters of a word of a file name, which a header may give.
LONGEST_WORD = 40
#: Longest card that fits one record, and columns before its comment where the value is short.
CARD, FIXED_VALUE = 80, 30
PRINTABLE = "".join(map(chr, range(32, 127)))


def product_stem(naming: Naming, kind: str) -> str:
    """Return the name, without ending, that the files of a product share.

    Parameters
    ----------
    naming : Naming
        What the product is named after, such as its `Provenance`.
    kind : str
        Kind of the product, e.g. ``'MDARK'``.

    Returns
    -------
    str
        ``<UTC of first input>_<ARM>_<mode>_<kind>_<EXPTIME>S_<INSTRUME>``, without EXPTIME where the inputs differ
        in it, or where it is 0.
    """
    utc, _, fraction = utc_text(naming.begin_mjd).partition(".")
    if naming.single and fraction.strip("0"):  # single frames may begin in the same second
        utc = f"{utc}.{fraction}"
    mode = naming.read_mode or "X"
    if naming.detector.mode == "binning":
        mode = f"{naming.binning[1]}x{naming.binning[0]}"
    exposure = [] if not naming.exptime_s else [f"{_seconds(naming.exptime_s).replace('.', '_')}S"]
    words = [re.sub("[-:]", "", utc), naming.arm, mode, kind, *exposure, naming.instrument.name]
    return "_".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:LONGEST_WORD] for word in words)


def _seconds(exptime_s: float) -> str:
    """Return an exposure time with one decimal, with more only where that would change it."""
    seconds = f"{exptime_s:.1f}"
    return seconds if abs(float(seconds) - exptime_s) <= 1e-6 else f"{exptime_s:.6f}".rstrip("0")


def card_text(text: str) -> str:
    """Return a text as it stands in a header: percent-encoded where it is not ASCII."""
    return urllib.parse.quote(text, safe=PRINTABLE)


def set_card(header: fits.Header, keyword: str, value: Any, comment: str = "") -> None:
    """Set a card that is legal for any value: ASCII, and a comment that fits.

    Parameters
    ----------
    header : astropy.io.fits.Header
        The header to change.
    keyword : str
        ``'ESO ...'`` becomes a HIERARCH card.
    value : str, int, float or bool
        Characters that are not ASCII are percent-encoded.
    comment : str
        Cut between two words where it does not fit.
    """
    if isinstance(value, str):
        value = card_text(value)
    elif isinstance(value, np.generic):
        value = value.item()
    name = f"HIERARCH {keyword}" if len(keyword) > 8 or " " in keyword else keyword
    card = fits.Card(name, value)
    used = len(str(card).rstrip())
    if used > CARD:
        set_card(header, "LONGSTRN", "OGIP 1.0", "The OGIP long string convention may be used")
    room = CARD - max(used, FIXED_VALUE if name == keyword else 0) - 3
    if len(comment) > room:
        comment = comment[: max(room, 0) + 1].rpartition(" ")[0]
    card.comment = comment
    if name in header:
        header[name] = (value, card.comment)
    else:  # an insertion before the end would take time for each card behind it
        header.append(card, end=True)


def product_header(
    provenance: Provenance, recipe: str, category: str, parameters: Mapping[str, tuple[Any, Any]]
) -> fits.Header:
    """Return the primary header of a product.

    Parameters
    ----------
    provenance : Provenance
        Provenance of the product.
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
    _keep_cards(header, provenance)
    if provenance.exptime_s is not None:
        set_card(header, "EXPTIME", provenance.exptime_s, "[s] exposure time of each raw frame")
    set_card(header, "MJD-OBS", round(provenance.begin_mjd, MJD_DECIMALS), "start of the first frame")
    set_card(header, "DATE-OBS", utc_text(provenance.begin_mjd), "[UTC] start of the first frame")
    set_card(header, "MJD-END", round(provenance.end_mjd, MJD_DECIMALS), "end of the last frame")
    set_card(header, "DATE-END", utc_text(provenance.end_mjd), "[UTC] end of the last frame")
    set_card(header, "DATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] when this file was written")
    if provenance.simulated:
        set_card(header, SIMULATED, True, "not an observation")
        header["COMMENT"] = "Made of simulated frames: not an observation."
    set_card(header, "ESO PRO CATG", category, "category of this product")
    set_card(header, "ESO PRO TYPE", "REDUCED", "product type")
    set_card(header, "ESO PRO TECH", provenance.technique, "technique")
    set_card(header, "ESO PRO SCIENCE", False, "scientific product if T")
    if provenance.instrument.follows_eso:
        set_card(header, "ESO PRO DID", "PRO-1.16", "data dictionary for PRO")
    else:
        header["COMMENT"] = "ESO PRO and ESO QC: record of soxspipe, not of an ESO product."
    set_card(header, "ESO PRO ANCESTOR", provenance.ancestor, "first raw frame")
    set_card(header, "ESO PRO DATANCOM", len(provenance.paths), "number of frames combined")
    set_card(header, "ESO PRO REC1 ID", recipe, "recipe")
    set_card(header, "ESO PRO REC1 DRS ID", PIPELINE, "data reduction system")
    set_card(header, "ESO PRO REC1 PIPE ID", PIPELINE, "pipeline")
    for i, path in enumerate(provenance.paths, 1):
        set_card(header, f"ESO PRO REC1 RAW{i} NAME", path.name, "input frame")
        set_card(header, f"ESO PRO REC1 RAW{i} CATG", provenance.category, "its category")
        if provenance.datasums:
            set_card(header, f"ESO PRO REC1 RAW{i} DATASUM", provenance.datasums[i - 1], "sum of its data")
    record_calibrations(header, provenance.calibrations)
    for i, (name, (value, default)) in enumerate(parameters.items(), 1):
        set_card(header, f"ESO PRO REC1 PARAM{i} NAME", name, "parameter")
        set_card(header, f"ESO PRO REC1 PARAM{i} VALUE", _yaml(value), f"Default: {_yaml(default)}")
    return header


def record_calibrations(header: fits.Header, files: Iterable[CalibrationFile]) -> None:
    """Record name, category and MD5 of calibrations."""
    for i, file in enumerate(files, 1):
        set_card(header, f"ESO PRO REC1 CAL{i} NAME", file.name, "calibration")
        set_card(header, f"ESO PRO REC1 CAL{i} CATG", file.category, "its category")
        set_card(header, f"ESO PRO REC1 CAL{i} DATAMD5", file.datamd5, "MD5 of its data")


def plain_header(header: fits.Header) -> fits.Header:
    """Return a header without the cards that describe the file, and those without a value."""
    plain = header.copy(strip=True)
    for keyword in ("CHECKSUM", "DATASUM", "EXTNAME", "XTENSION", "BSCALE", "BZERO", "BLANK"):
        plain.remove(keyword, ignore_missing=True, remove_all=True)
    return fits.Header([card for card in plain.cards if not isinstance(card.value, fits.card.Undefined)])


def _keep_cards(header: fits.Header, provenance: Provenance) -> None:
    """Copy the cards of the first input frame that a product keeps."""
    instrument = provenance.instrument
    keywords = instrument.keywords
    # where the inputs differ in their exposure, that of the first does not hold for the product
    exposure = () if provenance.exptime_s is not None else keywords["exptime"] + keywords["dit"] + keywords["ndit"]
    if not instrument.follows_eso:
        set_card(header, "INSTRUME", instrument.name, "instrument, from the table")  # the camera's word takes its place
        exposure += keywords["type"]
    for card in provenance.header.cards:
        kept = KEPT.fullmatch(card.keyword) if instrument.follows_eso else not NOT_KEPT.fullmatch(card.keyword)
        if not kept or card.keyword in exposure or isinstance(card.value, fits.card.Undefined):
            continue
        if not isinstance(card.value, float) or math.isfinite(card.value):  # FITS has no infinite numbers
            comment = "".join(character for character in card.comment if 32 <= ord(character) < 127)
            set_card(header, card.keyword, card.value, comment)


def add_qc(header: fits.Header, quality: QualityTable, warnings: Sequence[str]) -> None:
    """Set QC values as ``ESO QC`` keywords, and the verdict on them; a value that was not measured is left out."""
    for qc in quality:
        if qc.value is not None:
            comment = f"[{qc.unit}] {qc.description}" if qc.unit else qc.description
            set_card(header, f"ESO QC {qc.name}", qc.value, comment)
    set_card(header, "ESO QC VERDICT", quality.verdict(warnings), "PASS, WARN or FAIL (a value out of range)")
    set_card(header, "ESO QC FAILED", ", ".join(quality.failed), "values out of range")


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def leave_out_eso_claim(hdus: fits.HDUList) -> None:
    """Remove the keywords that state that extensions follow ESO's dictionary: the frames are of another camera."""
    for hdu in hdus:
        for keyword in ESO_CLAIM:
            hdu.header.remove(keyword, ignore_missing=True)


def image_hdu(name: str, data: NDArray[Any], unit: str = "") -> fits.PrimaryHDU | fits.ImageHDU:
    """Return one plane of a product, with the keywords that describe it.

    Parameters
    ----------
    name : str
        Its EXTNAME. FLUX and BPMAP become the primary HDU; FLUX, QUAL and ERRS name each other as in ESO's
        dictionary. QUAL and BPMAP hold pixel codes, in 16 bits where these fit, with a card for each code.
    data : ndarray, shape (ny, nx)
        Its pixels.
    unit : str
        Their unit; empty for pure numbers.

    Returns
    -------
    astropy.io.fits.PrimaryHDU or ImageHDU
    """
    if name in CODE_PLANES:
        data = data.astype(np.uint16 if data.max(initial=0) < 2**16 else np.int32, copy=False)
    hdu = fits.PrimaryHDU(data) if name in MAIN_PLANES else fits.ImageHDU(data)
    set_card(hdu.header, "EXTNAME", name)
    if unit:
        set_card(hdu.header, "BUNIT", unit, "unit of the pixels")
    if name in CLASSES:
        set_card(hdu.header, "HDUCLASS", "ESO", "class name (ESO format)")
        set_card(hdu.header, "HDUDOC", "DICD", "document with the class description")
        set_card(hdu.header, "HDUVERS", "DICD version 6", "version of that document")
        set_card(hdu.header, "HDUCLAS1", "IMAGE", "image data format")
        set_card(hdu.header, "HDUCLAS2", CLASSES[name], "what this extension is")
        if name != "FLUX":
            class3 = "RMSE" if name == "ERRS" else f"FLAG{8 * data.dtype.itemsize}BIT"
            set_card(hdu.header, "HDUCLAS3", class3, "how it is to be read")
        for keyword, other in (("SCIDATA", "FLUX"), ("ERRDATA", "ERRS"), ("QUALDATA", "QUAL")):
            if other != name:
                set_card(hdu.header, keyword, other, "name of the extension that belongs to this")
    if name == "ERRS":
        set_card(hdu.header, "UTYPE", "StdDevUncertainty", "one-sigma errors")
    if name in CODE_PLANES:
        for code in PixelCode:
            set_card(hdu.header, f"BIT{code.bit_length() - 1:02}", code.label, f"{code.value}: {code.description}")
    for keyword in ("BSCALE", "BZERO"):  # astropy sets them for unsigned integers, before EXTNAME
        if keyword in hdu.header:
            set_card(hdu.header, keyword, hdu.header.pop(keyword))
    return hdu


@dataclass(frozen=True)
class ProductFile:
    """One FITS file of a product.

    Attributes
    ----------
    role : str
        Its part in the product, e.g. ``'bad-pixel map'``.
    ending : str
        End of its name, after the product's stem.
    category : str
        ``ESO PRO CATG`` without the arm.
    hdus : astropy.io.fits.HDUList
        Its contents, without provenance.
    """

    role: str
    ending: str
    category: str
    hdus: fits.HDUList
