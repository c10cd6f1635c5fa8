from __future__ import annotations

import dataclasses
import os
import pickle
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import (
    FrameError,
    InputError,
    MixedFramesError,
    SetOfFilesError,
    SoxspipeError,
    TooFewFramesError,
)
from soxspipe.fits_files.pixel_reader import PixelReader
from soxspipe.inputs import classify as classify_module
from soxspipe.inputs import set_of_files as sof_module
from soxspipe.inputs.frame_kinds import MASTER_BIAS, STATIC_MAP, FrameKind
from soxspipe.inputs.raw_frames import FrameSet
from soxspipe.inputs.raw_frames import collect_frames as collect_frames_of
from soxspipe.inputs.set_of_files import SofEntry, parse_sof
from soxspipe.instruments import keywords as keywords_module
from soxspipe.recipes import soxs_mdark
from tests.raw_frames import SHAPES

collect_frames = partial(collect_frames_of, kind=soxs_mdark.kind)


@pytest.fixture
def darks(make_frame) -> list[Path]:
    return [make_frame(f"{name}.fits") for name in "abcd"]


def sof(folder: Path, text: str | bytes, name: str = "darks.sof") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(kind: type[SoxspipeError], *arguments, **options) -> list[str]:
    """Collect what must be refused as this class; returns the faults."""
    with pytest.raises(InputError) as caught:
        collect_frames(*arguments, **options)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 2
    assert all(fault.isprintable() for fault in caught.value.faults)
    return list(caught.value.faults)


def product(path: Path, shape: tuple[int, int], cards: dict, names: tuple[str, ...] = ("FLUX", "ERRS", "QUAL")) -> Path:
    units: list = []
    for name in names:
        units.append((fits.ImageHDU if units else fits.PrimaryHDU)(np.ones(shape, np.float32)))
        units[-1].header["EXTNAME"] = name
    for keyword, value in cards.items():
        units[0].header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    fits.HDUList(units).writeto(path)
    return path


VIS_BIAS = {"INSTRUME": "SOXS", "ESO SEQ ARM": "VIS", "ESO PRO CATG": "MASTER_BIAS_VIS", "DATAMD5": "0123abcd"}
VIS_MAP = {"INSTRUME": "SOXS", "ESO SEQ ARM": "VIS", "ESO PRO CATG": "BP_MAP_RP_VIS"}


# ---- what a set is


def test_a_set_of_nir_darks(darks):
    frames = collect_frames(darks)
    assert isinstance(frames, FrameSet)
    assert [dark.name for dark in frames.frames] == ["a.fits", "b.fits", "c.fits", "d.fits"]
    assert frames.frames[0].path == darks[0]
    assert frames.tag == "DARK_NIR"
    assert frames.frames[2].entry.where == "input 3"
    assert frames.frames[1].header["ESO SEQ ARM"] == "NIR"
    assert frames.frames[1].mjd == frames.frames[1].header["MJD-OBS"]
    assert (frames.instrument.name, frames.detector.name, frames.arm) == ("SOXS", "Teledyne H2RG", "NIR")
    assert frames.geometry.raw_shape == (40, 48)
    assert frames.geometry.product_shape == (32, 40)
    assert (frames.binning, frames.read_mode) == ((1, 1), "1")
    assert (frames.exptime_s, frames.dit_s, frames.ndit, frames.conad_e_per_adu) == (300.0, 300.0, 1, 2.3)
    assert (frames.calibrations, frames.warnings) == ({}, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        frames.arm = "VIS"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(frames)) == frames


def test_a_set_of_vis_darks_with_calibrations(make_frame, tmp_path):
    for name in "abc":
        make_frame(f"{name}.fits", {"ESO DET BINX": 2, "ESO DET BINY": 1}, arm="VIS")
    product(tmp_path / "bias.fits", (40, 90), VIS_BIAS | {"ESO DET BINX": 2, "ESO DET READ CURID": 1})
    product(tmp_path / "map.fits", (40, 90), VIS_MAP, ("",))
    listed = "a.fits DARK_VIS\nb.fits DARK\nmap.fits BP_MAP_RP_VIS\nc.fits\nbias.fits MASTER_BIAS_VIS\n"
    frames = collect_frames(sof(tmp_path, listed))
    assert frames.binning == (1, 2)
    assert frames.geometry.product_shape == (40, 90)
    assert frames.conad_e_per_adu == 0.6
    assert frames.dit_s == 300.0
    assert frames.warnings == ()
    assert [dark.entry.where for dark in frames.frames] == ["darks.sof line 1", "darks.sof line 2", "darks.sof line 4"]
    bias, bad = frames.calibrations[MASTER_BIAS], frames.calibrations[STATIC_MAP]
    assert bias is not None
    assert (bias.name, bias.category, bias.datamd5) == ("bias.fits", "MASTER_BIAS_VIS", "0123abcd")
    assert list(bias.images) == ["FLUX", "ERRS", "QUAL"]
    assert bad is not None
    assert (list(bad.images), len(bad.datamd5), bad.category) == (["PRIMARY"], 32, "BP_MAP_RP_VIS")
    # tags are not needed where headers tell
    untagged = collect_frames([tmp_path / f"{name}.fits" for name in ("a", "bias", "b", "map", "c")])
    assert untagged.calibrations[MASTER_BIAS].images == bias.images


def test_the_order_of_the_lines_does_not_matter(make_frame, tmp_path):
    for name, mjd in zip("abcd", (61100.2, 61100.1, 61100.2, 61100.0), strict=True):
        make_frame(f"{name}.fits", {"MJD-OBS": mjd})
    lines = [f"{name}.fits DARK_NIR" for name in "abcd"]
    for seed in range(4):
        random.Random(seed).shuffle(lines)
        frames = collect_frames(sof(tmp_path, "\n".join(lines)))
        assert [dark.name for dark in frames.frames] == ["d.fits", "b.fits", "a.fits", "c.fits"]


def test_compressed_frames_are_frames(make_frame, pack, tmp_path):
    for name, how in (("a.fits", "gz"), ("b.fits", "Z"), ("c.fits", "fz")):
        pack(make_frame(name), how)
        (tmp_path / name).rename(tmp_path / f"{name}.plain")
    frames = collect_frames(tmp_path)
    assert [dark.name for dark in frames.frames] == ["a.fits.gz", "b.fits.Z", "c.fits.fz"]
    with PixelReader([dark.image for dark in frames.frames]) as reader:
        for i, name in enumerate("abc"):
            np.testing.assert_array_equal(reader.read_rows(i, 0, 40), fits.getdata(tmp_path / f"{name}.fits.plain"))


def test_xshooter_frames(make_frame):
    cards = {
        "INSTRUME": "SHOOT", "ESO SEQ ARM": "UVB", "ESO DET WIN1 BINX": 2, "ESO DET WIN1 BINY": 1,
        "ESO DET READ SPEED": "1pt/400k/lg", "ESO DET OUT1 CONAD": 1.6, "ESO DET OUT1 GAIN": 0.62, "ESO DET DIT": None,
    }  # fmt: skip
    data = np.zeros((40, 120), np.uint16)
    frames = collect_frames([make_frame(f"{name}.fits", cards, data=data + i) for i, name in enumerate("abc")])
    assert (frames.instrument.name, frames.arm, frames.binning) == ("XSHOOTER", "UVB", (1, 2))
    assert (frames.read_mode, frames.conad_e_per_adu, frames.warnings) == ("1pt/400k/lg", 1.6, ())


