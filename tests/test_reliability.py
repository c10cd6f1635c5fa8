"""Bad input and faults: each test is a row of the page docs/reliability.rst, run through the command line.

A refusal is exit code 2, one line a fault, an older product untouched and nothing left behind; a fault of the
machine is exit code 1 and leaves as little.
"""

import bz2
import contextlib
import errno
import gzip
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from soxspipe.cli import command_line, terminal
from soxspipe.database import QualityDatabase
from soxspipe.fits_files.pixel_reader import PixelReader
from soxspipe.instruments import keywords
from soxspipe.parallel import MEMORY_LIMITS
from soxspipe.signals import signals_as_exceptions
from tests.raw_frames import pack_lzw, pack_tiles

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.rst"
STEM = "20260301T100000_NIR_1_MDARK_300_0S_SOXS"
FILES = [f"{STEM}.fits", f"{STEM}.log", f"{STEM}_BPMAP.fits", f"{STEM}_qc.json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Five small darks of the NIR detector, and their product."""
    folder = tmp_path_factory.mktemp("made")
    assert command_line.main(["simulate", str(folder / "raw"), "--shape=96x96", "--frames=5", "-q"]) == 0
    assert command_line.main(["mdark", str(folder / "raw/darks.sof"), f"--output={folder / 'reduced'}", "-q"]) == 0
    return folder


def contents(folder):
    """Return all files of a folder but the quality database with their bytes; of a hidden folder its name."""
    paths = [path for path in folder.iterdir() if not path.name.startswith("soxspipe.db")]
    return {path.name: b"" if path.is_dir() else path.read_bytes() for path in paths}


class Night:
    """A copy of the darks and of an older product, in the working directory."""

    def __init__(self, capsys):
        self.capsys = capsys
        self.frames = sorted(Path("raw").glob("SOXS*.fits"))
        self.out = Path("reduced")
        self.sof = Path("raw/darks.sof")
        self.options = ("--output=reduced", "--overwrite")

    def list(self, *lines):
        """Write the set of files anew."""
        self.sof.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def change(self, index, data=None, path=None, **cards):
        """Change pixels or keywords of a frame; its sums are those of what it is now. None removes a keyword."""
        with fits.open(self.frames[index]) as hdus:
            header, pixels = hdus[0].header, hdus[0].data if data is None else data
        for keyword in ("BZERO", "BSCALE"):
            header.remove(keyword, ignore_missing=True)
        for keyword, value in cards.items():
            header.remove(keyword.replace("_", " "), ignore_missing=True)
            if value is not None:
                header[f"HIERARCH {keyword.replace('_', ' ')}" if "_" in keyword else keyword] = value
        fits.PrimaryHDU(pixels, header).writeto(path or self.frames[index], overwrite=True, checksum=True)

    def run(self, *arguments):
        """Run ``mdark``; returns exit code, lines of standard output, and of standard error without their beginning."""
        self.capsys.readouterr()
        code = command_line.main(["mdark", *map(str, arguments or (self.sof,)), *self.options])
        out, err = self.capsys.readouterr()
        lines = err.splitlines()
        assert all(line.startswith(("soxspipe: error: ", "soxspipe: warning: ")) for line in lines)
        return code, out.splitlines(), [line.partition(": ")[2] for line in lines]

    def main(self, *arguments):
        """Run a command; returns exit code and standard error."""
        self.capsys.readouterr()
        return command_line.main(list(map(str, arguments))), self.capsys.readouterr().err

    def refused(self, *faults, arguments=(), code=2):
        """Run, and see that it fails with these faults, a line each, and changes nothing."""
        before = contents(self.out)
        found, out, lines = self.run(*arguments)
        lines = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        assert (found, out) == (code, [])
        assert len(lines) == len(faults), lines
        for fault in faults:
            assert any(re.search(fault, line) for line in lines), (fault, lines)
        assert contents(self.out) == before
        assert not list(Path().rglob(".*.tmp"))

    def reduced(self, *arguments):
        """Run, and return the product's planes and the warnings."""
        code, out, lines = self.run(*arguments)
        assert (code, out) == (0, [f"reduced/{STEM}.fits"]), lines
        assert sorted(contents(self.out)) == FILES
        assert all(line.startswith("warning: ") for line in lines)
        return planes_of(self.out), [line.removeprefix("warning: ") for line in lines]


def planes_of(folder):
    with fits.open(folder / f"{STEM}.fits") as hdus:
        return {hdu.name: hdu.data.copy() for hdu in hdus}


@pytest.fixture
def night(made, tmp_path, monkeypatch, capsys):
    for folder in ("raw", "reduced"):
        shutil.copytree(made / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    return Night(capsys)


def process(*arguments, **options):
    """Run the command line in another process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **options.pop("env", {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    command = [sys.executable, *(arguments if arguments[0] == "-c" else ("-m", "soxspipe", *arguments))]
    return subprocess.run([*options.pop("before", ()), *command], env=environment, **options)


# ---- lists


def test_listed_file_missing(night):
    night.list("gone_1.fits DARK_NIR", *[f"{path.name} DARK_NIR" for path in night.frames], "gone_2.fits DARK_NIR")
    night.refused(r"darks.sof line 1: gone_1.fits does not exist", r"darks.sof line 7: gone_2.fits does not exist")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "lists no file"),
        (b"# DARK\n\n  # nothing\n", "lists no file"),
        (b"\x7fELF\0\0\1", "is a binary or FITS file"),
        (b"SIMPLE  =                    T", "is a binary or FITS file"),
        (b"\xff\xfe\x80\x81", "is not UTF-8 text"),
        (b"#" * (16 * 2**20 + 1), "has more than 16777216 bytes"),
    ],
)
def test_empty_comment_only_or_binary_sof(night, content, fault):
    night.sof.write_bytes(content)
    night.refused(f"raw/darks.sof: {fault}")


def test_more_faults_than_a_terminal_shows(night):
    night.list(*[f"gone_{number}.fits DARK_NIR" for number in range(3000)])
    faults = [rf"line {number}: gone_{number - 1}.fits does not exist" for number in range(1, 21)]
    night.refused(*faults, r"^and 2980 more faults$")


def test_a_list_whose_name_does_not_end_in_sof(night):
    night.sof.rename("raw/darks.txt")
    night.refused(r"darks.txt: not a FITS file.*let its name end in \.sof", arguments=("raw/darks.txt",))


# ---- frames that do not belong together


def test_mixed_exposure_time(night):
    night.change(0, EXPTIME=60.0, ESO_DET_DIT=60.0)
    night.refused(r"10-00-00.*EXPTIME is 60.0, expected 300.0 as in 4 of 5 frames: .*each exposure time on its own")
    for index, time in enumerate((300.0, 300.009, 300.2, 299.9, 300.0)):
        night.change(index, EXPTIME=time, ESO_DET_DIT=time)
    night.reduced()


def test_one_frame_that_differs(night):
    noise = np.random.default_rng(1).normal(0, 5, (96, 96))
    night.change(2, np.rint(fits.getdata(night.frames[2]) + noise).astype(np.uint16))
    _, warnings = night.reduced()
    assert any(line.startswith(f"{night.frames[2].name}: is noisier") for line in warnings)


def test_frames_of_different_temperatures_or_epochs(night):
    night.change(1, ESO_INS_TEMP217_VAL=46.0)
    night.change(3, **{"MJD-OBS": 61800.0, "DATE-OBS": "2028-01-30T00:00:00"})
    _, warnings = night.reduced()
    assert any(re.match(f"{night.frames[1].name}: is warmer than the others by", line) for line in warnings)
    assert any(re.match(f"{night.frames[3].name}: was taken 700 days after the others", line) for line in warnings)


@pytest.mark.parametrize(
    ("cards", "fault"),
    [
        ({"ESO_SEQ_ARM": "VIS"}, "ESO SEQ ARM is 'VIS', expected 'NIR'"),
        ({"INSTRUME": "XSHOOTER"}, "INSTRUME is 'XSHOOTER', expected 'SOXS'"),
        ({"ESO_DET_BINX": 2}, "ESO DET BINX is 2, expected 1"),
        ({"ESO_DET_READ_CURID": 7}, "ESO DET READ CURID is 7, expected 1"),
        ({"ESO_DET_OUT1_CONAD": 9.0}, "ESO DET OUT1 CONAD is 9.0, expected "),
        ({"ESO_DET_DIT": 100.0}, "ESO DET DIT is 100.0, expected 300.0"),
        ({"ESO_DET_NDIT": 3}, "ESO DET NDIT is 3, expected 1"),
        ({"ESO_DET_CHIP_ID": "another"}, "ESO DET CHIP ID is 'another', expected '"),
    ],
)
def test_mixed_arm_instrument_binning_read_mode_gain_dit_ndit_or_detector(night, cards, fault):
    if "ESO_DET_BINX" in cards or "ESO_DET_OUT1_CONAD" in cards or "ESO_DET_CHIP_ID" in cards:
        stated = {"ESO_DET_BINX": 1, "ESO_DET_OUT1_CONAD": 2.3, "ESO_DET_CHIP_ID": "one"}
        for index in range(5):
            night.change(index, **stated)
    night.change(3, **cards)
    night.refused(f"10-15-13.*{fault}.*(leave this frame out|correct the tag)")


def test_mixed_array_size(night):
    with fits.open(night.frames[2]) as hdus:
        night.change(2, hdus[0].data[:, :-4])
    night.refused("10-10-09.*NAXIS1 x NAXIS2 is '92 x 96', expected '96 x 96' as in 4 of 5 frames")


def test_bias_flat_or_product_among_the_darks(night):
    night.change(0, ESO_DPR_TYPE="BIAS")
    night.change(1, ESO_DPR_TYPE="LAMP,FLAT")
    night.change(2, ESO_PRO_CATG="MASTER_DARK_NIR")
    night.refused("ESO DPR TYPE is 'BIAS'", "ESO DPR TYPE is 'LAMP,FLAT'", "ESO PRO CATG is 'MASTER_DARK_NIR'")


def test_tag_and_header_disagree(night):
    names = [path.name for path in night.frames]
    night.list(*[f"{name} DARK_NIR" for name in names[1:]], f"{names[0]} DARK_VIS")
    night.refused("tag is 'DARK_VIS', but ESO SEQ ARM is 'NIR', expected 'VIS': correct the tag, or remove the line")


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_frames(night, count):
    night.refused(f"the input: {count} raw dark.*expected at least 3", arguments=night.frames[:count])


def test_same_file_twice_or_same_pixels(night):
    first, second = night.frames[:2]
    shutil.copy(first, "raw/copy.fits")
    with fits.open(second) as hdus:
        night.change(0, hdus[0].data, path="raw/pixels.fits", ARCFILE="other", **{"MJD-OBS": 61111.5})
    night.list(*[f"{path.name} DARK_NIR" for path in [*night.frames, first]], "copy.fits", "pixels.fits")
    night.refused(
        f"{first.name}.*{first.name}.* are the same file",
        f"{first.name}.*copy.fits.* are the same exposure",
        f"{second.name}.*pixels.fits.* hold the same pixels",
    )


# ---- damaged files


def test_truncated_empty_or_random_bytes(night):
    whole = night.frames[0].read_bytes()
    night.frames[0].write_bytes(whole[:-2881])
    night.frames[1].write_bytes(b"")
    night.frames[2].write_bytes(np.random.default_rng(5).bytes(9000))
    night.frames[3].write_bytes(whole[:2880])
    night.refused(
        r"10-00-00.000.fits: truncated: the header promises \d+ bytes, \d+ are there, 1153 are missing",
        r"10-05-04.500.fits: the file is empty \(0 bytes\)",
        r"10-10-09.000.fits: not a FITS file",
        r"10-15-13.500.fits: truncated: the file ends inside a header",
    )


def test_ten_bad_files_are_ten_lines(night):
    names = []
    for number in range(10):
        names.append(f"bad_{number}.fits")
        Path("raw", names[-1]).write_bytes(b"bad" * number)
    night.list(*[f"{name} DARK_NIR" for name in names])
    night.refused(*[rf"bad_{number}\.fits: " for number in range(10)])


@pytest.mark.parametrize("where", [np.s_[20, 30], np.s_[5:40, 7]])
def test_nan_or_inf_in_some_or_all_frames(night, where):
    for index, value in enumerate((np.nan, np.inf, -np.inf, np.nan, np.nan)):
        with fits.open(night.frames[index]) as hdus:
            data = hdus[0].data.astype(np.float32)
        data[where] = value
        if index == 0:
            data[50, 50] = np.nan
        night.change(index, data)
    planes, _ = night.reduced()
    no_data = np.zeros((96, 96), bool)
    no_data[where] = True
    no_data = no_data[4:92, 4:92]
    assert (planes["QUAL"][no_data] == 2**30).all()
    assert (planes["NCOMBINE"][no_data] == 0).all()
    assert all(np.isnan(planes[name][no_data]).all() for name in ("FLUX", "ERRS", "NOISE"))
    assert planes["NCOMBINE"][46, 46] == 4
    assert np.isfinite(planes["FLUX"][~no_data]).all()


def test_saturated_block(night):
    for index in range(5):
        with fits.open(night.frames[index]) as hdus:
            data = hdus[0].data.copy()
        data[30:60, 30:60] = 65535
        data[:, 77:80] = 65535  # all but one of the columns from which the step to the next amplifier is measured
        night.change(index, data)
    before = planes_of(night.out)["QUAL"]
    planes, _ = night.reduced()
    saturated = planes["QUAL"] & 4096 > 0
    expected = np.zeros_like(saturated)
    expected[26:56, 26:56] = expected[:, 73:76] = True
    np.testing.assert_array_equal(saturated, expected)
    assert np.count_nonzero((planes["QUAL"] != before) & ~saturated) <= 5


def test_compressed_frames_in_a_sof(night):
    expected = planes_of(night.out)
    packed = {".gz": gzip.compress(night.frames[0].read_bytes()), ".Z": pack_lzw(night.frames[1].read_bytes())}
    packed[".fz"] = pack_tiles(night.frames[2])
    packed[".bz2"] = bz2.compress(night.frames[3].read_bytes())
    names = [path.name for path in night.frames]
    for index, (ending, data) in enumerate(packed.items()):
        night.frames[index].with_name(names[index] + ending).write_bytes(data)
        night.frames[index].unlink()
        names[index] += ending
    night.list(*[f"{name} DARK_NIR" for name in names])
    before = contents(Path("raw"))
    planes, warnings = night.reduced()
    assert not warnings
    assert all(np.array_equal(planes[name], expected[name], equal_nan=True) for name in expected)
    assert contents(Path("raw")) == before


def test_a_last_block_without_padding(night):
    expected = planes_of(night.out)
    size = 96 * 96 * 2
    for index in range(4):
        content = night.frames[index].read_bytes()
        data = len(content) - size - -size % 2880
        night.frames[index].write_bytes(content[: data + size] if index % 2 else content + b"junk")
    planes, warnings = night.reduced()
    assert not warnings
    assert all(np.array_equal(planes[name], expected[name], equal_nan=True) for name in expected)
    os.truncate(night.frames[1], data + size - 1)
    night.refused("10-05-04.*: truncated: .*, 1 are missing")


def test_several_images_in_a_file(night):
    with fits.open(night.frames[2]) as hdus:
        primary, image = fits.PrimaryHDU(None, hdus[0].header), fits.ImageHDU(hdus[0].data, name="DATA")
        preview, table = fits.ImageHDU(hdus[0].data[:40, :40], name="PREVIEW"), fits.BinTableHDU(name="LOG")
        for keyword in ("CHECKSUM", "DATASUM"):
            primary.header.remove(keyword)
        fits.HDUList([primary, preview, image]).writeto("several.fits")
        fits.HDUList([primary, image, table]).writeto("one.fits")
    shutil.copy("several.fits", night.frames[2])
    night.refused(r"10-10-09.*: holds 2 images, PREVIEW \(40 x 40\), DATA \(96 x 96\), expected one image")
    shutil.copy("one.fits", night.frames[2])
    planes, warnings = night.reduced()
    assert planes["FLUX"].shape == (88, 88)
    assert not warnings


def test_packed_or_incomplete_files_of_a_folder(night):
    night.frames[4].rename(night.frames[4].with_name("a.fits.xz"))
    night.frames[1].rename(night.frames[1].with_name("b.fits.part"))
    _, warnings = night.reduced("raw")
    assert "a.fits.xz (not read under this name), b.fits.part (not read under this name)" in warnings[0]


def test_a_third_word_and_a_tag_with_a_binning(night):
    night.list(*[f"{path.name} DARK_NIR_1x1 RAW" for path in night.frames])
    assert night.reduced()
    night.change(1, ESO_DET_BINX=2)
    night.refused("10-05-04.*tag is 'DARK_NIR', but ESO DET BINX is 2, expected 1 as in the tag")


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)


def test_wrong_checksum_is_a_warning_or_with_strict_a_refusal(night):
    flip(night.frames[1], -3000)
    flip(night.frames[3], -4000)
    _, warnings = night.reduced()
    assert [line[:29] for line in warnings] == [path.name[:29] for path in (night.frames[1], night.frames[3])]
    assert all("HDU 0 has DATASUM" in line for line in warnings)
    assert all(line in (night.out / f"{STEM}.log").read_text() for line in warnings)
    Path("strict.yaml").write_text("input: {verify-checksums: strict}\n")
    faults = [f"{night.frames[index].name}.*HDU 0 has DATASUM" for index in (1, 3)]
    night.refused(*faults, arguments=(night.sof, "--settings=strict.yaml"))
    flip(night.out / FILES[0], -4000)  # in the last plane, which is not used, then in one that is
    assert command_line.main(["dark-current", f"reduced/{FILES[0]}", "--settings=strict.yaml"]) == 2
    assert "DATASUM" not in night.capsys.readouterr().err
    flip(night.out / FILES[0], 20_000)
    assert command_line.main(["dark-current", f"reduced/{FILES[0]}", "--settings=strict.yaml"]) == 2
    assert "HDU 0 has DATASUM" in night.capsys.readouterr().err


def test_missing_optional_keyword(night):
    for index in range(5):
        night.change(index, ESO_DET_READ_CURID=None, ESO_DET_READ_CURNAME=None, ESO_DET_NDIT=None)
    code, out, lines = night.run()
    assert (code, out) == (0, [f"reduced/{STEM.replace('NIR_1', 'NIR_X')}.fits"])
    assert sorted(line.partition(" is missing in 5 of 5 frames: ")[2] for line in lines) == [
        "1 is assumed",
        "the same read-out mode is assumed",
    ]


def test_missing_required_keyword(night):
    night.change(0, EXPTIME=None)
    night.change(1, INSTRUME=None)
    night.refused("10-00-00.*EXPTIME is missing", "10-05-04.*INSTRUME is missing")


def samples_of(night):
    return [fits.getdata(path).copy() for path in night.frames]


@pytest.mark.parametrize("odd", [0, 3])
def test_mixed_sample_types(night, odd):
    for index, data in enumerate(samples_of(night)):
        data[30:40, 30:40] = 65535
        night.change(index, data.astype(np.float32) if index == odd else data)
    planes, warnings = night.reduced()
    assert np.count_nonzero(planes["QUAL"] & 4096) == 100
    assert re.search(rf"mixed sample types: {re.escape(night.frames[odd].name)} \(BITPIX -32", warnings[0])


def test_bzero_is_missing_or_bscale_is_negative(night):
    for index, data in enumerate(samples_of(night)):
        night.change(index, (data.astype(int) - 32768).astype(np.int16))
    night.refused(*[rf"{path.name}: its level is -\d+ ADU.*BZERO is missing" for path in night.frames])
    with fits.open(night.frames[2], mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"] = -1.0
    night.refused("10-10-09.*BSCALE is '-1.0', expected a number above zero")


def test_clipped_samples(night):
    data = samples_of(night)[3]
    night.change(3, np.maximum(data, np.percentile(data, 20).astype(np.uint16)))
    _, warnings = night.reduced()
    assert any(re.search(r"lowest or highest value: .*10-15-13.*\(2\d % at the lowest", line) for line in warnings)


def test_samples_that_wrapped_around(night):
    for index, data in enumerate(samples_of(night)):
        data[50, 50:53] = 40000
        night.change(index, data.astype(np.int16))
    _, warnings = night.reduced()
    assert any(re.search(r"negative samples: .*10-20-18.*\(6 samples, down to -\d+ ADU", line) for line in warnings)


def test_half_of_every_frame_is_constant(night):
    for index, data in enumerate(samples_of(night)):
        data[:48] = 1000
        night.change(index, data)
    night.refused(*[rf"{path.name}: 50 % of the frame is constant, expected noise in every" for path in night.frames])


@pytest.mark.parametrize(("factor", "constant"), [(1, 5), (1.0005, 0)])
def test_a_copy_plus_a_constant_or_times_a_factor(night, factor, constant):
    night.change(4, np.round(samples_of(night)[1] * factor + constant).astype(np.uint16))
    night.refused("10-05-04.* and SOXS.*10-20-18.* hold the same pixels but for a constant or a factor: leave one")


def test_infinite_huge_or_zero_numbers_in_a_header(night):
    for path in night.frames:
        path.write_bytes(path.read_bytes().replace(b"ESO DET CHIP RON = 7.3  ", b"ESO DET CHIP RON = 1E400"))
    _, lines = night.reduced(night.sof)
    assert "ESO DET CHIP RON is '1E400', expected a number above zero, up to 1e6: it is not used" in lines[0]
    json.loads(Path(f"reduced/{STEM}_qc.json").read_text(), parse_constant=pytest.fail)
    night.change(0, EXPTIME=1e300)
    night.change(1, EXPTIME=0.0)
    night.change(2, ESO_DET_DIT=-5.0)
    night.refused("10-00-00.*EXPTIME is", "10-05-04.*EXPTIME is 0.0", "10-10-09.*ESO DET DIT is -5.0")


def test_dates_that_contradict_each_other(night):
    night.change(0, **{"MJD-OBS": 20000.0})
    _, lines = night.reduced()
    assert "10-00-00" in lines[0]
    assert "MJD-OBS is 20000.0 (1913-08-21T00:00:00.000), but DATE-OBS is '2026-03-01T10:00:00.000'" in lines[0]
    header = fits.getheader(f"reduced/{STEM}.fits")
    assert abs(Time(header["DATE-OBS"]).mjd - header["MJD-OBS"]) * 86400 < 0.001


def test_dates_with_time_zones_or_without_a_time(night):
    for index in range(5):
        night.change(index, **{"MJD-OBS": None, "DATE-OBS": f"2026-03-01T12:0{index}:00+02:00"})
    night.reduced()
    header = fits.getheader(f"reduced/{STEM}.fits")
    assert header["DATE-OBS"] == "2026-03-01T10:00:00.000"
    if shutil.which("fitsverify"):
        verified = subprocess.run(
            ["fitsverify", "-q", f"reduced/{STEM}.fits"], capture_output=True, text=True, check=False
        )
        assert "0 errors" in verified.stdout or "verification OK" in verified.stdout
    for index in range(5):
        night.change(index, **{"DATE-OBS": "2026-03-01", "TIME-OBS": f"10:0{index}:00"})
    night.reduced()
    night.change(3, **{"TIME-OBS": None})
    night.refused("10-15-13.*DATE-OBS is '2026-03-01', expected YYYY-MM-DDThh:mm:ss, or a time in TIME-OBS, UT")


def test_units_of_the_samples(night):
    expected, _ = night.reduced()
    for index, path in enumerate(night.frames):
        night.change(index, fits.getdata(path) * 2.3, BUNIT="electron")
    planes, lines = night.reduced()
    assert any("BUNIT is 'electron': the samples are converted from it" in line for line in lines)
    np.testing.assert_allclose(planes["FLUX"], expected["FLUX"], atol=0.01)
    for index, path in enumerate(night.frames):
        night.change(index, fits.getdata(path) / 2.3 / 300.0, BUNIT="adu/s")
    planes, _ = night.reduced()
    np.testing.assert_allclose(planes["FLUX"], expected["FLUX"], atol=0.01)
    night.change(2, BUNIT="Jy")
    night.refused("10-10-09.*BUNIT is 'Jy', expected ADU")


def test_windows_and_settings_of_the_camera_that_differ(night):
    for index in range(5):
        night.change(index, GAIN=100 if index else 300, ESO_DET_WIN1_STRX=17 if index == 4 else 1)
    night.refused("10-00-00.*GAIN is 300, expected 100 as in 4 of 5", "10-20-18.*ESO DET WIN1 STRX is 17, expected 1")


def test_a_temperature_in_celsius(night):
    for index in range(5):
        night.change(index, ESO_INS_TEMP217_VAL=-233.05)
    _, lines = night.reduced()
    assert "ESO INS TEMP217 VAL is -233.05, below zero kelvin: it is read as Celsius" in lines[0]
    assert fits.getheader(f"reduced/{STEM}.fits")["ESO QC DETECTOR TEMP"] == pytest.approx(40.1)


def test_a_master_whose_errors_are_zero(night):
    night.run()
    shutil.copy(f"reduced/{STEM}.fits", "other.fits")
    with fits.open("other.fits", mode="update") as hdus:
        hdus[0].header["ESO QC EXPOSURE"] = 900.0
        hdus[0].header["DATAMD5"], hdus[0].header["ESO PRO REC1 RAW1 NAME"] = "0", "another.fits"
        hdus["ERRS"].data[...] = 0.0
    night.capsys.readouterr()
    assert command_line.main(["dark-current", f"reduced/{STEM}.fits", "other.fits", "--output=rates"]) == 2
    _, err = night.capsys.readouterr()
    assert "other.fits 0): leave the worst one out" in err
    assert not list(Path().rglob("*_DRATE_*"))


def test_a_frame_that_is_dead(night):
    night.change(2, np.zeros((96, 96), np.uint16))
    night.refused("10-10-09.*do not scatter, expected read noise: it is dead or saturated")
    for index in range(3):  # only the dead frames are refused, even when they are the majority
        night.change(index, np.full((96, 96), 1000 + index, np.uint16))
    night.refused("10-00-00.*do not scatter", "10-05-04.*do not scatter", "10-10-09.*do not scatter")


def test_names_with_spaces_quotes_newlines_or_unicode_links_and_folders(night):
    names = ["a b.fits", "it's.fits", 'say "dark".fits', "ünï 暗.fits", "$(touch pwned).fits"]
    for path, name in zip(night.frames, names, strict=True):
        path.rename(path.with_name(name))
    Path("raw", names[0]).rename("elsewhere.fits")
    Path("raw", names[0]).symlink_to(Path("elsewhere.fits").absolute())
    expected = planes_of(night.out)
    night.list("'a b.fits' DARK_NIR", '"it\'s.fits"', "'say \"dark\".fits'", "'ünï 暗.fits'", "'$(touch pwned).fits'")
    planes, _ = night.reduced()
    assert np.array_equal(planes["FLUX"], expected["FLUX"])
    header = fits.getheader(night.out / f"{STEM}.fits")
    assert header["ESO PRO REC1 RAW4 NAME"] == "%C3%BCn%C3%AF %E6%9A%97.fits"
    night.reduced(*[Path("raw", name) for name in names])
    Path("raw/x.fits").mkdir()
    Path("raw/loop.fits").symlink_to("loop.fits")
    Path("raw/fifo.fits")
    os.mkfifo("raw/fifo.fits")
    night.list(*["x.fits", "fifo.fits"], *[f'"{name}"' for name in names[1:2]])
    night.refused("x.fits: is a folder", "fifo.fits: is not a regular file")
    night.list("loop.fits")
    night.refused("loop.fits cannot be read .Too many levels of symbolic links")
    shutil.copy("elsewhere.fits", "raw/new\nline.fits")
    night.refused(r"raw/new\\nline.fits' has control characters: rename it", arguments=("raw/new\nline.fits",))
    night.refused(r"'new\\nline.fits' holds a control character", arguments=("raw",))
    assert not Path("pwned").exists()


def header_with(night, *cards):
    """Put cards as they are in front of the end of a frame's header."""
    data = night.frames[0].read_bytes()
    end = next(start for start in range(0, len(data), 80) if data.startswith(b"END     ", start))
    pixels = data[-(-end // 2880) * 2880 :]
    header = data[:end] + b"".join(card.ljust(80) for card in cards) + b"END".ljust(80)
    night.frames[0].write_bytes(header + b" " * (-len(header) % 2880) + pixels)


@pytest.mark.parametrize(
    ("cards", "fault"),
    [
        ([b"CONTINUE  'x&'"] * 3000, "3000 odd or continued cards in its header, expected at most 2000"),
        ([b"HISTORY again"] * 100_000, "more than 4194304 bytes of header"),
    ],
)
def test_headers_that_are_too_long(night, cards, fault):
    header_with(night, *cards)
    night.refused(fault)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"NAXIS   =                    2", b"NAXIS   =                  999", "NAXIS is 999"),
        (b"NAXIS1  =                   96", b"NAXIS1  =           1000000000", "truncated: the header promises"),
        (b"BITPIX  =                   16", b"BITPIX  =                   17", "BITPIX is '17'"),
        (b"BZERO   =                32768", b"BZERO   =                'abc'", "BZERO is 'abc'"),
    ],
)
def test_headers_that_promise_the_impossible(night, old, new, fault):
    data = night.frames[0].read_bytes()
    assert data.count(old) == 1
    night.frames[0].write_bytes(data.replace(old, new))
    night.refused(fault)


def test_headers_that_would_disturb_a_terminal_or_a_page(night):
    night.change(0, OBJECT="<script>alert(1)</script>", ESO_OBS_NAME="x" * 3000)
    data = night.frames[0].read_bytes()
    night.frames[0].write_bytes(data.replace(b"ESO DPR TYPE = 'DARK", b"ESO DPR TYPE = '\x1b[3m"))
    night.refused(r"ESO DPR TYPE is '(\?|\\x1b)\[3")


# ---- settings


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("!!python/object/apply:os.system ['touch pwned']", "tags are not read"),
        ("a: &a [1,2]\nb: *a", "anchors and aliases are not read"),
        ("a: " + "[" * 2000, "not usable YAML"),
        ("soxs-mdark: {minimum-frames: x}", "minimum-frames is 'x', expected a whole number"),
        ("soxs-mdark: {minimum-frame: 3}", "did you mean 'minimum-frames'"),
        ("mdark: {}\nsoxs-mdark: {}", "soxs-mdark is the old name of mdark, which is given too: keep one"),
        ("#" * 2**20 + "#", "more than 131072 bytes"),
        ("instruments: {table: none.yaml}", "none.yaml: not readable"),
        ("instruments: {table: bad.yaml}", r"bad.yaml: found \['a'\], expected"),
        (
            "instruments: {table: worse.yaml}",
            "worse.yaml: match: INSTRUME is \\[\\], expected a list of one value at least",
        ),
    ],
)
def test_settings_that_are_wrong_or_explode(night, text, fault):
    Path("bad.yaml").write_text("[a]\n")
    table = Path(keywords.__file__).with_name("soxs.yaml").read_text(encoding="utf-8")
    Path("worse.yaml").write_text(table.replace("instrume: [SOXS]", "instrume: []"), encoding="utf-8")
    Path("my.yaml").write_text(text)
    night.refused(fault, arguments=(night.sof, "--settings=my.yaml"))
    assert not Path("pwned").exists()


