"""Products with compressed images: a table of tiles for each plane, after a primary HDU with the file's keywords."""

from __future__ import annotations

import io
import re

import numpy as np
from astropy.io import fits

from ..fits_files.checksums import add_up
from .fits_output import StoredHDU, enter_sums
from .headers import set_card

__all__ = ["compressed_hdus"]

#: Keywords of the layout of an image, and of its check sums.
_LAYOUT = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|CHECKSUM|DATASUM")
#: Keywords of a table of tiles that those of its image replace.
_REPLACED = re.compile(r"EXTNAME|BSCALE|BZERO")
#: Keywords of the first plane; the others of its HDU are those of the file.
_PLANE = re.compile(
    r"EXTNAME|BUNIT|BSCALE|BZERO|HDU(?:CLASS|DOC|VERS|CLAS\d)|(?:SCI|ERR|QUAL)DATA|UTYPE|BIT\d\d"
    r"|TRIMSEC|ROT90|LTM\d_\d|LTV\d"
)


def compressed_hdus(hdus: fits.HDUList) -> list[StoredHDU]:
    """Return a product with compressed images, without any loss.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        Images with complete headers. Integers are compressed by RICE_1, other numbers by GZIP_2, row by row.

    Returns
    -------
    list of StoredHDU
        The primary HDU has no pixels and the keywords of the file. Each table has the check sums of its bytes, and in
        ZHECKSUM and ZDATASUM those of the image that it unpacks to. DATAMD5 stays that of the pixels.
    """
    primary = fits.PrimaryHDU().header
    set_card(primary, "EXTNAME", "PRIMARY")
    packed = [StoredHDU(primary, b"")]
    for hdu in hdus:
        is_first = hdu is hdus[0]
        header = fits.Header([card for card in fits.ImageHDU(hdu.data).header.cards if _LAYOUT.fullmatch(card.keyword)])
        if is_first:
            set_card(header, "INHERIT", True, "keywords of the primary HDU hold here")
        for card in hdu.header.cards:
            if not _LAYOUT.fullmatch(card.keyword):
                is_of_plane = not is_first or _PLANE.fullmatch(card.keyword)
                (header if is_of_plane else primary).append(card, end=True)
        enter_sums(header, int(hdu.header["DATASUM"]))
        packed.append(_packed(hdu, header))
    enter_sums(primary, 0)
    return packed


def _packed(hdu: fits.PrimaryHDU | fits.ImageHDU, header: fits.Header) -> StoredHDU:
    """Return the table of tiles of an image with the given header."""
    kind = "RICE_1" if hdu.data.dtype.kind in "iu" else "GZIP_2"
    # level 0: no float is rounded
    tiles = fits.CompImageHDU(np.ascontiguousarray(hdu.data), compression_type=kind, quantize_level=0)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(file)
    written = file.getvalue()
    with fits.open(io.BytesIO(written), disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()
        table = fits.Header([card for card in hdus[1].header.cards if not _REPLACED.fullmatch(card.keyword)])
    data = written[place["datLoc"] :][: place["datSpan"]]
    for card in header.cards:
        if not _LAYOUT.fullmatch(card.keyword):
            table.append(card, end=True)
    for keyword, of_image in (("ZHECKSUM", "CHECKSUM"), ("ZDATASUM", "DATASUM")):
        set_card(table, keyword, header[of_image], header.comments[of_image])
    enter_sums(table, add_up(data))
    return StoredHDU(table, data)