def test_the_acquisition_camera_has_keywords_of_its_own(make_frame):
    cards = {
        "ESO SEQ ARM": None, "ESO DET3 CAM NAME": "ACQ", "EXPTIME": None, "ESO DET3 EXPO TIME": 30.0,
        "ESO DET DIT": None, "ESO DET NDIT": None, "ESO DET BINX": 1, "ESO DET BINY": 1, "ESO DET OUT1 CONAD": 1.0,
    }  # fmt: skip
    frames = collect_frames([make_frame(f"{name}.fits", cards) for name in "abc"])
    assert (frames.arm, frames.exptime_s, frames.dit_s, frames.warnings) == ("ACQ", 30.0, 30.0, ())
    assert frames.geometry.product_shape == (40, 48)


def test_an_instrument_of_ones_own(make_frame, tmp_path):
    shipped = Path(keywords_module.__file__).parent / "soxs.yaml"
    table = tmp_path / "mine.yaml"
    table.write_text(shipped.read_text().replace("[SOXS]", "[MINE]").replace("SOXS\n", "MINE\n"))
    paths = [make_frame(f"{name}.fits", {"INSTRUME": "MINE"}) for name in "abc"]
    assert "instrument 'MINE' is unknown: make a table" in refused(FrameError, paths)[0]
    assert collect_frames(paths, extra_table=table).instrument.name == "MINE"


# ---- set-of-files files


def entries(path: Path) -> list[tuple[str, str | None, int]]:
    return [(entry.path.name, entry.tag, int(entry.where.rpartition(" ")[2])) for entry in parse_sof(path)]


def test_lines_of_a_sof(tmp_path, monkeypatch):
    names = ["a.fits", "b c.fits", "it's.fits", 'say "x".fits', "d#1.fits", "back\\slash.fits", "光.fits", "$x.fits"]
    for name in names:
        (tmp_path / name).touch()
    text = (
        "\ufeff# a comment\r\n"
        "a.fits DARK_NIR # behind\r\n"
        "\r\n"
        "\t 'b c.fits'\tDARK_NIR\n"
        '"b c.fits"\n'
        "it's.fits DARK\n"
        '"it\'s.fits" DARK\n'
        "'say \"x\".fits' DARK\n"
        "d#1.fits DARK#1\n"
        "back\\slash.fits #DARK\n"
        "光.fits DARK\n"
        "'$x.fits' DARK\n"
        "'b '\"c.\"fits\n"
        "a.fits DARK_NIR RAW\n"
        "a.fits DARK_NIR 0 # behind\n"
        "   # the end"
    )
    assert entries(sof(tmp_path, text)) == [
        ("a.fits", "DARK_NIR", 2),
        ("b c.fits", "DARK_NIR", 4),
        ("b c.fits", None, 5),
        ("it's.fits", "DARK", 6),
        ("it's.fits", "DARK", 7),
        ('say "x".fits', "DARK", 8),
        ("d#1.fits", "DARK#1", 9),
        ("back\\slash.fits", None, 10),
        ("光.fits", "DARK", 11),
        ("$x.fits", "DARK", 12),
        ("b c.fits", None, 13),
        ("a.fits", "DARK_NIR", 14),
        ("a.fits", "DARK_NIR", 15),
    ]


def test_a_second_file_in_a_line_is_not_taken_for_a_group(tmp_path):
    (tmp_path / "a.fits").touch()
    words = "4 words", "3 words"
    for line, found in zip(("a.fits DARK_NIR RAW 1", "a.fits DARK_NIR b.fits"), words, strict=True):
        assert refused(SetOfFilesError, sof(tmp_path, line)) == [
            f"darks.sof line 1: {found}, expected 'path TAG': put a name with spaces in quotes, a comment behind #"
        ]


def test_a_tag_with_a_binning_must_agree_with_the_header(make_frame, tmp_path):
    for name in "abc":
        make_frame(f"{name}.fits", {"ESO DET BINX": 1, "ESO DET BINY": 2}, arm="VIS")
    frames = collect_frames(sof(tmp_path, "a.fits DARK_VIS_1x2\nb.fits DARK_1x2 RAW\nc.fits DARK_VIS\n"))
    assert frames.binning == (2, 1)
    assert refused(FrameError, sof(tmp_path, "a.fits DARK_VIS_2x1\nb.fits DARK_VIS\nc.fits DARK_VIS\n")) == [
        "a.fits (darks.sof line 1): tag is 'DARK_VIS', but ESO DET BINX is 1, expected 2 as in the tag: correct the "
        "tag, or remove the line",
        "a.fits (darks.sof line 1): tag is 'DARK_VIS', but ESO DET BINY is 2, expected 1 as in the tag: correct the "
        "tag, or remove the line",
    ]


def test_a_list_of_a_hundred_thousand_lines_opens_a_file_once(darks, tmp_path, monkeypatch):
    opened = []
    original = classify_module.image_hdus
    monkeypatch.setattr(classify_module, "image_hdus", lambda path: opened.append(path) or original(path))
    faults = refused(SetOfFilesError, sof(tmp_path, "a.fits DARK_NIR\n" * 99_999 + "b.fits DARK_NIR\n"))
    assert [path.name for path in opened] == ["a.fits", "b.fits"]
    assert len(faults) == 99_998
    assert faults[-1] == "a.fits (darks.sof line 1) and a.fits (darks.sof line 99999) are the same file: list it once"


def test_paths_of_a_sof(tmp_path, monkeypatch):
    beside, elsewhere, home = (tmp_path / name for name in ("beside", "elsewhere", "home"))
    for folder in (beside, elsewhere, home):
        folder.mkdir()
        (folder / "both.fits").touch()
    (elsewhere / "only.fits").touch()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAW DIR", str(home))
    monkeypatch.setenv("RAWDIR", str(home))
    path = sof(
        beside, f'both.fits\nonly.fits\n~/both.fits\n$RAWDIR/both.fits\n"${{RAWDIR}}/both.fits"\n{home}/both.fits'
    )
    found = parse_sof(path)
    assert [entry.path.resolve() for entry in found] == [
        beside / "both.fits",
        elsewhere / "only.fits",
        *[home / "both.fits"] * 4,
    ]
    assert found[1] == SofEntry(Path("only.fits"), None, "darks.sof line 2")