@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="needs a pseudo-file that waits for its content")
def test_a_pseudo_file_that_waits_for_its_content(night):
    Path("l.sof").symlink_to("/proc/kmsg")
    Path("s.yaml").write_text("instruments: {table: /proc/kmsg}")
    night.refused("", arguments=("l.sof",))
    night.refused("/proc/kmsg: ", arguments=(night.sof, "--settings=/proc/kmsg"))
    night.refused("/proc/kmsg: ", arguments=(night.sof, "--settings=s.yaml"))


def test_a_path_of_1500_folders(night):
    deep = "d/" * 1500
    fault = "has more than 250 folders: choose a shorter path"
    for arguments in ((deep,), (night.sof, f"--settings={deep}")):
        night.refused(fault, arguments=arguments)
    night.options = (f"--output={deep}",)
    night.refused(fault)


@pytest.mark.parametrize(
    ("permissions", "as_folder", "fault"),
    [
        (0, False, r"darks.sof line 1: raw/closed/a.fits cannot be read \(Permission denied\)"),
        (0, True, "raw/closed: .*Permission denied"),
        (0o744, True, r"raw/closed/a.fits: cannot be read \(Permission denied\)"),  # names can be listed
    ],
)
def test_a_folder_that_may_not_be_entered(permissions, as_folder, fault, night):
    night.frames[0].with_name("closed").mkdir()
    Path("raw/closed/a.fits").touch()
    Path("raw/closed").chmod(permissions)
    night.list("closed/a.fits DARK_NIR")
    user = os.geteuid()
    for folder in (Path(), *Path().absolute().parents)[: 5 * (user == 0)]:
        folder.chmod(folder.stat().st_mode | 0o011)
    if user == 0:
        os.seteuid(65534)
    try:
        code, _, lines = night.run("raw/closed" if as_folder else night.sof)
    finally:
        os.seteuid(user)
        Path("raw/closed").chmod(0o700)
    assert code == 2
    assert re.search(fault, lines[0]), lines


