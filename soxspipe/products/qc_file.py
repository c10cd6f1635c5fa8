"""The QC file of a product, ``_qc.json``, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from astropy.io import fits
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..exceptions import FrameError
from ..text import escape
from ..yaml_files import read_regular_file

__all__ = ["QC_ENDING", "QCEntry", "QCFile", "read_qc_file"]

#: End of the name of a product's QC file.
QC_ENDING = "_qc.json"
#: Largest QC file that is read; that of a reduction of a thousand frames has 1 MB.
QC_FILE_LIMIT = 16 * 2**20

# a database holds no control characters and no broken unicode
_Text = Annotated[str, AfterValidator(escape)]
_Number = float | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class QCEntry(_Strict):
    """One QC value."""

    name: _Text
    value: bool | float | None
    unit: _Text
    range: tuple[_Number, _Number] = Field(strict=False)
    passed: bool | None
    description: _Text


class QCFile(_Strict):
    """What each QC file holds."""

    product: _Text
    verdict: Literal["PASS", "WARN", "FAIL"]
    failed: list[_Text]
    sof: _Text | None = None
    qc: list[QCEntry]
    warnings: list[str]
    #: All of the file, with what only some products have.
    document: Mapping[str, Any]


def read_qc_file(product: Path, header: fits.Header) -> QCFile:
    """Read the QC file of a product.

    Parameters
    ----------
    product : pathlib.Path
        Main file of the product.
    header : astropy.io.fits.Header
        Its header.

    Returns
    -------
    QCFile

    Raises
    ------
    FrameError
        When the file is missing, damaged, or of another product.
    """
    path = product.with_name(f"{product.stem}{QC_ENDING}")
    try:
        content = read_regular_file(path, QC_FILE_LIMIT + 1)
        if len(content) > QC_FILE_LIMIT:
            raise FrameError(f"{escape(path)}: more than {QC_FILE_LIMIT} bytes, expected the QC file of a product")
        document = json.loads(content)
        record = QCFile.model_validate({**document, "document": document})
    except OSError as error:
        raise FrameError(
            f"{escape(path)}: {error.strerror}: expected the QC file next to its product: reduce the frames again"
        ) from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise FrameError(
            f"{escape(path)}: {escape(where)}: {escape(fault['msg'])}: damaged: reduce the frames again"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(f"{escape(path)}: is no JSON object: damaged: reduce the frames again") from error
    file_name, verdict = (escape(header.get(keyword, "")).strip() for keyword in ("PIPEFILE", "ESO QC VERDICT"))
    if (record.product, record.verdict) != (file_name, verdict):
        raise FrameError(
            f"{escape(product)}: its QC file is of {record.product} with verdict {record.verdict}, expected "
            f"{file_name} with verdict {verdict}: one of the two was replaced: reduce the frames again"
        )
    return record