def test_all_missing_files_in_one_message(darks, tmp_path):
    path = sof(
        tmp_path, "a.fits DARK_NIR\nx.fits DARK_NIR\n\n/none/y z DARK\n'/none/y z.fits' DARK\n'b.fits\n'' DARK\n"
    )
    assert refused(SetOfFilesError, path) == [
        f"darks.sof line 2: x.fits does not exist in {tmp_path} or the working directory: "
        "correct the path, or remove the line",
        "darks.sof line 4: /none/y does not exist: put a name with spaces in quotes, or remove the line",
        "darks.sof line 5: /none/y z.fits does not exist: correct the path, or remove the line",
        "darks.sof line 6: ' is not closed, expected another ': correct the line",
        "darks.sof line 7: the path is empty, expected 'path TAG': correct the line",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lists no file, expected lines 'path TAG'"),
        (b"# nothing\n\n  # here\n", "lists no file, expected lines 'path TAG'"),
        (b"\x00\x01\x02", "is a binary or FITS file, expected a text file with lines 'path TAG'"),
        (b"SIMPLE  =                    T", "is a binary or FITS file"),
        (b"caf\xe9.fits DARK", "is not UTF-8 text (invalid continuation byte), expected a text file"),
        (b"a" * 2**20 + b"b", "has more than 1048576 bytes, expected a text file"),
        (b"\n" * 100_001, "has more than 100000 lines, expected a text file"),
        (b"\n$HOME" + b"a" * 4096, "line 2 has more than 4096 characters, expected a text file"),
        (b"a\x1b[31m.fits DARK", r"line 1: 'a\x1b[31m.fits' holds a control character"),
        ("a\u2028b.fits DARK".encode(), r"line 1: 'a\u2028b.fits' holds a control character"),
        (b"a.fits DA\rRK", r"line 1: 'DA\rRK' holds a control character"),
    ],
)
def test_what_is_no_sof(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(sof_module, "SOF_LIMIT", 2**20)
    faults = refused(SetOfFilesError, sof(tmp_path, content))
    assert len(faults) == 1
    assert "darks.sof" in faults[0]
    assert message in faults[0]


def test_a_sof_that_is_no_file(tmp_path):
    (tmp_path / "x.sof").mkdir()
    assert "holds no FITS file" in refused(SetOfFilesError, tmp_path / "x.sof")[0]
    with pytest.raises(SetOfFilesError, match=r"x\.sof: cannot be read \(Is a directory\)"):
        parse_sof(tmp_path / "x.sof")
    os.mkfifo(tmp_path / "y.sof")
    assert "y.sof: cannot be read (not a regular file)" in refused(SetOfFilesError, tmp_path / "y.sof")[0]
    assert "none.sof does not exist" in refused(SetOfFilesError, tmp_path / "none.sof")[0]


# ---- folders and lists


def test_of_a_folder_the_raw_darks_are_taken(darks, make_frame, tmp_path, pack):
    make_frame("bias.fits", {"ESO DPR TYPE": "BIAS"})
    make_frame("pro.FIT", {"ESO PRO CATG": "MASTER_DARK_NIR", "ESO DPR TYPE": None})
    make_frame("odd.fts", {"ESO DPR TYPE": None})
    pack(make_frame("e.fits.tmp"), "gz", "e.FITS.GZ")
    (tmp_path / "e.fits.tmp").unlink()
    (tmp_path / "sub.fits").mkdir()
    (tmp_path / ".hidden.fits").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(name="T")]).writeto(tmp_path / "table.fits")
    frames = collect_frames(str(tmp_path))
    assert [dark.name for dark in frames.frames] == ["a.fits", "b.fits", "c.fits", "d.fits", "e.FITS.GZ"]
    assert frames.frames[0].entry.where == f"in {tmp_path}"
    assert frames.warnings == (
        f"{tmp_path}: left out, not a raw dark: bias.fits (BIAS), odd.fts (no ESO DPR TYPE), "
        "pro.FIT (MASTER_DARK_NIR), sub.fits (a folder), table.fits (no image)",
    )
    (tmp_path / "broken.fits").write_bytes(b"")
    assert "broken.fits: the file is empty" in refused(FrameError, tmp_path)[0]


def test_files_of_a_folder_that_are_not_read_are_named(darks, make_frame, pack, tmp_path):
    pack(darks[3], "bz2", "d.fits.bz2")
    darks[3].unlink()
    for name in ("e.fits.xz", "f.FIT.zst", "g.fits.part", "h.tmp", "i.fits~", "j.zip", "k.Z", ".l.fits.part", "m.txt"):
        (tmp_path / name).write_bytes(b"x")
    frames = collect_frames(tmp_path)
    assert [frame.name for frame in frames.frames] == ["a.fits", "b.fits", "c.fits", "d.fits.bz2"]
    named = ("e.fits.xz", "f.FIT.zst", "g.fits.part", "h.tmp", "i.fits~", "j.zip", "k.Z")
    left_out = ", ".join(f"{name} (not read under this name)" for name in named)
    assert frames.warnings == (f"{tmp_path}: left out, not a raw dark: {left_out}",)
    for dark in (*darks[:3], tmp_path / "d.fits.bz2"):
        dark.unlink()
    assert f"0 raw darks, expected at least 3 ({tmp_path}: left out" in refused(TooFewFramesError, tmp_path)[0]


