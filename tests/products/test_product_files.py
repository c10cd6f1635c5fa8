import hashlib
import json

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import ProductError
from soxspipe.products.fits_output import FitsBytes, complete_headers
from soxspipe.products.headers import ProductFile, image_hdu, set_card
from soxspipe.products.product_files import Product


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("plain", "plain"),
        ("x" * 200, "x" * 200),
        ("naïve €", "na%C3%AFve %E2%82%AC"),
        ("a\nb", "a%0Ab"),
        (61100.41666666667, 61100.41666666667),
        (np.float32(0.5), 0.5),
        (True, True),
        (2**40, 2**40),
    ],
)
def test_cards_are_legal_whatever_the_value(value, stored):
    header = fits.Header()
    set_card(header, "ESO PRO REC1 RAW1 NAME", value, "a comment that is far too long for what is left of the card")
    again = fits.Header.fromstring(header.tostring())
    assert again["ESO PRO REC1 RAW1 NAME"] == stored
    assert all(len(line) == 80 for line in header.tostring(sep="\n", endcard=False, padding=False).split("\n"))
    assert ("LONGSTRN" in header) == (len(str(value)) > 100)


def test_files_of_a_product(tmp_path):
    pixels = np.full((64, 64), 1.5, np.float32)
    hdus = fits.HDUList([image_hdu("FLUX", pixels), image_hdu("QUAL", np.ones((64, 64), np.int32))])
    with Product(tmp_path, "stem") as product:
        product.add_fits([ProductFile("main", ".fits", "", hdus)])
        product.add_text("log", ".log", "lines\n")
        product.add_json("qc", "_qc.json", {"value": None})
        product.commit()
        files = product.paths
    assert product.path == files["main"]
    assert list(files) == ["main", "log", "qc"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stem.fits", "stem.log", "stem_qc.json"]
    assert json.loads(files["qc"].read_text()) == {"value": None}
    with fits.open(files["main"], checksum=True) as again:
        assert again[0].header["PIPEFILE"] == "stem.fits"
        np.testing.assert_array_equal(again["FLUX"].data, pixels)


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with Product(tmp_path, "stem") as product, pytest.raises(ValueError, match="JSON"):
        product.add_json("qc", "_qc.json", {"value": float("nan")})


def test_a_product_that_cannot_be_written(tmp_path):
    (tmp_path / "stem.log").write_text("1")
    with pytest.raises(ValueError, match=r"stem\.log: exists already and was left alone"):
        Product(tmp_path, "stem").__enter__()
    with Product(tmp_path / "new", "stem") as product:
        product.add_text("log", ".log", "1")
        with pytest.raises(ProductError, match="File exists"):
            product.add_text("log", ".log", "2")
    assert not (tmp_path / "new").exists()


PLANES = {
    "FLUX": np.float32([[1.5, np.nan], [np.inf, -0.0], [1e-40, 3e38]]),
    "QUAL": np.int32([[2, -3], [2**31 - 1, -(2**31)], [0, 1]]),
    "ERRS": np.asfortranarray(np.full((3, 2), 0.25, np.float64)),
    "NCOMBINE": np.uint16([[0, 65535], [32768, 32767], [1, 2]]),
    "BYTES": np.uint8([[0, 255], [1, 2], [3, 4]]),
    "FLIPPED": np.arange(150 * 7, dtype=np.uint32).reshape(150, 7)[::-1, ::-1],
}


def test_bytes_of_a_file_are_those_that_astropy_writes(tmp_path):
    """Read-only pixels, also in reverse order or of any type, are written as they are, and not changed."""
    before = {name: plane.copy() for name, plane in PLANES.items()}
    for plane in PLANES.values():
        plane.flags.writeable = False
    hdus = fits.HDUList([image_hdu(name, plane) for name, plane in PLANES.items()])
    complete_headers(hdus)
    path = tmp_path / "a.fits"
    path.write_bytes(b"".join(FitsBytes(hdus)))
    md5 = hashlib.md5()
    with fits.open(path, checksum=True) as again:
        for name, hdu in zip(PLANES, again, strict=True):
            assert hdu.data.dtype.newbyteorder("=") == before[name].dtype
            np.testing.assert_array_equal(hdu.data, before[name])
            np.testing.assert_array_equal(PLANES[name], before[name])
            assert hdu.verify_checksum() == hdu.verify_datasum() == 1
            info = hdu.fileinfo()
            md5.update(path.read_bytes()[info["datLoc"] :][: info["datSpan"]])
        assert again[0].header["DATAMD5"] == md5.hexdigest()
    hdus.writeto(tmp_path / "b.fits")
    ours, theirs = (fits.open(tmp_path / f"{name}.fits", do_not_scale_image_data=True) for name in "ab")
    with ours, theirs:
        for one, other in zip(ours, theirs, strict=True):
            assert one.data.tobytes() == other.data.tobytes()
            assert set(one.header.items()) == set(other.header.items())


def test_an_hdu_without_pixels(tmp_path):
    hdus = fits.HDUList([fits.PrimaryHDU(), image_hdu("QUAL", np.ones((2, 3), np.int32))])
    complete_headers(hdus)
    (tmp_path / "a.fits").write_bytes(b"".join(FitsBytes(hdus)))
    with fits.open(tmp_path / "a.fits", checksum=True) as again:
        assert again[0].data is None
        np.testing.assert_array_equal(again["QUAL"].data, 1)


def test_time_for_a_header_grows_with_its_cards_alone(monkeypatch):
    moved = []
    monkeypatch.setattr(fits.Header, "_updateindices", lambda *_: moved.append(1))
    header = fits.Header()
    for number in range(100):
        set_card(header, f"ESO INS A{number}", "x" * number)
    assert not moved
    assert header["ESO INS A99"] == "x" * 99