def test_settings_that_are_no_file(night):
    os.mkfifo("fifo")
    night.refused("fifo: not readable: not a regular file", arguments=(night.sof, "--settings=fifo"))
    night.refused("raw: not readable: Is a directory", arguments=(night.sof, "--settings=raw"))
    night.refused("none: not readable: No such file", arguments=(night.sof, "--settings=none"))


# ---- the output folder


def test_output_folder_missing(night):
    night.options = ("--output=new/folder",)
    assert night.run()[:2] == (0, [f"new/folder/{STEM}.fits"])


def test_a_file_where_the_output_folder_should_be(night):
    Path("file").write_text("mine")
    for name in ("file", "file/deeper"):
        night.options = (f"--output={name}",)
        night.refused(rf"{name}: cannot be a folder \((File exists|Not a directory)\)")
    assert Path("file").read_text() == "mine"


def test_a_name_that_no_output_folder_can_have(night):
    Path("loop").symlink_to("loop")
    for name, words in (
        ("x" * 300, "File name too long"),
        ("loop", "File exists|levels of symbolic links"),
        ("loop/a", "levels of symbolic links"),
    ):
        night.options = (f"--output={name}",)
        night.refused(f"^{name}: .*{words}.*: choose another output folder")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["frame", "map", "list", "settings"])