def test_a_frame_with_several_images_is_refused_unless_the_table_names_one(make_frame, tmp_path):
    table = (Path(keywords_module.__file__).parent / "soxs.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(table.replace("  NIR:\n", "  NIR:\n    extension: DATA\n"))
    paths, data = [], []
    for name in "abc":
        path = make_frame(f"{name}.fits")
        with fits.open(path) as hdus:
            data.append(hdus[0].data.copy())
            primary = fits.PrimaryHDU(None, hdus[0].header)
        preview, image = fits.ImageHDU(data[-1][:36, :36], name="PREVIEW"), fits.ImageHDU(data[-1], name="DATA")
        table_hdu = fits.BinTableHDU(name="LOG")
        fits.HDUList([primary, preview, image, table_hdu]).writeto(path, overwrite=True)
        paths.append(path)
    assert refused(FrameError, paths)[0] == (
        "a.fits (input 1): holds 2 images, PREVIEW (36 x 36), DATA (48 x 40), expected one image: name the right one "
        "as 'extension' of NIR in the instrument table, or leave it out"
    )
    assert len(refused(FrameError, tmp_path)) == 3
    frames = collect_frames(paths, extra_table=own)
    assert [frame.image.extname for frame in frames.frames] == ["DATA"] * 3
    with PixelReader([frame.image for frame in frames.frames]) as reader:
        for number, expected in enumerate(data):
            np.testing.assert_array_equal(reader.read_rows(number, 0, 40), expected)


def test_a_static_map_with_several_images_is_refused(make_frame, tmp_path):
    for name in "abc":
        make_frame(f"{name}.fits", arm="VIS")
    product(tmp_path / "map.fits", (40, 40), {"ESO PRO CATG": "BP_MAP_RP_VIS"}, ("A", "B"))
    lines = "a.fits DARK\nb.fits DARK\nc.fits DARK\nmap.fits BP_MAP_RP_VIS\n"
    assert (
        "map.fits (darks.sof line 4): holds 2 images, A (40 x 40), B (40 x 40), expected one: keep"
        in (refused(SetOfFilesError, sof(tmp_path, lines))[0])
    )


def test_a_folder_without_darks(make_frame, tmp_path):
    assert refused(SetOfFilesError, tmp_path) == [
        f"{tmp_path}: holds no FITS file, expected raw frames: give another folder"
    ]
    for i in range(12):
        make_frame(f"{i:02}.fits", {"ESO DPR TYPE": "FLAT"})
    faults = refused(TooFewFramesError, tmp_path)
    assert faults[0].startswith(f"{tmp_path}: 0 raw darks, expected at least 3 ({tmp_path}: left out")
    assert "09.fits (FLAT) and 2 more)" in faults[0]


def test_names_with_control_characters_are_refused(make_frame, tmp_path):
    path = make_frame("a\nb.fits")
    for given in (tmp_path, [path], path):
        faults = refused(SetOfFilesError, given)
        assert len(faults) == 1
        assert r"a\nb.fits' holds a control character" in faults[0]


def test_lists(darks, tmp_path):
    assert collect_frames([str(darks[0]), *darks[1:]]).frames[0].path == darks[0]
    assert len(collect_frames(iter(darks)).frames) == 4
    assert len(collect_frames(darks[0], minimum_frames=1).frames) == 1
    assert len(collect_frames([tmp_path]).frames) == 4
    assert refused(SetOfFilesError, []) == ["no input frames: give a set-of-files file, a folder or FITS files"]
    faults = refused(SetOfFilesError, [*darks, tmp_path, tmp_path / "x.fits", 5, sof(tmp_path, "a.fits")])
    assert faults == [
        f"input 6: {tmp_path}/x.fits does not exist: correct the path",
        "input 7: 5 is not a path, expected text: give paths",
        f"input 8: {tmp_path}/darks.sof is a second set of files, expected one: reduce it in a separate run",
    ]
    assert "b'x' is not a path" in refused(SetOfFilesError, b"x")[0]


# ---- products beside a set


def pixels(seed: int, arm: str = "NIR") -> np.ndarray:
    return np.random.default_rng(seed).integers(900, 1100, SHAPES[arm], dtype=np.uint16)


def test_a_master_bias_beside_a_folder_or_a_set_is_used(make_frame, tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    for i, name in enumerate("abc"):
        make_frame(f"night/{name}.fits", {"MJD-OBS": 61100.0 + i}, data=pixels(i, "VIS"), arm="VIS")
    shape = collect_frames(night).geometry.product_shape
    bias = product(tmp_path / "bias.fits", shape, VIS_BIAS)
    for listed in (night, sof(night, "a.fits\nb.fits DARK_VIS\nc.fits\n")):
        frames = collect_frames([listed, bias])
        assert frames.calibrations[MASTER_BIAS].path == bias
        assert frames.warnings == ()


def test_a_calibration_of_another_arm_beside_a_set_is_left_out_by_name(make_frame, tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    for i, name in enumerate("abc"):
        make_frame(f"night/{name}.fits", {"MJD-OBS": 61100.0 + i}, data=pixels(i))
    bias = product(tmp_path / "bias.fits", (32, 32), VIS_BIAS)
    frames = collect_frames([night, bias])
    assert frames.calibrations == {}
    assert frames.warnings == ("bias.fits (input 2): left out, a master bias of arm VIS, the frames are of NIR",)


def test_another_product_beside_a_set_is_refused(make_frame, tmp_path):
    night = tmp_path / "night"
    night.mkdir()
    for i, name in enumerate("abc"):
        make_frame(f"night/{name}.fits", {"MJD-OBS": 61100.0 + i}, data=pixels(i))
    dark = product(tmp_path / "dark.fits", (32, 32), {"INSTRUME": "SOXS", "ESO PRO CATG": "MASTER_DARK_NIR"})
    assert refused(FrameError, [night, dark]) == [
        "dark.fits (input 2): ESO PRO CATG is 'MASTER_DARK_NIR', expected a raw dark without it: leave it out"
    ]


# ---- other kinds of frames

BIAS = FrameKind(
    "BIAS", "BIAS", "bias", "zero", (STATIC_MAP,), {"read_mode": "an infrared detector has no bias frames"}
)


def test_a_kind_declares_tags_types_and_exposure(make_frame, tmp_path):
    cards = {"ESO DPR TYPE": "BIAS", "EXPTIME": 0.0}
    for name in "abc":
        make_frame(f"{name}.fits", cards, arm="VIS")
    make_frame("dark.fits", arm="VIS")
    frames = collect_frames_of(tmp_path, BIAS)
    assert [frame.name for frame in frames.frames] == ["a.fits", "b.fits", "c.fits"]
    assert (frames.tag, frames.exptime_s, frames.shot_scale) == ("BIAS_VIS", 0.0, 0.0)
    assert frames.warnings == (f"{tmp_path}: left out, not a raw bias: dark.fits (DARK)",)
    assert len(collect_frames_of(sof(tmp_path, "a.fits BIAS_VIS\nb.fits BIAS\nc.fits"), BIAS).frames) == 3


def test_an_exposed_bias_and_a_dark_among_biases_are_refused(make_frame):
    bias = {"ESO DPR TYPE": "BIAS", "EXPTIME": 0.0}
    paths = [make_frame(f"{name}.fits", bias, arm="VIS") for name in "abc"]
    exposed = make_frame("exposed.fits", {**bias, "EXPTIME": 5.0}, arm="VIS")
    with pytest.raises(FrameError, match=r"exposed.fits .*: EXPTIME is 5.0, expected 0 s, at most 0.1 s"):
        collect_frames_of([*paths, exposed], BIAS)
    with pytest.raises(FrameError, match="ESO DPR TYPE is 'DARK', expected 'BIAS': leave it out"):
        collect_frames_of([*paths, make_frame("dark.fits", arm="VIS")], BIAS)


def test_raw_biases_among_darks_are_refused_with_the_way_to_use_them(make_frame):
    darks = [make_frame(f"{name}.fits", arm="VIS") for name in "abc"]
    bias = make_frame("bias.fits", {"ESO DPR TYPE": "BIAS", "EXPTIME": 0.0}, arm="VIS")
    assert refused(FrameError, [*darks, bias]) == [
        "bias.fits (input 4): ESO DPR TYPE is 'BIAS', expected 'DARK': reduce such frames with 'soxspipe mbias' first, "
        "and give the master bias"
    ]


def test_an_infrared_detector_has_no_bias(make_frame):
    biases = [make_frame(f"{name}.fits", {"ESO DPR TYPE": "BIAS", "EXPTIME": 0.0}) for name in "abc"]
    with pytest.raises(FrameError, match=r"a.fits .*: ESO SEQ ARM is 'NIR': an infrared detector has no bias frames"):
        collect_frames_of(biases, BIAS)


# ---- tags


@pytest.mark.parametrize(
    ("tag", "cards", "kind", "message"),
    [
        (
            "FLAT_NIR",
            {},
            SetOfFilesError,
            "tag is 'FLAT_NIR', expected one of DARK, DARK_NIR, DARK_VIS, DARK_ACQ, MASTER",
        ),
        ("DARK_UVB", {}, SetOfFilesError, "tag is 'DARK_UVB', expected one of DARK, DARK_NIR"),
        ("dark", {}, SetOfFilesError, "tag is 'dark', expected one of"),
        ("DARK_VIS", {}, FrameError, "tag is 'DARK_VIS', but ESO SEQ ARM is 'NIR', expected 'VIS': correct the tag"),
        ("DARK", {"ESO DPR TYPE": "BIAS"}, FrameError, "tag is 'DARK', but ESO DPR TYPE is 'BIAS', expected 'DARK'"),
        (
            "DARK_NIR",
            {"ESO PRO CATG": "MASTER_DARK_NIR"},
            FrameError,
            "tag is 'DARK_NIR', but ESO PRO CATG is 'MASTER_DARK_NIR', expected a raw dark",
        ),
        (
            "MASTER_BIAS_NIR",
            {},
            FrameError,
            "but ESO DPR TYPE is 'DARK', expected a product with ESO PRO CATG 'MASTER_BIAS_NIR'",
        ),
        (
            "MASTER_BIAS_NIR",
            {"ESO PRO CATG": "BP_MAP_RP_NIR"},
            FrameError,
            "tag is 'MASTER_BIAS_NIR', but ESO PRO CATG is 'BP_MAP_RP_NIR', expected 'MASTER_BIAS_NIR'",
        ),
        (
            "",
            {"ESO DPR TYPE": "FLAT,LAMP"},
            FrameError,
            "): ESO DPR TYPE is 'FLAT,LAMP', expected 'DARK': leave it out",
        ),
        ("", {"ESO PRO CATG": "ORDER_TAB_NIR"}, FrameError, "): ESO PRO CATG is 'ORDER_TAB_NIR', expected a raw dark"),
        ("", {"ESO PRO CATG": "DARK_NIR"}, FrameError, "): ESO PRO CATG is 'DARK_NIR', expected a raw dark without it"),
        (
            "",
            {"ESO PRO CATG": "BP_MAP_RP_VIS"},
            FrameError,
            "): ESO SEQ ARM is 'NIR', expected 'VIS': leave it out",
        ),
    ],
)
def test_tag_and_header_must_agree(darks, make_frame, tmp_path, tag, cards, kind, message):
    make_frame("x.fits", cards)
    path = sof(tmp_path, "".join(f"{dark.name} DARK_NIR\n" for dark in darks) + f"x.fits {tag}")
    faults = refused(kind, path)
    assert len(faults) == 1
    assert faults[0].startswith("x.fits (darks.sof line 5): ")
    assert message in faults[0]


def test_types_with_several_words(make_frame):
    paths = [make_frame(f"{name}.fits", {"ESO DPR TYPE": "LAMP, DARK"}) for name in "abc"]
    assert len(collect_frames(paths).frames) == 3


def test_one_of_each_calibration(make_frame, tmp_path):
    for name in "abc":
        make_frame(f"{name}.fits", arm="VIS")
    for name in "xy":
        product(tmp_path / f"{name}.fits", (40, 40), VIS_BIAS)
    text = "a.fits\nb.fits\nc.fits\nx.fits MASTER_BIAS_VIS\ny.fits\n"
    assert refused(SetOfFilesError, sof(tmp_path, text)) == [
        "x.fits (darks.sof line 4), y.fits (darks.sof line 5): 2 files for the master bias, expected 1: keep one"
    ]


@pytest.mark.parametrize(
    ("shape", "cards", "found"),
    [
        ((40, 41), {}, "NAXIS1 x NAXIS2 of FLUX is '41 x 40', expected '40 x 40'"),
        ((40, 40), {"ESO DET BINX": 2}, "ESO DET BINX is 2, expected 1"),
        ((40, 40), {"ESO DET READ CURID": 2}, "ESO DET READ CURID is 2, expected 1"),
        ((40, 40), {"INSTRUME": "SHOOT"}, "INSTRUME is 'XSHOOTER', expected 'SOXS'"),
        ((40, 40), {"ESO SEQ ARM": "NIR", "ESO PRO CATG": "MASTER_BIAS_NIR"}, "ESO SEQ ARM is 'NIR', expected 'VIS'"),
    ],
)
def test_calibrations_must_fit_the_darks(make_frame, tmp_path, shape, cards, found):
    paths = [make_frame(f"{name}.fits", arm="VIS") for name in "abc"]
    faults = refused(MixedFramesError, [*paths, product(tmp_path / "x.fits", shape, VIS_BIAS | cards, ("FLUX",))])
    assert faults == [f"x.fits (input 4): {found} as in the darks: give a master bias of the same read-out, or none"]


@pytest.mark.parametrize(
    ("cards", "found"),
    [
        ({}, "NAXIS1 x NAXIS2 of FLUX, ERRS is '41 x 40', expected '40 x 40'"),
        ({"ESO DET BINX": 2}, "ESO DET BINX is 2, expected 1"),
    ],
)
def test_a_calibration_of_another_size_or_binning_is_one_fault(make_frame, tmp_path, cards, found):
    paths = [make_frame(f"{name}.fits", arm="VIS") for name in "abc"]
    bias = product(tmp_path / "x.fits", (40, 41), VIS_BIAS | cards, ("FLUX", "ERRS"))
    faults = refused(MixedFramesError, [*paths, bias])
    assert faults == [f"x.fits (input 4): {found} as in the darks: give a master bias of the same read-out, or none"]


def test_a_map_without_keywords_is_taken_as_tagged(make_frame, tmp_path):
    for name in "abc":
        make_frame(f"{name}.fits")
    fits.PrimaryHDU(np.zeros((32, 40), np.uint8)).writeto(tmp_path / "map.fits")
    for text in ("map.fits BP_MAP_RP_NIR\na.fits\nb.fits\nc.fits", "a.fits\nb.fits\nc.fits\nmap.fits BP_MAP_RP_NIR"):
        frames = collect_frames(sof(tmp_path, text))
        assert STATIC_MAP in frames.calibrations
        assert frames.calibrations[STATIC_MAP].category == "BP_MAP_RP_NIR"
        line = f"darks.sof line {text.splitlines().index('map.fits BP_MAP_RP_NIR') + 1}"
        assert frames.warnings == (
            f"map.fits ({line}): INSTRUME is missing: 'SOXS' is assumed",
            f"map.fits ({line}): ESO PRO CATG is missing: 'BP_MAP_RP_NIR' is assumed",
        )
    assert "INSTRUME is missing" in refused(FrameError, [*tmp_path.glob("?.fits"), tmp_path / "map.fits"])[0]


# ---- frames that do not belong together


@pytest.mark.parametrize(
    ("arm", "cards", "found", "expected", "remedy"),
    [
        ("NIR", {"EXPTIME": 10.0}, "EXPTIME is 10.0", "300.0", "leave this frame out, or reduce each exposure time"),
        (
            "NIR",
            {"EXPTIME": 300.31},
            "EXPTIME is 300.31",
            "300.0",
            "leave this frame out, or reduce each exposure time",
        ),
        (
            "NIR",
            {"ESO DET DIT": 100.0},
            "ESO DET DIT is 100.0",
            "300.0",
            "leave this frame out, or reduce each exposure time",
        ),
        ("NIR", {"ESO DET NDIT": 3}, "ESO DET NDIT is 3", "1", "leave this frame out, or reduce each exposure time"),
        ("NIR", {"ESO DET READ CURID": 2}, "ESO DET READ CURID is 2", "1", "leave this frame out, or split the set"),
        ("NIR", {"ESO DET CHIP ID": "B"}, "ESO DET CHIP ID is 'B'", "'A'", "leave this frame out"),
        (
            "NIR",
            {"ESO DET READ CURNAME": "Double"},
            "ESO DET READ CURNAME is 'Double'",
            "'Nondest'",
            "leave this frame",
        ),
        (
            "NIR",
            {"ESO SEQ ARM": "VIS"},
            "ESO SEQ ARM is 'VIS'",
            "'NIR'",
            "leave this frame out, or reduce each arm on its own",
        ),
        (
            "NIR",
            {"INSTRUME": "SHOOT"},
            "INSTRUME is 'XSHOOTER'",
            "'SOXS'",
            "leave this frame out, or reduce each arm on its own",
        ),
        ("VIS", {"ESO DET BINX": 2}, "ESO DET BINX is 2", "1", "leave this frame out"),
        ("VIS", {"ESO DET BINY": 4}, "ESO DET BINY is 4", "1", "leave this frame out"),
        ("VIS", {"ESO DET OUT1 CONAD": 2.0}, "ESO DET OUT1 CONAD is 2.0", "0.6", "leave this frame out"),
        ("VIS", {"ESO DET OUT1 GAIN": 0.5}, "ESO DET OUT1 GAIN is 0.5", "1.6667", "leave this frame out"),
    ],
)
def test_the_odd_one_out_is_named(make_frame, arm, cards, found, expected, remedy):
    common = {"ESO DET CHIP ID": "A", "ESO DET READ CURNAME": "Nondest"}
    first = make_frame("odd.fits", common | cards | {"MJD-OBS": 61000.0}, arm=arm)
    paths = [first] + [make_frame(f"{name}.fits", common, arm=arm) for name in "abc"]
    faults = refused(MixedFramesError, paths)
    assert len(faults) == 1
    assert faults[0].startswith(f"odd.fits (input 1): {found}, expected {expected} as in 3 of 4 frames: {remedy}")


def test_exposure_times_may_differ_a_little(make_frame):
    paths = [make_frame(f"{i}.fits", {"EXPTIME": t}) for i, t in enumerate((300.0, 300.29, 299.71))]
    assert len(collect_frames(paths).frames) == 3
    cards = [{"EXPTIME": t, "ESO DET DIT": t} for t in (0.1, 0.109, 0.1)]
    assert len(collect_frames([make_frame(f"s{i}.fits", c) for i, c in enumerate(cards)]).frames) == 3
    odd = make_frame("odd.fits", {"EXPTIME": 0.111, "ESO DET DIT": 0.1})
    faults = refused(MixedFramesError, [*(paths[0].with_name(f"s{i}.fits") for i in (0, 2)), odd])
    assert "odd.fits (input 3): EXPTIME is 0.111, expected 0.1 as in 2 of 3 frames" in faults[0]


def test_array_sizes_must_agree(darks, make_frame):
    odd = make_frame("x.fits", data=np.zeros((50, 48), np.uint16))
    faults = refused(MixedFramesError, [odd, *darks])
    assert len(faults) == 1
    assert faults[0].startswith(
        "x.fits (input 1): NAXIS1 x NAXIS2 is '48 x 50', expected '48 x 40' as in 4 of 5 frames"
    )


def test_too_small_for_the_detector(make_frame):
    paths = [make_frame(f"{i}.fits", data=np.full((39, 48), i, np.uint16)) for i in range(3)]
    assert "39 x 48 pixels leave fewer than 32 x 32" in refused(FrameError, paths)[0]


def test_all_faults_are_told_together(darks, make_frame, tmp_path):
    odd = make_frame("odd.fits", {"EXPTIME": 5.0, "ESO DET DIT": 5.0})
    poor = make_frame("poor.fits", {"ESO SEQ ARM": None, "EXPTIME": None, "MJD-OBS": None})
    broken = tmp_path / "broken.fits"
    broken.write_bytes(darks[0].read_bytes()[:4000])
    faults = refused(InputError, [odd, poor, broken, darks[1], *darks])
    assert [fault.split(":")[0] for fault in faults] == [
        *["poor.fits (input 2)"] * 3,
        str(broken),
        "b.fits (input 4) and b.fits (input 6) are the same file",
        "odd.fits (input 1)",  # its exposure time; that the DIT differs with it needs no line
    ]
    text = "\n".join(faults)
    for keyword in (
        "ESO SEQ ARM is missing, expected one of NIR, VIS, ACQ",
        "EXPTIME is missing",
        "MJD-OBS is missing",
    ):
        assert f"poor.fits (input 2): {keyword}" in text


@pytest.mark.parametrize("count", [1, 2])
def test_too_few(darks, count):
    plural = "s" if count == 2 else ""
    assert refused(TooFewFramesError, darks[:count]) == [
        f"the input: {count} raw dark{plural}, expected at least 3: add frames of the same kind"
    ]
    assert len(collect_frames(darks[:count], minimum_frames=count).frames) == count
    assert "expected at least 5" in refused(TooFewFramesError, darks, minimum_frames=5)[0]


# ---- copies


def test_the_same_file_twice(darks, tmp_path):
    (tmp_path / "link.fits").symlink_to(darks[0])
    os.link(darks[1], tmp_path / "hard.fits")
    text = "a.fits\nb.fits\nc.fits\n./a.fits\nlink.fits\nhard.fits\n"
    assert refused(SetOfFilesError, sof(tmp_path, text)) == [
        "a.fits (darks.sof line 1) and a.fits (darks.sof line 4) are the same file: list it once",
        "a.fits (darks.sof line 1) and link.fits (darks.sof line 5) are the same file: list it once",
        "b.fits (darks.sof line 2) and hard.fits (darks.sof line 6) are the same file: list it once",
    ]


def test_copies_of_an_exposure(darks, make_frame, pack):
    archive = "SOXS.2026-03-01T10:00:00.000.fits"
    one = make_frame("x.fits", {"ARCFILE": archive, "MJD-OBS": 61100.5})
    copy = pack(one, "gz")
    assert refused(SetOfFilesError, [*darks, one, copy]) == [
        "x.fits (input 5) and x.fits.gz (input 6) are the same exposure, MJD-OBS 61100.5 and archive name "
        f"'{archive}' are in both: leave one out"
    ]
    other = make_frame("y.fits", {"ARCFILE": archive, "MJD-OBS": 61100.6})
    assert len(collect_frames([*darks, one, other]).frames) == 6


def test_frames_with_the_same_pixels(darks, make_frame, pack):
    data = np.random.default_rng(7).integers(0, 9, (40, 48), dtype=np.uint16)
    paths = [make_frame(f"{name}.fits", data=data) for name in "xy"]
    line = "x.fits (input 5) and y.fits (input 6) hold the same pixels: leave one out"
    assert refused(SetOfFilesError, [*darks, *paths]) == [line]
    for pair in ([pack(path, "gz", f"{path.stem}z.fits") for path in paths], [paths[0], pack(paths[1], "Z")]):
        assert "hold the same pixels" in refused(SetOfFilesError, [*darks, *pair])[0]
    with fits.open(paths[0], mode="update", checksum=True):
        pass
    assert "hold the same pixels" in refused(SetOfFilesError, [*darks, paths[1], pack(paths[0], "fz")])[0]


def test_frames_whose_sums_alone_agree(darks, make_frame):
    data = np.random.default_rng(7).integers(0, 9, (40, 48), dtype=np.uint16)
    turned = data.reshape(-1, 2)[::-1].reshape(data.shape)  # the same words of 32 bits, in another order
    assert len(collect_frames([*darks, make_frame("x.fits", data=data), make_frame("y.fits", data=turned)]).frames) == 6


# ---- keywords


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("INSTRUME", None, "INSTRUME is missing: make a table with 'soxspipe instrument --from=FRAME'"),
        ("INSTRUME", "FORS2", "instrument 'FORS2' is unknown: make a table with"),
        ("ESO SEQ ARM", None, "ESO SEQ ARM is missing, expected one of NIR, VIS, ACQ"),
        ("ESO SEQ ARM", "RED", "ESO SEQ ARM is 'RED', expected one of NIR, VIS, ACQ"),
        ("ESO DPR CATG", None, "ESO DPR CATG is missing, expected 'CALIB'"),
        ("ESO DPR CATG", "SCIENCE", "ESO DPR CATG is 'SCIENCE', expected 'CALIB'"),
        ("ESO DPR TECH", None, "ESO DPR TECH is missing, expected a value"),
        ("ESO DPR TYPE", None, "ESO DPR TYPE is missing, expected 'DARK'"),
        ("EXPTIME", None, "EXPTIME is missing, expected seconds above zero"),
        ("EXPTIME", 0.0, "EXPTIME is 0.0, expected seconds above zero"),
        ("EXPTIME", -1.0, "EXPTIME is -1.0, expected seconds above zero"),
        ("EXPTIME", "long", "EXPTIME is 'long', expected seconds above zero"),
        ("EXPTIME", True, "EXPTIME is True, expected seconds above zero"),
        ("MJD-OBS", None, "MJD-OBS is missing, expected the start of the exposure, here or in DATE-OBS"),
        ("ESO DET DIT", 0, "ESO DET DIT is 0, expected seconds above zero"),
        ("ESO DET NDIT", 1.5, "ESO DET NDIT is 1.5, expected a whole number from 1"),
        ("ESO DET BINX", 0, "ESO DET BINX is 0, expected a whole number from 1"),
    ],
)
def test_required_keywords(darks, make_frame, keyword, value, message):
    faults = refused(FrameError, [*darks, make_frame("x.fits", {keyword: value})])
    assert len(faults) == 1
    assert faults[0].startswith(f"x.fits (input 5): {message}")
    assert message in faults[0]


def test_words_from_headers_cannot_disturb_a_terminal(darks, make_frame, tmp_path):
    path = make_frame("x.fits", {"ESO SEQ ARM": "@@@@@@@"})
    path.write_bytes(path.read_bytes().replace(b"@@@@@@@", b"\x1b[31m\x07N"))
    faults = refused(FrameError, [*darks, path])
    assert "\x1b" not in faults[0]
    assert "ESO SEQ ARM is '" in faults[0]


def test_a_header_that_says_two_things_is_refused(darks, make_frame):
    path = make_frame("x.fits", {"ESO INS X1": 10.0, "ESO INS X2": 300.0})
    content = path.read_bytes()
    for keyword, expected in ((b"HIERARCH ESO INS X1", True), (b"HIERARCH ESO INS X2", False)):
        path.write_bytes(content.replace(keyword + b" =", b"EXPTIME =".ljust(len(keyword) + 2)))
        if expected:
            (fault,) = refused(FrameError, [*darks, path])
            assert fault.startswith("x.fits (input 5): EXPTIME is 300.0 and 10.0, expected one value: ")
        else:
            assert len(collect_frames([*darks, path]).frames) == 5


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59.999", "0001-01-01", "1899-12-30"])
@pytest.mark.parametrize("mjd", [None, 1e-300, 1e300, -5.0])
def test_a_start_that_no_frame_can_have(darks, make_frame, date, mjd):
    path = make_frame("x.fits", {"MJD-OBS": mjd, "DATE-OBS": date})
    assert "expected the start of the exposure, here or in DATE-OBS" in refused(FrameError, [*darks, path])[0]


def test_the_start_may_be_told_in_local_time(make_frame):
    cards = {"MJD-OBS": None, "DATE-OBS": "2026-03-01T15:00:00.000+03:00"}
    frames = collect_frames([make_frame(f"{name}.fits", cards) for name in "abc"])
    assert [dark.mjd for dark in frames.frames] == [61100.5] * 3


def test_a_frame_that_is_larger_than_its_detector(make_frame):
    path = make_frame("a.fits", data=np.ones((40, 2049), np.uint16))
    assert "40 x 2049 pixels, expected at most 2048 x 2048 of Teledyne H2RG" in str(
        refused(InputError, [path, make_frame("b.fits"), make_frame("c.fits")])
    )


def test_the_start_may_stand_in_date_obs(make_frame):
    cards = {"MJD-OBS": None, "DATE-OBS": "2026-03-01T12:00:00.000"}
    frames = collect_frames([make_frame(f"{name}.fits", cards) for name in "abc"])
    assert [dark.mjd for dark in frames.frames] == [61100.5] * 3


@pytest.mark.parametrize(
    ("arm", "cards", "warning"),
    [
        ("NIR", {"ESO DET DIT": None}, "ESO DET DIT is missing in 3 of 3 frames: EXPTIME is used instead"),
        ("NIR", {"ESO DET NDIT": None}, "ESO DET NDIT is missing in 3 of 3 frames: 1 is assumed"),
        (
            "NIR",
            {"ESO DET READ CURID": None},
            "ESO DET READ CURID is missing in 3 of 3 frames: the same read-out mode is assumed",
        ),
        ("VIS", {"ESO DET BINY": None}, "ESO DET BINY is missing in 3 of 3 frames: 1 is assumed"),
        (
            "VIS",
            {"ESO DET OUT1 CONAD": None},
            "ESO DET OUT1 CONAD is missing: 1 electron/ADU of the table of e2v CCD44-82 is used",
        ),
        (
            "NIR",
            {"ESO DET DIT": 10.0, "ESO DET NDIT": 3},
            "ESO DET DIT is 10.0 and ESO DET NDIT 3, expected them to make up EXPTIME 300.0: rates are per ESO DET DIT",
        ),
    ],
)
def test_fallbacks_are_told_once(make_frame, arm, cards, warning):
    frames = collect_frames([make_frame(f"{name}.fits", cards, arm=arm) for name in "abc"])
    assert frames.warnings == (warning,)
    assert frames.read_mode == (None if "READ" in warning else "1")


def test_what_some_headers_lack_is_taken_from_the_others(make_frame):
    cards = [{}, {"ESO DET BINX": None, "ESO DET OUT1 CONAD": None}, {}]
    frames = collect_frames([make_frame(f"{i}.fits", {"ESO DET BINX": 2} | c, arm="VIS") for i, c in enumerate(cards)])
    assert (frames.binning, frames.conad_e_per_adu) == ((1, 2), 0.6)
    assert frames.warnings == ("ESO DET BINX is missing in 1 of 3 frames: 2 is assumed as in the others",)


def test_integrations(make_frame):
    cards = {"ESO DET DIT": 100.0, "ESO DET NDIT": 3, "EXPTIME": 300.0}
    frames = collect_frames([make_frame(f"{name}.fits", cards) for name in "abc"])
    assert (frames.exptime_s, frames.dit_s, frames.ndit, frames.warnings) == (300.0, 100.0, 3, ())


@pytest.mark.parametrize(
    ("arm", "conad", "gain", "used", "warnings"),
    [
        ("VIS", 0.6, 1.6667, 0.6, []),
        ("VIS", 2, 0.5, 2.0, []),
        ("VIS", 0.6, None, 0.6, []),
        ("VIS", None, None, 1.0, ["ESO DET OUT1 CONAD is missing: 1 electron/ADU"]),
        (
            "VIS",
            1.6,
            1.6,
            1.6,
            ["ESO DET OUT1 CONAD x ESO DET OUT1 GAIN is 1.6 x 1.6 = 2.56, expected 1: 1.6 electron"],
        ),
        ("VIS", 9.0, 1 / 9, 9.0, ["ESO DET OUT1 CONAD is 9, expected about one of 0.6, 1, 2: it is used as it is"]),
        ("NIR", 2.3, None, 2.3, []),
        ("NIR", 1.0, 1.0, 2.3, ["ESO DET OUT1 CONAD is 1, expected 2.3: the table's 2.3 electron/ADU is used"]),
    ],
)
def test_conversion_factors(make_frame, arm, conad, gain, used, warnings):
    cards = {"ESO DET OUT1 CONAD": conad, "ESO DET OUT1 GAIN": gain}
    frames = collect_frames([make_frame(f"{name}.fits", cards, arm=arm) for name in "abc"])
    assert frames.conad_e_per_adu == used
    assert len(frames.warnings) == len(warnings)
    assert all(found.startswith(begin) for found, begin in zip(frames.warnings, warnings, strict=True))


def test_a_factor_of_zero_is_refused_where_it_is_used_and_else_named(make_frame):
    cards = {"ESO DET OUT1 CONAD": 0, "ESO DET OUT1 GAIN": 0}
    faults = refused(FrameError, [make_frame(f"{name}.fits", cards, arm="VIS") for name in "abc"])
    assert faults[0].startswith("a.fits (input 1): ESO DET OUT1 CONAD is 0, expected a number above zero, up to 1e6: ")
    frames = collect_frames([make_frame(f"{name}.fits", cards) for name in "def"])  # NIR: the factor of the table
    assert (frames.conad_e_per_adu, len(frames.warnings)) == (2.3, 2)
    assert "ESO DET OUT1 CONAD is 0, expected a number above zero, up to 1e6: it is not used" in frames.warnings[0]


# ---- numbers


@pytest.mark.parametrize("number", ["1E400", "-1D999", "1E300"])
@pytest.mark.parametrize(
    ("keyword", "usable"),
    [
        ("EXPTIME", False),
        ("ESO DET DIT", False),
        ("ESO DET CHIP RON", True),
        ("ESO INS TEMP217 VAL", True),
        ("ESO DET OUT1 GAIN", True),
    ],
)
def test_infinite_and_huge_numbers_are_refused_or_left_out_by_name(make_frame, number, keyword, usable):
    paths = [make_frame(f"{name}.fits", {keyword: "9" * 10}) for name in "abc"]
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"'9999999999'", f"{number:12}".encode()))
    named = f"{keyword} is '{number}', expected "
    if usable:
        frames = collect_frames(paths)
        assert frames.warnings[0].startswith(f"a.fits (input 1), b.fits (input 2), c.fits (input 3): {named}")
        assert frames.warnings[0].endswith(": it is not used")
        assert frames.temperatures_k.size == 0
        return
    assert all(named in fault for fault in refused(FrameError, paths))


