"""Check sums: a right sum gives no message, a wrong one names file and HDU."""

import re

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import ErrorCollector, FrameError, InputError
from soxspipe.fits_files.checksums import ChecksumVerifier, add_up, checksum_text, file_md5
from soxspipe.fits_files.images import read_image_hdus
from soxspipe.inputs.raw_frames import collect_frames
from soxspipe.products.fits_output import complete_headers
from soxspipe.recipes import soxs_mdark
from tests.raw_frames import header_of

DATA = np.random.default_rng(1).integers(0, 60000, (40, 48), dtype=np.uint16)
#: Damaged bytes: one of the word DARK in the header, and one of a pixel.
HEADER, PIXEL = b"'DARK    '", 5000


def verified(path, strict=False):
    """Return the sum of the data, and the warnings."""
    sums = ChecksumVerifier(ErrorCollector(), strict)
    datasum = sums.verify(read_image_hdus(path), "a.fits")
    return datasum, sums.warnings


@pytest.fixture
def make_summed(make_frame):
    """Return a function that writes a raw dark with check sums."""

    def make(name="a.fits", checksum=True):
        path = make_frame(name, data=DATA)
        with fits.open(path) as hdus:
            hdus.writeto(path, overwrite=True, checksum=checksum)
        return path

    return make


def damage(path, where):
    """Change one byte: of the pixels where ``where`` is a position, else of that text."""
    data = bytearray(path.read_bytes())
    data[where if isinstance(where, int) else data.index(where) + 8] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("data", "total"),
    [
        (b"", 0),
        (b"\0\0\0\1", 1),
        (b"\xff\xff\xff\xff\0\0\0\1", 1),  # the carry is added at the other end
        (b"\xff\xff\xff\xff" * 5, 2**32 - 1),
        (b"\1\2\3\4\5\6\7\10", 0x06080A0C),
    ],
)
def test_sums_of_ones_complement(data, total):
    assert add_up(data) == total
    assert add_up(data[4:], add_up(data[:4])) == total


def test_right_sums_give_no_message_and_the_sum_is_datasum(make_summed, pack, tmp_path):
    path = make_summed()
    stated = fits.getheader(path)["DATASUM"]
    for packed in (path, pack(path, "gz"), pack(path, "Z")):
        assert verified(packed) == (stated, [])
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        tiled = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header)])
        tiled.writeto(tmp_path / "a.fits.fz", checksum=True)
    assert verified(tmp_path / "a.fits.fz") == (stated, [])


@pytest.mark.parametrize("how", ["plain", "gz", "Z"])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (PIXEL, r"a.fits: HDU 0 has DATASUM \d+, but its data add up to \d+: damaged or changed: fetch the file again"),
        (HEADER, r"a.fits: HDU 0 does not match its CHECKSUM, but its data DATASUM: damaged or changed: fetch"),
    ],
)
def test_wrong_sums_name_file_and_hdu(make_summed, pack, how, where, message):
    path = make_summed()
    damage(path, where)
    path = path if how == "plain" else pack(path, how)
    (line,) = verified(path)[1]
    assert re.match(message, line)


