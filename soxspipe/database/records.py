"""What the quality database holds of a product, read from the product's header and QC file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from astropy.io import fits
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ..exceptions import FrameError, InputError
from ..fits_files.images import image_hdus
from ..products.qc_file import QC_ENDING, QCEntry, read_qc_file
from ..text import escape, format_value

__all__ = ["Count", "Number", "ProductRecord", "StoredValue", "Text", "check_types", "find_products", "read_record"]

#: Category of the main file of a product, with its arm.
CATEGORY = re.compile(r"(?!BP_MAP)[A-Z_]+_([A-Z0-9]+)")
#: Name of a product: the word behind the arm is the binning of a CCD or the read-out mode.
PRODUCT_NAME = re.compile(r"[^_]+_[^_]+_(?:(?P<binning>\d+x\d+)|(?P<mode>.+?))_(?:MDARK|MBIAS|DRATE|DARKSUB)_.*")

_T = TypeVar("_T")

#: Types of columns: a database, as a header, may hold values of other types, or what a page or terminal cannot show.
Text = Annotated[str, AfterValidator(escape)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
#: Dates of the years 1 to 9999.
_MJD = Annotated[float, Field(ge=-678575, lt=2973484)]

_adapter: Any = cache(TypeAdapter)


@dataclass(frozen=True)
class StoredValue:
    """One QC value of a product.

    Attributes
    ----------
    name : str
        Name behind ``ESO QC``.
    value : float or None
        None where it was not measured; 1 and 0 for true and false.
    unit : str
        Unit in the notation of the FITS standard; empty for pure numbers.
    low, high : float or None
        Range that passes; None for an open end.
    passed : bool or None
        None without a range or a value.
    comment : str
        Its meaning in a few words.
    """

    name: Text
    value: Number | None
    unit: Text
    low: Number | None
    high: Number | None
    passed: bool | None
    comment: Text


@dataclass(frozen=True)
class ProductRecord:
    """One product: a row of the table ``products`` with its QC values.

    Attributes
    ----------
    path : str
        Absolute path.
    file_name : str
        Name of the file when it was written (PIPEFILE).
    datamd5 : str
        MD5 of all data of the product; with ``file_name`` the identity of the product.
    recipe, category, instrument, arm : str
        ``soxs_mdark`` and the like, ESO PRO CATG, INSTRUME, arm.
    detector : str or None
        Identity of the detector.
    columns, lines : int
        Size of the product, pixel.
    exptime_s, dit_s : float or None
        Exposure time of each raw frame, and exposure that FLUX belongs to (one DIT), second.
    read_mode, binning : str or None
        Read-out mode of an infrared detector; binning of a CCD, columns first.
    frames : int
        Number of frames combined.
    date_obs : str
        Start of the first frame, UTC.
    mjd_obs : float
        The same, modified Julian date.
    reduction_date : str
        When the product was written, UTC.
    version : str
        soxspipe and its version.
    verdict : str
        PASS, WARN or FAIL.
    failed : tuple of str
        Names of the values out of their range.
    sof_name : str or None
        Set-of-files file.
    temperature_k : float or None
        Mean temperature of the detector, K.
    values : tuple of StoredValue
        QC values in their order.
    id : int or None
        Number of the row; None for a record that was read from files. Records that differ in it alone are equal.
    """

    path: Text
    file_name: Text
    datamd5: Text
    recipe: Text
    category: Text
    instrument: Text | None
    arm: Text
    detector: Text | None
    columns: Count
    lines: Count
    exptime_s: Number | None
    dit_s: Number | None
    read_mode: Text | None
    binning: Text | None
    frames: Count
    date_obs: Text
    mjd_obs: _MJD
    reduction_date: Text
    version: Text
    verdict: Text
    failed: tuple[Text, ...]
    sof_name: Text | None
    temperature_k: Number | None
    values: tuple[StoredValue, ...] = ()
    id: int | None = field(default=None, compare=False)

    def value(self, name: str) -> StoredValue | None:
        """Return the QC value of a name; None where the product has none."""
        return next((one for one in self.values if one.name == name), None)


def read_record(path: str | os.PathLike[str]) -> ProductRecord:
    """Read what the database holds of a product; no pixel is read.

    Parameters
    ----------
    path : path-like
        The main file of a product, with its file ``_qc.json`` next to it.

    Returns
    -------
    ProductRecord

    Raises
    ------
    FrameError
        When the file is damaged, is no product of soxspipe, or its QC file is missing or does not belong to it.
    """
    product = Path(os.path.abspath(path))
    with closing(image_hdus(product)) as images:
        first = next(images, None)
        for _ in images:  # a truncated file is found by its headers
            pass
    header = fits.Header() if first is None else first.header
    category = CATEGORY.fullmatch(str(header.get("ESO PRO CATG", "")))
    if first is None or category is None:
        found = _shown(header, "ESO PRO CATG")
        raise FrameError(f"{escape(product)}: ESO PRO CATG is {found}, expected the main file of a product")
    facts = _Header(header, product)
    file_name, verdict = facts.text("PIPEFILE"), facts.text("ESO QC VERDICT")
    document = read_qc_file(product, header)
    name = PRODUCT_NAME.fullmatch(file_name)
    values = tuple(map(_stored, document.qc))
    temperatures = [one.value for one in values if one.name == "DETECTOR TEMP"]
    mode = None if name is None or name["mode"] == "X" else name["mode"]
    record = ProductRecord(
        path=escape(product),
        file_name=file_name,
        datamd5=facts.text("DATAMD5"),
        recipe=facts.text("ESO PRO REC1 ID"),
        category=category[0],
        instrument=facts.optional_text("INSTRUME"),
        arm=category[1],
        detector=facts.optional_text("ESO DET CHIP ID"),
        columns=first.shape[1],
        lines=first.shape[0],
        exptime_s=facts.optional_number("EXPTIME"),
        dit_s=facts.optional_number("ESO QC EXPOSURE"),
        read_mode=mode,
        binning=None if name is None else name["binning"],
        frames=int(facts.number("ESO PRO DATANCOM")),
        date_obs=facts.text("DATE-OBS"),
        mjd_obs=facts.number("MJD-OBS"),
        reduction_date=facts.text("DATE"),
        version=facts.text("ESO PRO REC1 PIPE ID"),
        verdict=verdict,
        failed=tuple(document.failed),
        sof_name=document.sof,
        temperature_k=temperatures[0] if temperatures else None,
        values=values,
    )
    try:
        return check_types(ProductRecord, asdict(record))
    except ValueError as error:
        raise FrameError(f"{escape(product)}: {error}: damaged, or no product") from error


def check_types(kind: type[_T], content: object) -> _T:
    """Return content as a record, or as what holds records, whose values have the types that are declared.

    Raises
    ------
    ValueError
        With the first value that has another type, or is out of its range.
    """
    try:
        checked: _T = _adapter(kind).validate_python(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{escape(where)} is {format_value(fault['input'])}: {escape(fault['msg'])}") from error
    return checked


def _stored(entry: QCEntry) -> StoredValue:
    value = None if entry.value is None else float(entry.value)
    return StoredValue(entry.name, value, entry.unit, *entry.range, entry.passed, entry.description)


def find_products(folder: str | os.PathLike[str], *, subfolders: bool = True) -> Iterator[Path]:
    """Yield the main files of the products in a folder, and in its subfolders, in the order of their names.

    A QC file shows that there is, or was, a product: `read_record` names the fault of one that is damaged or gone.

    Raises
    ------
    InputError
        When the folder does not exist.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{escape(folder)}: no such folder: give a folder of products")
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(folders) if subfolders else ()
        stems = (name.removesuffix(QC_ENDING) for name in sorted(names) if name.endswith(QC_ENDING))
        yield from (Path(parent, f"{stem}.fits") for stem in stems)


def _shown(header: fits.Header, keyword: str) -> str:
    value = header.get(keyword)
    return "missing" if value is None else format_value(value)


class _Header:
    """The values of a header, each checked before it is used."""

    def __init__(self, header: fits.Header, path: Path) -> None:
        self._header = header
        self._path = path

    def _fault(self, keyword: str, expected: str) -> FrameError:
        found = _shown(self._header, keyword)
        return FrameError(f"{escape(self._path)}: {keyword} is {found}, expected {expected}: damaged, or no product")

    def text(self, keyword: str) -> str:
        """Return a text that every product has."""
        value = self._header.get(keyword)
        if not isinstance(value, str) or not value.strip():
            raise self._fault(keyword, "a text")
        return escape(value.strip())

    def optional_text(self, keyword: str) -> str | None:
        """Return a text; None where there is none."""
        return self.text(keyword) if str(self._header.get(keyword, "")).strip() else None

    def number(self, keyword: str) -> float:
        """Return a number that every product has."""
        value = self._header.get(keyword)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._fault(keyword, "a number")
        return float(value)

    def optional_number(self, keyword: str) -> float | None:
        """Return a number; None where there is none."""
        return None if self._header.get(keyword) is None else self.number(keyword)