@pytest.mark.parametrize(
    ("found", "kelvin", "warning"),
    [
        (40.0, 40.0, ""),
        (-173.0, 100.15, "is -173.0, below zero kelvin: it is read as Celsius"),
        (0.0, None, "is 0.0, expected kelvin, up to 1000: it is not used"),
        (-300.0, None, "is -300.0, expected kelvin"),
        (1e30, None, "is 1e+30, expected kelvin"),
        ("cold", None, "is 'cold', expected kelvin"),
    ],
)
def test_temperatures(make_frame, found, kelvin, warning):
    frames = collect_frames([make_frame(f"{name}.fits", {"ESO INS TEMP217 VAL": found}) for name in "abc"])
    assert frames.temperatures_k.tolist() == ([] if kelvin is None else [kelvin] * 3)
    assert len(frames.warnings) == bool(warning)
    assert warning in "".join(frames.warnings)


# ---- units, settings, dates


@pytest.mark.parametrize(
    ("unit", "meaning", "factor"),
    [
        (None, "ADU", 0.6),
        ("adu", "ADU", 0.6),
        ("DN", "ADU", 0.6),
        ("counts", "ADU", 0.6),
        ("electron", "electron", 1.0),
        ("e-", "electron", 1.0),
        ("ADU/s", "ADU/s", 180.0),
        ("count / sec", "ADU/s", 180.0),
        ("electron s-1", "electron/s", 300.0),
        ("electrons per second", "electron/s", 300.0),
    ],
)
def test_units_of_samples(make_frame, unit, meaning, factor):
    frames = collect_frames([make_frame(f"{name}.fits", {"BUNIT": unit}, arm="VIS") for name in "abc"])
    assert (frames.unit, frames.e_per_sample) == (meaning, pytest.approx(factor))
    assert len(frames.warnings) == (meaning != "ADU")