def test_an_input_is_never_replaced_by_the_product(night, what, name):
    """A file of the product has the name of an input, or of a link to one, in the output folder."""
    target = night.out / name
    target.unlink()
    if what == "settings":
        target.write_text("{}")
        night.options = (*night.options, f"--settings={target}")
    elif what == "map":
        card = fits.Header(
            [("INSTRUME", "SOXS"), ("HIERARCH ESO SEQ ARM", "NIR"), ("HIERARCH ESO PRO CATG", "BP_MAP_RP_NIR")]
        )
        fits.PrimaryHDU(np.zeros((88, 88), np.uint8), card).writeto("map.fits")
        target.hardlink_to("map.fits")
        with night.sof.open("a") as sof:
            sof.write("../map.fits BP_MAP_RP_NIR\n")
    else:
        target.symlink_to((night.frames[0] if what == "frame" else night.sof).absolute())
    night.refused(rf"{name}: is the input .*, which is never replaced: choose another output folder")


def test_an_older_product_without_overwrite(night):
    night.options = ("--output=reduced",)
    night.refused(rf"reduced/{STEM}\.fits: exists already and was left alone")
    for name in FILES[1:]:
        (night.out / name).unlink(missing_ok=True)
    (night.out / FILES[0]).rename(night.out / FILES[1])
    night.refused(rf"reduced/{STEM}\.log: exists already and was left alone")


