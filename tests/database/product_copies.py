"""Products for tests of the database: copies of one product under other names, with other data."""

import hashlib
import json

from astropy.io import fits

NAME = "20260301T{number:06d}_NIR_1_MDARK_300_0S_SOXS"


def copy_product(master, folder, number, *, values=None, cards=None):
    """Copy a product under another name.

    Parameters
    ----------
    master : pathlib.Path
        The product.
    folder : pathlib.Path
        Where the copy goes.
    number : int
        Decides its name, its date and its DATAMD5.
    values : dict, optional
        QC values that differ, by name.
    cards : dict, optional
        Keywords that differ; None for one that is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = NAME.format(number=number)
    path = folder / f"{stem}.fits"
    document = json.loads(master.with_name(f"{master.stem}_qc.json").read_text())
    document["product"] = path.name
    for entry in document["qc"]:
        entry["value"] = (values or {}).get(entry["name"], entry["value"])
    with fits.open(master) as hdus:
        header = hdus[0].header
        header["PIPEFILE"] = path.name
        header["DATAMD5"] = hashlib.md5(stem.encode()).hexdigest()
        header["MJD-OBS"] += number
        for keyword, value in (cards or {}).items():
            if value is None:
                del header[keyword]
            else:
                header[keyword] = value
        hdus.writeto(path, overwrite=True)
    path.with_name(f"{stem}_qc.json").write_text(json.dumps(document))
    return path