def test_unknown_and_mixed_units_are_refused(make_frame):
    faults = refused(FrameError, [make_frame(f"{name}.fits", {"BUNIT": "Jy"}) for name in "abc"])
    assert "BUNIT is 'Jy', expected ADU, count, electron, ADU/s or electron/s" in faults[0]
    mixed = [
        make_frame(f"{name}.fits", {"BUNIT": unit}) for name, unit in zip("xyz", ("electron", None, None), strict=True)
    ]
    assert "x.fits (input 1): BUNIT is 'electron', expected 'ADU' as in 2 of 3" in refused(MixedFramesError, mixed)[0]
    bias = {"ESO DPR TYPE": "BIAS", "EXPTIME": 0.0, "BUNIT": "ADU/s"}
    with pytest.raises(FrameError, match="BUNIT is 'ADU/s', expected ADU or electron, as a bias has no exposure"):
        collect_frames_of([make_frame(f"bias{i}.fits", bias, arm="VIS") for i in range(3)], BIAS)


@pytest.mark.parametrize(
    ("keyword", "value", "other"),
    [
        ("GAIN", 100, 300),
        ("OFFSET", 10, 50),
        ("COADDS", 1, 2),
        ("ROWORDER", "TOP-DOWN", "BOTTOM-UP"),
        ("XORGSUBF", 0, 16),
        ("YORGSUBF", 0, 16),
        ("ESO DET WIN1 STRX", 1, 17),
        ("ESO DET WIN1 STRY", 1, 17),
        ("ESO DET WIN STARTX", 1, 17),
    ],
)
def test_settings_and_windows_must_agree(make_frame, keyword, value, other):
    paths = [
        make_frame(f"{name}.fits", {keyword: found}) for name, found in zip("abc", (value, value, other), strict=True)
    ]
    (fault,) = refused(MixedFramesError, paths)
    assert fault.startswith(f"c.fits (input 3): {keyword} is {other!r}, expected {value!r} as in 2 of 3 frames: ")