def namespace(script, *arguments):
    """Run a script where it may mount file systems, if this machine allows that."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs a namespace to mount file systems in")
    return process("-c", textwrap.dedent(script), *map(str, arguments), before=["unshare", "-rm"])


ON_SMALL_DISKS = """
import os, subprocess, sys
from soxspipe.cli.command_line import main
os.mkdir("disk")
for size in map(int, sys.argv[1:]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", "disk"], check=True)
    code = main(["mdark", "raw/darks.sof", "--output=disk/new", "--no-report"])
    print(size, code, sorted(os.listdir("disk")))
    if code == 0:
        print(sorted(name for name in os.listdir("disk/new") if name != "soxspipe.db"))
    subprocess.run(["umount", "disk"], check=True)
"""


def test_disk_full(night):
    sizes = (4, 100, 180, 200, 4096)
    run = namespace(ON_SMALL_DISKS, *sizes)
    lines = [line for line in run.stdout.splitlines() if not line.startswith("disk/")]
    assert lines == [f"{size} 1 []" for size in sizes[:-1]] + ["4096 0 ['new']", str(FILES)]
    error = "soxspipe: error: disk/new: No space left on device: nothing was written; choose another output folder"
    assert run.stderr.splitlines() == [error] * 4


def test_file_size_limit(night):
    """As a quota does, it strikes in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        night.refused("reduced: File too large: nothing was written", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EDQUOT, "Disk quota exceeded"), (errno.EIO, "Input/output error")]
)
def test_quota_and_broken_disks(night, monkeypatch, number, words):
    def fails(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    night.refused(f"reduced: {words}: nothing was written", code=1)


def test_no_room_to_unpack(night):
    script = """
    import gzip, os, subprocess
    from pathlib import Path
    from soxspipe.cli.command_line import main
    os.mkdir("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "small"], check=True)
    os.environ["TMPDIR"] = "small"
    for path in sorted(Path("raw").glob("SOXS*")):
        path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    print(main(["mdark", *map(str, sorted(Path("raw").glob("*.gz"))), "--output=new"]), os.path.exists("new"))
    """
    run = namespace(script)
    assert run.stdout == "1 False\n"
    assert re.fullmatch(r"soxspipe: error: .*small: cannot unpack SOXS.*No space left.*set TMPDIR.*\n", run.stderr)


def test_output_folder_read_only(night):
    script = """
    import os, subprocess
    from soxspipe.cli.command_line import main
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "reduced"], check=True)
    print(main(["mdark", "raw/darks.sof", "--output=reduced", "--no-report"]))
    print(main(["mdark", "raw/darks.sof", "--output=reduced/new", "--no-report"]))
    """
    run = namespace(script)
    assert run.stdout == "1\n1\n"
    assert [line.split(": ")[2:4] for line in run.stderr.splitlines()] == [
        ["reduced", "Read-only file system"],
        ["reduced/new", "Read-only file system"],
    ]


# ---- the machine


@pytest.mark.parametrize(
    "home", ["/dev/null", *[pytest.param(home, marks=pytest.mark.slow) for home in (None, "/no/home")]]
)
def test_missing_home_and_caches_that_cannot_be_written(night, home):
    caches = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home}
    Path("my.yaml").write_text("soxs-mdark: {minimum-frames: 4}\n")
    run = process("mdark", "raw/darks.sof", "--output=new", "--settings=my.yaml", env=caches)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"new/{STEM}.fits\n", "")
    assert sorted(path.name for path in Path().iterdir()) == ["my.yaml", "new", "raw", "reduced"]