def test_a_damaged_table_of_tiles(make_summed, tmp_path):
    path = tmp_path / "a.fits.fz"
    with fits.open(make_summed(), do_not_scale_image_data=True) as hdus:
        tiled = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header)])
        tiled.writeto(path, checksum=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        middle = hdus[1].fileinfo()["datLoc"] + hdus[1].size // 2
    damage(path, middle)
    (line,) = verified(path)[1]
    assert line.startswith("a.fits: HDU 1 has DATASUM ")


def test_either_card_alone(make_summed):
    path = make_summed("datasum.fits", "datasum")
    assert verified(path)[1] == []
    damage(path, HEADER)  # no sum covers the header
    assert verified(path)[1] == []
    damage(path, PIXEL)
    assert "HDU 0 has DATASUM" in verified(path)[1][0]
    path = make_summed("checksum.fits")
    text = path.read_bytes()
    start = text.index(b"DATASUM ")
    path.write_bytes(text.replace(text[start : start + 80], b" " * 80))
    assert "HDU 0 does not match its CHECKSUM: damaged" in verified(path)[1][0]


@pytest.mark.parametrize("keyword", ["CHECKSUM", "DATASUM"])
def test_blank_cards_count_as_missing(make_frame, keyword):
    path = make_frame("a.fits", {keyword: ""})
    assert verified(path)[1] == []


def test_text_in_place_of_a_sum_is_wrong_and_is_escaped(make_frame):
    path = make_frame("a.fits", {"DATASUM": "none"})
    path.write_bytes(path.read_bytes().replace(b"'none    '", b"'n\x1b[31m  '"))
    (line,) = verified(path)[1]
    assert line.startswith("a.fits: HDU 0 has DATASUM n\\x1b[31m, but its data add up to ")


def test_the_primary_counts_where_its_keywords_hold(tmp_path):
    path = tmp_path / "a.fits"
    cards = header_of({"INSTRUME": "SOXS", "ESO DPR TYPE": "DARK"})
    fits.HDUList([fits.PrimaryHDU(header=cards), fits.ImageHDU(DATA)]).writeto(path, checksum=True)
    assert verified(path)[1] == []
    damage(path, b"'DARK    '")
    assert verified(path)[1][0].startswith("a.fits: HDU 0 does not match its CHECKSUM")


def test_wrong_sums_of_several_hdus_are_one_line(tmp_path):
    path = tmp_path / "a.fits"
    hdus = [fits.PrimaryHDU(DATA), fits.ImageHDU(DATA, name="ERRS"), fits.ImageHDU(DATA, name="QUAL")]
    fits.HDUList(hdus).writeto(path, checksum=True)
    for position in (5000, 5000 + 2 * (2880 + 5760)):
        damage(path, position)
    (line,) = verified(path)[1]
    assert "HDU 0 has DATASUM" in line
    assert "HDU 2 has DATASUM" in line
    assert "HDU 1" not in line


def test_strict_is_a_fault_for_each_file(make_summed, make_frame):
    sums = ChecksumVerifier(ErrorCollector(), strict=True)
    for name in "ab":
        path = make_summed(f"{name}.fits")
        damage(path, PIXEL)
        sums.verify(read_image_hdus(path), path.name)
    with pytest.raises(FrameError) as refusal:
        sums.faults.raise_any()
    assert [line[:13] for line in refusal.value.faults] == ["a.fits: HDU 0", "b.fits: HDU 0"]
    assert sums.warnings == []


def test_a_file_that_changes_after_its_header_was_read(make_summed):
    path = make_summed()
    hdus = read_image_hdus(path)
    damage(path, PIXEL)
    sums = ChecksumVerifier(ErrorCollector(), strict=False)
    assert sums.verify(hdus, "a.fits") == ""
    with pytest.raises(InputError, match="changed while it was read"):
        sums.faults.raise_any()


def test_md5_of_a_file_is_datamd5_or_that_of_its_data(tmp_path):
    path = tmp_path / "a.fits"
    planes = fits.HDUList([fits.PrimaryHDU(DATA), fits.ImageHDU(DATA.astype("f4"))])
    planes.writeto(path)
    complete_headers(planes)
    assert file_md5(read_image_hdus(path)) == planes[0].header["DATAMD5"]
    fits.setval(path, "DATAMD5", value=" stated ")
    assert file_md5(read_image_hdus(path)) == "stated"


def test_a_checksum_makes_the_sum_of_its_hdu_minus_zero():
    rng = np.random.default_rng(3)
    for total in [0, 1, 2**32 - 1, *map(int, rng.integers(0, 2**32, 2000))]:
        text = checksum_text(total)
        assert len(text) == 16
        assert text.isalnum()
        # sixteen zeros are part of the total; a card's value begins in the last byte of a word
        shifted = (text[1:] + text[0]).encode()
        assert add_up(shifted, add_up(bytes(255 - byte for byte in b"0" * 16), total)) == 2**32 - 1


def test_sums_of_a_set(make_frame, make_summed):
    """Darks and calibrations are verified; a warning comes with the set, a refusal with its other faults."""
    darks = [make_frame(f"{name}.fits") for name in "bcd"]
    damaged = make_summed()
    damage(damaged, PIXEL)
    bias = darks[0].with_name("bias.fits")
    cards = header_of({"INSTRUME": "SOXS", "ESO SEQ ARM": "NIR", "ESO PRO CATG": "MASTER_BIAS_NIR"})
    planes = [fits.PrimaryHDU(DATA[4:36, 4:44].astype("f4"), cards), fits.ImageHDU(DATA[4:36, 4:44], name="ERRS")]
    fits.HDUList(planes).writeto(bias, checksum=True)
    damage(bias, -3000)
    frames = collect_frames([*darks, damaged, bias], soxs_mdark.kind)
    assert [line[:22] for line in frames.warnings] == ["a.fits (input 4): HDU ", "bias.fits (input 5): H"]
    assert frames.frames[0].datasum == verified(damaged)[0]
    other = make_frame("other.fits", {"EXPTIME": 1.0, "ESO DET DIT": 1.0})
    with pytest.raises(InputError) as refusal:
        collect_frames([*darks, damaged, bias, other], soxs_mdark.kind, strict_checksums=True)
    assert len(refusal.value.faults) == 3