def test_dates_that_contradict_each_other_are_named(make_frame):
    dates = [{"DATE-OBS": "2026-03-01T12:00:00"}, {}, {}]
    frames = collect_frames([make_frame(f"{i}.fits", cards | {"MJD-OBS": 61000.5}) for i, cards in enumerate(dates)])
    assert frames.warnings == (
        "0.fits (input 1): MJD-OBS is 61000.5 (2025-11-21T12:00:00.000), but DATE-OBS is '2026-03-01T12:00:00', "
        "expected the same start: MJD-OBS is used",
    )


@pytest.mark.parametrize("times", [(0.01, 0.02), (0.001, 0.01)])
def test_short_exposure_times_must_agree_to_a_tenth(make_frame, times):
    cards = [{"EXPTIME": time, "ESO DET DIT": None} for time in (times[0], *times)]
    faults = refused(MixedFramesError, [make_frame(f"{i}.fits", card) for i, card in enumerate(cards)])
    assert f"EXPTIME is {times[1]}, expected {times[0]}" in faults[0]


# ---- cost


def test_nothing_heavy_is_imported(darks, tmp_path):
    code = (
        "import sys\n"
        "from soxspipe.inputs.raw_frames import collect_frames\n"
        "from soxspipe.recipes import soxs_mdark\n"
        f"collect_frames({str(tmp_path)!r}, soxs_mdark.kind)\n"
        "print([name for name in ('scipy', 'ccdproc', 'astropy.nddata', 'matplotlib') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_hundred_frames(make_frame):
    paths = [
        make_frame(f"{i:03}.fits", {"MJD-OBS": 61100 + i}, data=np.full((40, 48), i, np.uint16)) for i in range(100)
    ]
    frames = collect_frames(paths)
    assert [dark.name for dark in frames.frames] == [path.name for path in paths]