@pytest.mark.parametrize("content", ["[[[broken\n", "[logger]\nlog_level = 77\n", "\\udcff"])
def test_an_astropy_configuration_that_is_broken(night, content):
    Path("home/.astropy/config").mkdir(parents=True)
    Path("home/.astropy/config/astropy.cfg").write_bytes(content.encode("utf-8").replace(b"\\udcff", b"\xff\xff"))
    run = process("mdark", "raw/darks.sof", "--output=new", env={"HOME": "home", "XDG_CONFIG_HOME": None})
    assert (run.returncode, run.stdout, os.path.exists("new")) == (1, "", False)
    assert re.fullmatch(r"soxspipe: error: .*astropy cannot read its configuration file: correct .*\n", run.stderr)


def test_a_working_directory_that_was_removed(night, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in ("qc", "trend"):
        assert night.main(command) == (1, "soxspipe: error: working directory: No such file or directory\n")


@pytest.mark.parametrize("level", [1, 2])
def test_optimised_python(night, level):
    run = process("mdark", "raw/darks.sof", "--output=new", env={"PYTHONOPTIMIZE": str(level)})
    if level == 1:
        assert (run.returncode, run.stdout, run.stderr) == (0, f"new/{STEM}.fits\n", "")
    else:
        assert (run.returncode, run.stderr.count("\n"), os.path.exists("new")) == (1, 1, False)
        assert "python -OO removes docstrings" in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep these limits")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
@pytest.mark.parametrize("megabytes", [100, 170, None])
def test_a_memory_limit_below_the_need_of_the_libraries(night, limit, megabytes):
    """Below it OpenBLAS would ask for memory without end; with what is asked for, a small set is reduced."""
    number = getattr(resource, limit)
    (needed,) = [needed for kind, _, needed in MEMORY_LIMITS if kind == number]
    enough = megabytes is None
    script = (
        f"import resource; resource.setrlimit({number}, ({(megabytes or needed) * 10**6},) * 2); "
        "from soxspipe.__main__ import main; main()"
    )
    run = process("-c", script, "mdark", "raw/darks.sof", "--output=new", timeout=60)
    assert (run.returncode, os.path.exists("new")) == (0 if enough else 1, enough)
    if not enough:
        words = (
            r"soxspipe: error: not enough memory: the .* is limited to \d+ MB, expected \d+ MB .*: raise the limit\n"
        )
        assert re.fullmatch(words, run.stderr)


def test_a_home_that_may_not_be_entered(night):
    script = """
    import os, sys
    from soxspipe.__main__ import run
    may, home = os.access, os.environ["HOME"]
    os.access = lambda path, mode: path != home and may(path, mode)
    code = run()
    print("HOME" in os.environ)
    sys.exit(code)
    """
    arguments = ["mdark", "raw/darks.sof", "--output=new"]
    run = process("-c", textwrap.dedent(script), *arguments, env={"HOME": str(Path("raw").absolute())})
    assert (run.returncode, run.stdout, run.stderr) == (0, f"new/{STEM}.fits\nFalse\n", "")


@pytest.mark.slow
def test_five_hundred_frames_with_64_file_descriptors(night):
    assert night.main("simulate", "many", "--shape=48x48", "--frames=500", "-q") == (0, "")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        night.options = ("--output=new",)
        code, out, _ = night.run("many/darks.sof")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (code, out) == (0, [f"new/{STEM}.fits"])
    assert (planes_of(Path("new"))["NCOMBINE"] > 450).mean() > 0.99


NO_MEMORY = "not enough memory: close other programs, raise the limit, or choose --workers=1"
SHORT_OF_MEMORY = """
import os, resource, sys
from pathlib import Path
from soxspipe.cli.command_line import main
assert main(["mdark", "raw/darks.sof", "--output=warm", "--no-report", "--workers=1", "-q"]) == 0
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for more in (0, 2, 8, 16, 32):
    sys.stdout.flush()
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_AS, (used + more * 2**20,) * 2)
        code = main(["mdark", "large/darks.sof", "--output=new", "--no-report"])
        print(more, code, os.path.exists("new"), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs the size of a process")
def test_memory_limit(night):
    assert night.main("simulate", "large", "--shape=768x768", "--frames=3", "-q") == (0, "")
    run = process("-c", SHORT_OF_MEMORY)
    results = [line.split() for line in run.stdout.splitlines() if not line.startswith(("warm/", "new/"))]
    assert len(results) == 5, run.stderr
    assert results[0][1:] == ["1", "False"]
    assert all((code, there) in (("1", "False"), ("0", "True")) for _, code, there in results)
    assert set(run.stderr.splitlines()) == {f"soxspipe: error: {NO_MEMORY}"}


@pytest.fixture
def at_progress(monkeypatch):
    """Return a function that has something done when the first pixels have been read."""

    def install(action):
        waiting = [action]

        def show(done, total):
            if waiting:
                waiting.pop()()

        monkeypatch.setattr(terminal.Terminal, "progress", lambda self, label: show)

    return install


@pytest.fixture
def at_second_read(monkeypatch):
    """Return a function that has something happen to the third frame just before it is opened again."""

    def happen(what):
        rows, seen = PixelReader.read_rows, []

        def reading(self, index, start, stop):
            seen.append(index)
            if index == 2 and seen.count(2) == 2:
                what(self.images[2].path)
            return rows(self, index, start, stop)

        monkeypatch.setattr(PixelReader, "read_rows", reading)

    return happen


def test_a_frame_that_is_replaced_while_it_is_read(night, at_second_read):
    def replace(path):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)

    at_second_read(replace)
    night.refused("10-10-09.000.fits: changed while it was read: start again when it is complete")


def test_a_frame_that_is_removed_while_it_is_read(night, at_second_read):
    at_second_read(lambda path: path.unlink(missing_ok=True))
    night.refused("10-10-09.000.fits: cannot be read .No such file or directory.")


@pytest.mark.parametrize(
    ("signum", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminated")],
)
def test_sigint_sigterm_or_sighup(night, at_progress, signum, code, word):
    for output in ("reduced", "new/deeper"):
        at_progress(lambda: signal.raise_signal(signum))
        night.options = (f"--output={output}", "--overwrite")
        with signals_as_exceptions():
            night.refused(word, code=code)
    assert not Path("new").exists()


def test_a_signal_after_the_last_line(night):
    script = """
    import atexit, os, signal, sys
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
        atexit.register(os.kill, os.getpid(), signum)
    sys.argv = ["soxspipe", "--version"]
    from soxspipe.__main__ import main
    main()
    """
    run = process("-c", textwrap.dedent(script))
    assert (run.returncode, run.stderr) == (0, "")


#: Python runs this when each process begins: the one that is about to commit the second product is killed.
KILLED_AT_COMMIT = """
import os, signal
from soxspipe.products.product_files import Product
commit = Product.commit
def die_of_the_second(product):
    if product.stem.startswith("20260301T1005"):
        os.kill(os.getpid(), signal.SIGKILL)
    return commit(product)
Product.commit = die_of_the_second
"""


def test_one_of_several_reductions_is_killed(night):
    sofs = []
    for first in range(3):  # each begins with another frame, and so has a product of another name
        sofs.append(Path(f"{first}.sof"))
        sofs[first].write_text("".join(f"{frame} DARK_NIR\n" for frame in night.frames[first:]))
    Path("site").mkdir()
    Path("site/sitecustomize.py").write_text(KILLED_AT_COMMIT)
    night.options = ("--output=several", "--workers=2", "--no-report")
    run = process("mdark", *map(str, sofs), *night.options, "-q", env={"PYTHONPATH": f"site{os.pathsep}{ROOT}"})
    assert (run.returncode, len(run.stdout.splitlines())) == (1, 2)
    assert run.stderr == "soxspipe: error: 1.sof: its process was killed: where memory is short, choose --workers=1\n"
    # files that it could not remove are hidden
    assert len([name for name in contents(Path("several")) if not name.startswith(".")]) == 2 * 4
    code, out, _ = night.run(sofs[1])
    assert (code, len(out)) == (0, 1)
    assert len(contents(Path("several"))) == 3 * 4


#: Runs replace a product of five frames by one of four and the other way round. The first is killed before the first
#: call that changes a file or folder, the second before the second call, and so on until one ends by itself.
KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from soxspipe.cli.command_line import main
from tests.test_reliability import state_of
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "sqlite3.connect"}
frames = sorted(map(str, Path("raw").glob("SOXS*")))
options = ["--output=reduced", "--no-report", "--overwrite", "-q"]
assert main(["mdark", *frames, *options]) == 0
state = [5]
for number in itertools.count():
    if (child := os.fork()) == 0:
        calls = itertools.count()
        def count(event, arguments):
            writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in CHANGES) and next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.addaudithook(count)
        code = main(["mdark", *frames[:9 - state[0]], *options])
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert main(["mdark", *frames, "--output=reduced", "-q"]) == 2  # it looks, and leaves the product alone
    state = state_of(Path("reduced"))
    print(code, state, flush=True)
    if code != -signal.SIGKILL or state not in ([4], [5]):
        break
"""


def state_of(folder):
    """Return how many frames the files of a product are of, one number where they are a set; hidden files too."""
    names = sorted(contents(folder))
    if names != FILES:
        return names
    found = set()
    for name in names:
        path = folder / name
        if path.suffix == ".fits":
            with fits.open(path, checksum=True) as hdus:
                found.add(hdus[0].header["ESO PRO DATANCOM"])
        elif path.suffix == ".log":
            found.add(int(re.search(r"(\d) frames of", path.read_text())[1]))
    return sorted(found)


def test_kill_9_at_any_moment(night):
    """Between two calls that change files, nothing on disk changes but hidden files grow."""
    run = process("-c", KILLED, cwd=Path.cwd(), env={"PYTHONPATH": f"{ROOT}"}, timeout=300)
    results = [line.partition(" ") for line in run.stdout.splitlines() if not line.startswith("reduced/")]
    codes, states = [code for code, *_ in results], [state for *_, state in results]
    assert len(codes) > 20, run.stderr
    assert codes == [str(-signal.SIGKILL)] * (len(codes) - 1) + ["0"]
    assert set(states) == {"[4]", "[5]"}


#: Starts pairs of runs that write the same product, and prints the state of the folder after each. Both begin at the
#: same time to give the files their names.
TWO_AT_ONCE = """
import multiprocessing, os, shutil, sys
from pathlib import Path
from soxspipe.cli.command_line import main
from soxspipe.products.product_files import Product
from tests.test_reliability import state_of
commit = Product.commit
def commit_at_once(product):
    barrier.wait(60)
    return commit(product)
frames = sorted(map(str, Path("raw").glob("SOXS*")))
assert main(["mdark", *frames, "--output=warm", "--no-report", "-q"]) == 0
Product.commit = commit_at_once
rounds = int(sys.argv[1])
for number in range(2 * rounds):
    options = ["--overwrite"] if number < rounds else []
    children = []
    barrier = multiprocessing.get_context("fork").Barrier(2)
    for kept in (4, 5):
        if (child := os.fork()) == 0:
            os.dup2(os.open(f"printed_{kept}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = main(["mdark", *frames[:kept], "--output=both", "--no-report", "-q", *options])
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    printed = [line for kept in (4, 5) for line in Path(f"printed_{kept}").read_text().splitlines()]
    print(codes, state_of(Path("both")), printed, sep="|")
    shutil.rmtree("both")
"""


@pytest.mark.parametrize("rounds", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_two_runs_write_the_same_product_at_once(night, rounds):
    run = process("-c", TWO_AT_ONCE, str(rounds), cwd=Path.cwd(), timeout=300)
    results = [line.split("|") for line in run.stdout.splitlines() if line.startswith("[")]
    assert len(results) == 2 * rounds, run.stderr
    for codes, state, printed in results[:rounds]:  # with --overwrite the later one wins
        assert (codes, printed) == ("[0, 0]", "[]")
        assert state in ("[4]", "[5]")
    for codes, state, printed in results[rounds:]:
        # one wins; the other fails at the end of its work
        first, second = map(int, codes.strip("[]").split(", "))
        assert sorted((first, second)) == [0, 1]
        assert state == ("[4]" if first == 0 else "[5]")
        assert "another run wrote this product" in printed
        assert printed.count("soxspipe: error:") == 1


# ---- promises


def test_order_of_the_lines_changes_no_pixel_and_inputs_stay_as_they_are(night):
    expected = planes_of(night.out)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("raw").iterdir()}
    for path in night.frames:
        path.chmod(0o444)
    planes, _ = night.reduced(*reversed(night.frames))
    assert all(np.array_equal(planes[name], expected[name], equal_nan=True) for name in expected)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("raw").iterdir()} == before


def test_another_number_of_workers_changes_no_pixel(night):
    expected = planes_of(night.out)
    for number in (1, 3):
        output = f"by{number}"
        assert command_line.main(["mdark", "raw", f"--workers={number}", f"--output={output}", "-q"]) == 0
        planes = planes_of(Path(output))
        assert all(np.array_equal(planes[name], expected[name], equal_nan=True) for name in expected)


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="needs the program fitsverify")
def test_every_product_passes_fitsverify(night):
    night.change(0, ESO_OBS_NAME="x" * 200)
    night.reduced()
    assert command_line.main(["simulate", "short", "--shape=96x96", "--exptime=60", "--frames=3", "-q"]) == 0
    assert command_line.main(["mdark", "short/darks.sof", "--output=reduced", "-q"]) == 0
    masters = sorted(str(path) for path in night.out.glob("*S_SOXS.fits"))
    assert len(masters) == 2
    assert command_line.main(["dark-current", *masters, "--output=reduced", "-q"]) == 0
    products = sorted(str(path) for path in night.out.glob("*.fits"))
    assert len(products) == 5
    run = subprocess.run(["fitsverify", "-q", *products], capture_output=True, text=True)
    assert run.stdout.count("verification OK") == 5, run.stdout
    assert run.returncode == 0


# ---- the page


def test_page_and_tests_name_the_same_rows():
    rows = re.findall(r"^     - ``(\w+)``$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    tests = set(re.findall(r"^def test_(\w+)\(", text, re.MULTILINE))
    here = set(re.findall(r"^def test_(\w+)\(", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert len(rows) == len(set(rows))
    assert set(rows) <= tests
    assert here - set(rows) == {"page_and_tests_name_the_same_rows"}


# ---- what the other commands read and write ----


def test_a_qc_file_that_is_damaged_or_of_another_product(night):
    qc, product = night.out / f"{STEM}_qc.json", night.out / f"{STEM}.fits"
    document = json.loads(qc.read_text())
    assert night.main("mdark", night.sof, "--output=reduced", "--resume") == (0, "")
    damaged = [b"", b"[]", b"\xff\xfe", b"{" * 10**5, json.dumps(document | {"product": "other.fits"}).encode(), None]
    for content in damaged:
        qc.unlink()
        os.mkfifo(qc) if content is None else qc.write_bytes(content)
        for command in (["report", product], ["mdark", night.sof, "--output=reduced", "--resume"]):
            code, err = night.main(*command)
            assert (code, len([line for line in err.splitlines() if ": error: " in line])) == (2, 1), (content, err)
        assert night.main("qc", "new.db", "--import=reduced")[0] == 1


def test_a_backend_of_matplotlib_that_does_not_exist(night):
    command = [sys.executable, "-m", "soxspipe", "report", f"reduced/{STEM}.fits"]
    environment = {**os.environ, "MPLBACKEND": "none", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("MPLBACKEND"), done.stderr.count("\n")) == (1, 1, 1), done.stderr


def test_planes_of_another_size_have_no_report(night):
    path = night.out / f"{STEM}.fits"
    with fits.open(path) as hdus:
        hdus["ERRS"].data = hdus["ERRS"].data[:5]
        hdus.writeto("new.fits", checksum=True)
    shutil.move("new.fits", path)
    code, err = night.main("report", path)
    assert (code, "ERRS (88 x 5) has another size than FLUX (88 x 88)" in err) == (2, True), err


def test_a_list_of_products_replaces_nothing_but_a_list(night):
    before = contents(Path("raw"))
    code, err = night.main("mdark", "raw", *night.options, f"--products-sof={night.frames[0]}")
    assert (code, "let it end in .sof" in err) == (2, True), err
    assert contents(Path("raw")) == before


def test_a_device_or_pipe_is_never_replaced(night):
    os.mkfifo("list.sof")
    code, err = night.main("mdark", night.sof, *night.options, "--products-sof=list.sof")
    assert (code, "list.sof: is a device, pipe or socket" in err) == (2, True), err
    for path, command in (("trend.html", ["trend", "reduced", "-o"]), ("x.db", ["qc", "--import=reduced"])):
        os.mkfifo(path)
        assert night.main(*command, path)[0] == 2
        assert sorted(Path().glob(f"{path}*")) == [Path(path)]
        assert Path(path).is_fifo()


def test_two_inputs_of_one_product(night):
    shutil.copy(night.frames[0], "a.fits")
    night.change(0, path="b.fits", data=fits.getdata(night.frames[0]) + 1)
    dark = f"--dark={night.out / STEM}.fits"
    code, err = night.main("subtract-dark", "a.fits", "b.fits", dark, "--output=sub", "--overwrite", "--workers=1")
    assert (code, "a.fits and b.fits give the same product" in err) == (1, True), err


@pytest.mark.parametrize(
    "change",
    ["mjd_obs = 'x'", "mjd_obs = 1e308", "mjd_obs = 9e999", "path = X'00ff'", "columns = 'a'", "frames = 1e30"],
)
def test_a_database_whose_rows_are_damaged(night, change):
    assert night.main("qc", "x.db", "--import=reduced")[0] == 0
    with contextlib.closing(sqlite3.connect("x.db")) as connection, connection:
        connection.execute(f"UPDATE products SET {change}")
    for command in (["qc", "x.db"], ["trend", "x.db"]):
        code, err = night.main(*command)
        assert (code, err.count("table products: "), err.count("\n")) == (2, 1, 1), err


def test_a_product_that_is_not_whole_does_not_count_as_made(night):
    paths = {name: night.out / name for name in FILES}
    whole = {name: path.read_bytes() for name, path in paths.items()}
    main, log, bad_pixels, _ = FILES
    changed = bytearray(whole[main])
    changed[-6000] ^= 1
    damages = [(main, whole[main][:-6000]), (main, bytes(changed)), (log, None), (log, whole[log][:-4])]
    damages += [(bad_pixels, None), (bad_pixels, whole[bad_pixels][:-6000])]
    for name, content in damages:
        paths[name].unlink()
        if content is not None:
            paths[name].write_bytes(content)
        code, err = night.main("mdark", night.sof, "--output=reduced", "--resume")
        assert (code, err.count("is damaged, and does not count as made: ")) == (2, 1), (name, err)
        paths[name].write_bytes(whole[name])
    paths[bad_pixels].unlink()
    code, err = night.main("mdark", night.sof, *night.options, "--resume")
    assert (code, err.count("made: its bad-pixel map is missing"), err.count("\n")) == (0, 1, 1), err
    assert sorted(contents(night.out)) == sorted(FILES)


def test_a_page_that_is_no_report_is_never_replaced(night):
    page = night.out / f"{STEM}.html"
    page.write_text("<html>mine</html>")
    commands = [("report", night.out / f"{STEM}.fits"), ("mdark", night.sof, *night.options, "--no-report")]
    for command in commands:
        code, err = night.main(*command)
        assert (code, err.count(f"{page}: exists and was not made by this command"), err.count("\n")) == (2, 1, 1), err
    assert page.read_text() == "<html>mine</html>"
    page.unlink()
    for _ in range(2):
        assert night.main(*commands[0]) == (0, "")


def test_a_row_that_a_run_could_not_write_is_added_by_the_next(night, monkeypatch):
    monkeypatch.setattr("soxspipe.database.connection.BUSY_S", 0.1)
    database = night.out / "soxspipe.db"
    database.unlink()
    QualityDatabase(database).add_records([])
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, err = night.main("mdark", *night.frames[1:], "--output=reduced")
        assert (code, err.count("warning: "), "has kept it busy" in err) == (0, 1, True), err
        assert night.main("qc", database, "--import=reduced")[0] == 1
        other.execute("ROLLBACK")
    assert QualityDatabase(database).products() == []
    assert night.main("mdark", *night.frames[2:], "--output=reduced") == (0, "")
    assert len(QualityDatabase(database).products()) == 3
