from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import ErrorCollector, FrameError, ProductError
from soxspipe.fits_files import images as images_module
from soxspipe.fits_files import pixel_reader as reader_module
from soxspipe.fits_files.checksums import ChecksumVerifier
from soxspipe.fits_files.images import FitsImage, frame_image, image_hdus, read_image_hdus
from soxspipe.fits_files.pixel_reader import PixelReader, same_pixels
from soxspipe.parallel import map_bands, row_bands
from soxspipe.text import escape


def block(cards: list[str]) -> bytes:
    """Lay cards out as a header, END and padding included, whatever they say."""
    text = "".join(f"{card:80.80}" for card in [*cards, "END"]).encode("latin-1")
    return text + b" " * (-len(text) % 2880)


def primary(bitpix: object = 16, axes: tuple[object, ...] = (3, 2), *more: str) -> list[str]:
    cards = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {bitpix!s:>20}", f"NAXIS   = {len(axes):>20}"]
    return cards + [f"NAXIS{i:<3}= {axis!s:>20}" for i, axis in enumerate(axes, 1)] + list(more)


def read_first_image(path: Path) -> FitsImage:
    return read_image_hdus(path)[0]


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 2880)


def pixels_of(image: FitsImage) -> np.ndarray:
    with PixelReader([image]) as reader:
        return reader.read_rows(0, 0, image.shape[0])


# ---- what samples mean


@pytest.mark.parametrize(
    ("bitpix", "more", "stored", "expected", "dtype"),
    [
        (8, [], "00 01 7F 80 FE FF", [0, 1, 127, 128, 254, 255], "u1"),
        (8, ["BZERO   = -128"], "00 01 7F 80 FE FF", [-128, -127, -1, 0, 126, 127], "i1"),
        (16, [], "0000 0001 7FFF 8000 FFFF 0102", [0, 1, 32767, -32768, -1, 258], "i2"),
        (16, ["BZERO   = 32768"], "8000 8001 7FFF 0000 FFFF 0001", [0, 1, 65535, 32768, 32767, 32769], "u2"),
        (16, ["BZERO   = 32768.0", "BSCALE  = 1.0"], "8000" * 6, [0] * 6, "u2"),
        (32, [], "00000001 FFFFFFFF" + "00" * 16, [1, -1, 0, 0, 0, 0], "i4"),
        (32, ["BZERO   = 2147483648"], "80000000 7FFFFFFF" + "80000005" * 4, [0, 2**32 - 1, 5, 5, 5, 5], "u4"),
        (64, [], "FFFFFFFFFFFFFFFE" + "00" * 40, [-2, 0, 0, 0, 0, 0], "i8"),
        (-32, [], "3FC00000 7FC00000" + "00" * 16, [1.5, np.nan, 0, 0, 0, 0], "f4"),
        (-64, [], "3FF8000000000000" + "00" * 40, [1.5, 0, 0, 0, 0, 0], "f8"),
        (16, ["BSCALE  = 0.5", "BZERO   = 10"], "0000 0001 FFFF" + "0004" * 3, [10, 10.5, 9.5, 12, 12, 12], "f8"),
        (-32, ["BSCALE  = 2.0"], "3FC00000" * 6, [3.0] * 6, "f8"),
        (16, ["BLANK   = -32768"], "8000 0001" + "0000" * 4, [np.nan, 1, 0, 0, 0, 0], "f4"),
        (16, ["BLANK   = -1", "BZERO   = 32768"], "FFFF 8000" + "0000" * 4, [np.nan, 0] + [32768] * 4, "f4"),
        (32, ["BLANK   = 7"], "00000007 7FFFFFFF" + "00" * 16, [np.nan, 2**31 - 1, 0, 0, 0, 0], "f8"),
        (-32, ["BLANK   = 0"], "00" * 24, [0.0] * 6, "f4"),
    ],
)
def test_samples_are_read_as_fits_means_them(tmp_path, bitpix, more, stored, expected, dtype):
    path = tmp_path / "a.fits"
    path.write_bytes(block(primary(bitpix, (3, 2), *more)) + padded(bytes.fromhex(stored)))
    image = read_first_image(path)
    assert (image.hdu, image.shape, image.bitpix, image.offset, image.compression) == (0, (2, 3), bitpix, 2880, "")
    assert image.dtype == np.dtype(dtype)
    values = pixels_of(image)
    assert values.dtype == np.dtype(dtype)
    assert values.dtype.isnative
    assert values.flags.writeable
    np.testing.assert_array_equal(values, np.array(expected, dtype).reshape(2, 3))


def test_bands_are_parts_of_the_image(make_frame):
    path = make_frame("a.fits")
    expected = fits.getdata(path)
    with PixelReader([read_first_image(path)]) as reader:
        bands = [reader.read_rows(0, start, min(start + 7, 40)) for start in range(0, 40, 7)]
        np.testing.assert_array_equal(np.concatenate(bands), expected)
        assert bands[0].dtype == np.uint16
        assert reader.read_rows(0, 5, 5).shape == (0, 48)
        with pytest.raises(ValueError, match=r"rows 30:41 of .*a\.fits, which has 40"):
            reader.read_rows(0, 30, 41)


# ---- compression


@pytest.mark.parametrize(
    ("how", "name", "kind"),
    [
        ("gz", "b.fits.gz", "gzip"),
        ("gz", "b.fits", "gzip"),
        ("bz2", "b.fits.bz2", "bzip2"),
        ("Z", "b.fits.Z", "lzw"),
        ("Z", "-d; rm x.fits", "lzw"),
        ("fz", "b.fits.fz", "tiles"),
        ("fz", "b.fits", "tiles"),
    ],
)
def test_the_content_decides_on_the_compression_and_the_file_stays_as_it_is(make_frame, pack, how, name, kind):
    plain = make_frame("a.fits", {"ESO INS TEMP217 VAL": 40.1})
    path = pack(plain, how, name)
    before = path.read_bytes(), path.stat().st_mtime_ns
    image = read_first_image(path)
    assert (image.compression, image.shape, image.dtype) == (kind, (40, 48), np.uint16)
    for keyword in ("INSTRUME", "EXPTIME", "ESO SEQ ARM", "ESO INS TEMP217 VAL", "NAXIS1", "BITPIX", "BZERO"):
        assert image.header[keyword] == fits.getval(plain, keyword)
    with PixelReader([image]) as reader:
        np.testing.assert_array_equal(reader.read_rows(0, 11, 29), fits.getdata(plain)[11:29])
        np.testing.assert_array_equal(reader.read_rows(0, 0, 40), fits.getdata(plain))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "options",
    [
        {"compression_type": "GZIP_2"},
        {"compression_type": "HCOMPRESS_1"},
        {"tile_shape": (7, 13)},
        {"tile_shape": (40, 48)},
    ],
)
def test_tiles_of_any_kind_and_shape(make_frame, pack, options, monkeypatch):
    plain = make_frame("a.fits")
    np.testing.assert_array_equal(pixels_of(read_first_image(pack(plain, "fz", **options))), fits.getdata(plain))


def test_tiles_of_floats_and_of_integers_with_blanks(tmp_path, make_frame, pack):
    floats = np.random.default_rng(1).normal(0, 5, (40, 48)).astype(np.float32)
    path = pack(make_frame("f.fits", data=floats), "fz", compression_type="GZIP_1", quantize_level=0)
    np.testing.assert_array_equal(pixels_of(read_first_image(path)), floats)

    header = fits.Header({"BLANK": -32768})
    blanks = np.arange(40 * 48, dtype=np.int16).reshape(40, 48)
    blanks[3, 4] = -32768
    fits.PrimaryHDU(blanks, header).writeto(tmp_path / "i.fits")
    values = pixels_of(read_first_image(pack(tmp_path / "i.fits", "fz")))
    assert values.dtype == np.float32
    assert np.isnan(values[3, 4])
    assert np.isnan(values).sum() == 1
    assert values[39, 47] == 40 * 48 - 1


def test_primary_keywords_hold_for_an_image_in_an_extension(tmp_path):
    data = np.arange(12, dtype=np.int32).reshape(3, 4)
    first = fits.PrimaryHDU()
    first.header["INSTRUME"] = "SOXS"
    first.header["EXPTIME"] = 1.0
    first.header["HIERARCH ESO SEQ ARM"] = "NIR"
    image = fits.ImageHDU(data, fits.Header({"EXPTIME": 2.0}), name="CHIP")
    fits.HDUList([first, image]).writeto(tmp_path / "a.fits")
    fits.HDUList([first, fits.CompImageHDU(data, image.header)]).writeto(tmp_path / "b.fits")
    for name in ("a.fits", "b.fits"):
        image = read_first_image(tmp_path / name)
        assert (image.hdu, image.extname) == (1, "CHIP")
        assert (image.header["INSTRUME"], image.header["ESO SEQ ARM"], image.header["EXPTIME"]) == ("SOXS", "NIR", 2.0)
        np.testing.assert_array_equal(pixels_of(image), data)


def test_images_of_a_product(tmp_path, pack):
    planes = [fits.PrimaryHDU(np.ones((4, 5), np.float32), fits.Header({"EXTNAME": "FLUX", "BUNIT": "electron"}))]
    planes += [fits.ImageHDU(np.full((4, 5), 7, np.int32), name="QUAL"), fits.BinTableHDU(name="TABLE")]
    planes += [fits.ImageHDU(np.full((4, 5), 0.5, np.float32), name="ERRS"), fits.ImageHDU(np.ones((2, 2, 2)))]
    path = tmp_path / "a.fits"
    fits.HDUList(planes).writeto(path)
    for file in (path, pack(path, "gz"), pack(path, "Z")):
        images = read_image_hdus(file)
        assert [(image.hdu, image.extname) for image in images] == [(0, "FLUX"), (1, "QUAL"), (3, "ERRS")]
        assert "BUNIT" not in images[1].header
        with PixelReader(images) as reader:
            values = [reader.read_rows(i, 1, 3) for i in (2, 0, 1)]
        assert [(value.dtype, value[0, 0]) for value in values] == [("f4", 0.5), ("f4", 1.0), ("i4", 7)]


def test_compressed_frames_are_unpacked_once_into_one_nameless_file(make_frame, pack, tmp_path, monkeypatch):
    plain = [make_frame(f"{name}.fits") for name in "abc"]
    images = [read_first_image(pack(path, how)) for path, how in zip(plain, ("gz", "Z", "fz"), strict=True)]
    folder = tmp_path / "temporary"
    folder.mkdir()
    unpacked = []
    for name in ("_unpacked_stream", "unpacked_tiles"):
        original = getattr(reader_module, name)
        monkeypatch.setattr(reader_module, name, lambda image, do=original: unpacked.append(image.path) or do(image))
    descriptors = len(os.listdir("/dev/fd"))
    with PixelReader(images, temporary_folder=folder) as reader:
        for start in range(0, 40, 5):
            for i, path in enumerate(plain):
                np.testing.assert_array_equal(
                    reader.read_rows(i, start, start + 5), fits.getdata(path)[start : start + 5]
                )
        assert list(folder.iterdir()) == []
        assert len(os.listdir("/dev/fd")) == descriptors + 1
    assert sorted(unpacked) == sorted(image.path for image in images)
    assert len(os.listdir("/dev/fd")) == descriptors


# ---- many frames, many threads


def test_five_hundred_frames_with_64_descriptors(make_frame):
    paths = [make_frame(f"{i:03}.fits", data=np.full((2, 3), i, np.int16)) for i in range(500)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        with PixelReader([read_first_image(path) for path in paths]) as reader:
            for row in (0, 1):
                assert [reader.read_rows(i, row, row + 1)[0, 2] for i in range(500)] == list(range(500))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_threads_share_a_reader(make_frame, pack):
    plain = [make_frame(f"{name}.fits", data=np.full((40, 30), i, np.int16)) for i, name in enumerate("abcdefgh")]
    images = [read_first_image(pack(path, "gz") if i % 3 else path) for i, path in enumerate(plain)]

    def read(seed: int, _: int) -> set[tuple[int, int]]:
        random = np.random.default_rng(seed)
        pairs = [(int(random.integers(8)), int(random.integers(39))) for _ in range(100)]
        return {(i, int(value)) for i, start in pairs for value in np.unique(reader.read_rows(i, start, start + 2))}

    with PixelReader(images) as reader:
        reader.read_rows(1, 0, 1)  # unpacked here; the others by the thread that reads them first
        seen = map_bands(read, [(seed, seed + 1) for seed in range(12)], 3)
        np.testing.assert_array_equal(reader.read_rows(1, 3, 5), fits.getdata(plain[1])[3:5])
    assert set().union(*seen) == {(i, i) for i in range(8)}


def test_several_threads_unpack_each_image_once(make_frame, pack, tmp_path, monkeypatch):
    plain = [make_frame(f"{name}.fits", data=np.full((40, 30), i, np.int16)) for i, name in enumerate("abcdef")]
    images = [
        read_first_image(pack(path, how)) for path, how in zip(plain[:5], ("gz", "Z", "fz", "gz", "fz"), strict=True)
    ]
    done = tmp_path / "done"
    unpack = PixelReader._unpack

    def unpacking(self, index):
        with done.open("a") as lines:
            lines.write(f"{index}\n")
        unpack(self, index)

    monkeypatch.setattr(PixelReader, "_unpack", unpacking)
    with PixelReader([*images, read_first_image(plain[5])]) as reader:
        reader.read_rows(3, 0, 1)
        reader.unpack(3)
        levels = map_bands(lambda i, _: reader.read_rows(i, 0, 40).mean(), row_bands([(0, 6)], 1), 3)
    assert levels == [0, 1, 2, 3, 4, 5]
    assert sorted(done.read_text().split()) == list("01234")


def test_an_image_can_be_sent_to_another_process(make_frame):
    image = read_first_image(make_frame("a.fits"))
    copy = pickle.loads(pickle.dumps(image))
    assert copy == image
    np.testing.assert_array_equal(pixels_of(copy), pixels_of(image))
    assert copy.header["ESO SEQ ARM"] == "NIR"


# ---- files that are refused when their header is read


def image_of(bitpix, axes, *more):
    return block(primary(bitpix, axes, *more)) + b"\0" * 2880


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty (0 bytes): fetch it again"),
        (np.random.default_rng(1).bytes(9000), "not a FITS file, it does not begin with SIMPLE: leave it out"),
        (b"path TAG\n", "not a FITS file"),
        (b"\x1f\x8b", "damaged or cut off at its end: fetch it again"),
        (gzip.compress(b"hello", mtime=0), "not a FITS file"),
        (b"\x1f\x9d\x90", "not a FITS file"),
        (block(primary())[:-1], "truncated: the header promises 2880 bytes, 2879 are there, 1 are missing"),
        (block(primary()) + b"\0" * 11, "truncated: the header promises 2892 bytes, 2891 are there, 1 are missing"),
        (block(primary(16, (3, 2), *["COMMENT"] * 40))[:2880], "the file ends inside a header, whose END is missing"),
        (image_of("7", (3, 2)), "BITPIX is '7', expected one of 8, 16, 32, 64, -32, -64"),
        (image_of("'x'", (3, 2)), "BITPIX is 'x', expected one of"),
        (image_of(16, ("-3", 2)), "NAXIS1 is '-3', expected a whole number: damaged, fetch it again"),
        (image_of(16, (3, "2.5")), "NAXIS2 is '2.5', expected a whole number"),
        (image_of(16, (3, "T")), "NAXIS2 is 'True', expected a whole number"),
        (block(primary()[:-1]) + b"\0" * 2880, "NAXIS2 is missing, expected a whole number"),
        (block(primary()[:2] + ["NAXIS   = 999"]), "NAXIS is 999, expected 2"),
        (image_of(16, (10**9, 10**9)), "promises 2000000000000002880 bytes, 5760 are there, 1999999999999997120 are"),
        (image_of(16, (10**40, 2)), "are missing: fetch the file again"),
        (image_of(16, (3, 2), "BSCALE  = 'x'"), "BSCALE is 'x', expected a number"),
        (block(primary(16, (3, 2), *["HISTORY"] * 100_000)), "more than 4194304 bytes of header"),
        (block(primary(16, (3, 2), *["A = x"] * 2500)) + b"\0" * 2880, "2500 odd or continued cards in its header"),
        (block(primary(8, ())) + block(["XTENSION= 'IMAGE'", *primary(8, ())[1:]]) * 300, "more than 256 HDUs"),
        (gzip.compress(image_of(16, (10**6, 10**6))), "promises 2000000002880 bytes of pixels, expected at most"),
    ],
)
def test_refused_by_the_header(tmp_path, content, message):
    path = tmp_path / "bad name.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError) as caught:
        read_first_image(path)
    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_bytes_are_counted(make_frame):
    path = make_frame("a.fits")
    size = path.stat().st_size // 2880 * 2880 - 2 * 2880 + 40 * 48 * 2  # without the padding of the last block
    for missing in (1, 500, 3000):
        os.truncate(path, size - missing)
        with pytest.raises(FrameError, match=f"promises {size} bytes, {size - missing} are there, {missing} are miss"):
            read_first_image(path)


def test_files_that_are_not_regular_are_refused_at_once(tmp_path):
    (tmp_path / "x.fits").mkdir()
    os.mkfifo(tmp_path / "y.fits")
    (tmp_path / "l.fits").symlink_to("nowhere")
    for name, message in {
        "x.fits": "is a folder, expected a FITS file",
        "y.fits": "is not a regular file, expected a FITS file",
        "l.fits": "cannot be read (No such file or directory)",
        "none.fits": "cannot be read (No such file or directory)",
        "none.fits/x": "cannot be read (No such file or directory)",
    }.items():
        with pytest.raises(FrameError) as caught:
            read_first_image(tmp_path / name)
        assert f"{tmp_path / name}: {message}" in str(caught.value)


def test_tiles_are_checked_before_they_are_unpacked(make_frame, pack, tmp_path):
    path = pack(make_frame("a.fits"), "fz")
    tiled = path.read_bytes()
    for card, value, message in (
        ("ZNAXIS1 ", "100000000", "promises 8000000000 bytes of pixels, expected at most 1073741824"),
        ("ZNAXIS1 ", "-5", "ZNAXIS1 is '-5', expected a whole number"),
        ("ZBITPIX ", "17", "ZBITPIX is '17', expected one of"),
    ):
        at = tiled.index(f"{card}= ".encode())
        path.write_bytes(tiled[:at] + f"{card}= {value:>20}".encode() + tiled[at + 30 :])
        with pytest.raises(FrameError) as caught:
            read_first_image(path)
        assert message in str(caught.value)
    with fits.open(path, disable_image_compression=True) as hdus:
        end = (
            hdus[1].fileinfo()["datLoc"]
            + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
            + hdus[1].header["PCOUNT"]
        )
    path.write_bytes(tiled[: end - 10])
    with pytest.raises(FrameError, match="10 are missing"):
        read_first_image(path)
    path.write_bytes(gzip.compress(tiled))
    with pytest.raises(FrameError, match=r"compressed twice \(gzip around tiles\), expected once"):
        read_first_image(path)


def bomb_in_a_tile(tiled: bytes, bomb: bytes) -> bytes:
    """Put another tile in the place of the only one."""
    begin = tiled.index(b"XTENSION= 'BINTABLE'")
    data = tiled.index(b"END     ", begin) // 2880 * 2880 + 2880
    header = bytearray(tiled[:data])
    at = header.index(b"PCOUNT  =", begin)
    header[at : at + 80] = f"{f'PCOUNT  = {len(bomb):>20}':80}".encode()
    return bytes(header) + padded(len(bomb).to_bytes(4, "big") + bytes(4) + bomb)


@pytest.mark.parametrize("kind", ["GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("members", [1, 50])
def test_a_bomb_in_a_tile_is_not_unpacked(make_frame, pack, monkeypatch, kind, members):
    path = pack(make_frame("a.fits"), "fz", compression_type=kind, tile_shape=(40, 48))
    member = gzip.compress(bytes(20_000_000 // members))
    path.write_bytes(bomb_in_a_tile(path.read_bytes(), member * members))
    monkeypatch.setattr(gzip, "decompress", lambda _: pytest.fail("unpacked"))
    with pytest.raises(FrameError, match=r"damaged \(a tile of 1920 pixels unpacks to \d+ bytes or more\)"):
        pixels_of(read_first_image(path))


def test_a_tile_that_would_overflow_the_memory_of_the_decoder_is_refused(make_frame, pack):
    path = pack(make_frame("a.fits"), "fz", compression_type="HCOMPRESS_1", tile_shape=(40, 48))
    tiled = path.read_bytes()
    at = tiled.index(b"\xdd\x99") + 2
    path.write_bytes(tiled[:at] + (4000).to_bytes(4, "big") + tiled[at + 4 :])
    with pytest.raises(FrameError, match=r"damaged \(a tile of 1920 pixels unpacks to 4000 x 4[08]\)"):
        pixels_of(read_first_image(path))


@pytest.mark.parametrize("rows", [0, -1])
def test_tiles_without_rows_are_refused(make_frame, pack, rows):
    path = pack(make_frame("a.fits"), "fz")
    tiled = path.read_bytes()
    at = tiled.index(b"ZTILE2  =")
    path.write_bytes(tiled[:at] + f"ZTILE2  = {rows:>20}".encode() + tiled[at + 30 :])
    with pytest.raises(FrameError, match=r"damaged \(tiles have the shape"):
        pixels_of(read_first_image(path))


# ---- files that are refused when their pixels are read


@pytest.mark.parametrize("how", ["gz", "bz2", "Z", "fz"])
def test_truncated_or_damaged_under_compression(make_frame, pack, how):
    noise = np.random.default_rng(3).integers(0, 65535, (40, 48), dtype=np.uint16)
    path = pack(make_frame("a.fits", data=noise), how)
    packed = path.read_bytes()
    cut = None if how == "fz" else len(packed) // 2
    content = packed[:cut] if cut else packed[:9000] + bytes(200) + packed[9200:]
    path.write_bytes(content)
    with pytest.raises(FrameError) as caught:
        pixels_of(read_first_image(path))
    assert str(path) in str(caught.value)
    assert ("are missing" if how in ("gz", "Z") else "damaged") in str(caught.value)


@pytest.mark.parametrize("how", ["gz", "Z"])
def test_the_last_bytes_count_too(make_frame, pack, how):
    path = pack(make_frame("a.fits", data=np.arange(1440, dtype=np.int16).reshape(36, 40)), how)  # fills its block
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FrameError, match=r"a\.fits\.(gz|Z): (damaged or cut off at its end|truncated)"):
        pixels_of(read_first_image(path))


def test_a_wrong_check_sum_of_gzip_is_noticed(make_frame, pack):
    path = pack(make_frame("a.fits"), "gz")
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FrameError, match=r"a\.fits\.gz: damaged \(CRC check failed"):
        pixels_of(read_first_image(path))


def test_without_the_program_gzip(make_frame, pack, monkeypatch, tmp_path):
    path = pack(make_frame("a.fits"), "Z")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FrameError) as caught:
        read_first_image(path)
    assert f"{path}: is LZW-compressed (.Z) and the program gzip" in str(caught.value)
    assert "install gzip" in str(caught.value)


@pytest.mark.parametrize("how", ["plain", "gz", "Z", "fz"])
def test_a_file_that_changes_is_refused(make_frame, pack, how):
    path = make_frame("a.fits")
    path = path if how == "plain" else pack(path, how)
    image = read_first_image(path)
    with PixelReader([image]) as reader:
        os.utime(path, ns=(1, 1))
        with pytest.raises(FrameError, match=f"{path.name}: changed while it was read: start again"):
            reader.read_rows(0, 0, 1)
    path.unlink()
    with PixelReader([image]) as reader, pytest.raises(FrameError, match="cannot be read"):
        reader.read_rows(0, 0, 1)


def test_a_file_that_shrinks_while_it_is_open_is_refused(make_frame):
    path = make_frame("a.fits")
    with PixelReader([read_first_image(path)]) as reader:
        reader.read_rows(0, 0, 1)
        os.truncate(path, 3000)
        with pytest.raises(FrameError, match="changed while it was read"):
            reader.read_rows(0, 30, 40)


@pytest.mark.parametrize("how", ["gz", "fz"])
def test_no_room_to_unpack_is_the_fault_of_the_machine(make_frame, pack, tmp_path, how):
    image = read_first_image(pack(make_frame("a.fits"), how))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with PixelReader([image], temporary_folder=tmp_path) as reader, pytest.raises(ProductError) as caught:
            reader.read_rows(0, 0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(f"{tmp_path}: cannot unpack a.fits.{how} there (File too large; it needs 3840 ")
    with (
        PixelReader([image], temporary_folder=tmp_path / "none") as reader,
        pytest.raises(ProductError, match="none: "),
    ):
        reader.read_rows(0, 0, 1)


def test_a_bomb_is_unpacked_no_further_than_it_promised(tmp_path):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(image_of(16, (3, 2)) + b"\0" * 5_000_000))
    with PixelReader([read_first_image(path)]) as reader:
        reader.read_rows(0, 0, 2)
        assert os.fstat(reader._unpacked_file.fileno()).st_size == 12


# ---- the last block, and images beside others


@pytest.mark.parametrize("how", ["plain", "gz", "bz2", "Z", "fz"])
def test_the_last_block_may_lack_its_padding_and_bytes_after_it_are_ignored(make_frame, pack, how):
    plain = make_frame("a.fits")
    expected, content = fits.getdata(plain), plain.read_bytes()
    if how == "fz":
        path = pack(plain, how)
        content = path.read_bytes()
        with fits.open(path, disable_image_compression=True) as hdus:
            table = hdus[1].header
            end = hdus[1].fileinfo()["datLoc"] + table["NAXIS1"] * table["NAXIS2"] + table["PCOUNT"]
    else:
        end = len(content) - 2 * 2880 + 40 * 48 * 2
    for number, variant in enumerate(
        (content[:end], content[: end + 3], content + b"junk" * 25, content + bytes(5760))
    ):
        path = plain.with_name(f"{number}.fits")
        path.write_bytes(variant)
        image = read_first_image(path if how in ("plain", "fz") else pack(path, how))
        np.testing.assert_array_equal(pixels_of(image), expected)
        ChecksumVerifier(ErrorCollector(), strict=True).verify([image], "a.fits")


def test_bytes_after_a_compressed_file_are_ignored(make_frame, pack):
    for how in ("gz", "bz2"):
        plain = make_frame(f"{how}.fits")
        path = pack(plain, how)
        path.write_bytes(path.read_bytes() + b"junk" * 25)
        np.testing.assert_array_equal(pixels_of(read_first_image(path)), fits.getdata(plain))


@pytest.mark.parametrize(
    ("start", "name"), [(b"\xfd7zXZ\0\0\4", "xz"), (b"\x28\xb5\x2f\xfd\x24", "zstd"), (b"PK\3\4", "zip")]
)
def test_another_compression_is_refused_by_its_name(tmp_path, start, name):
    path = tmp_path / "a.fits"
    path.write_bytes(start + bytes(5000))
    with pytest.raises(FrameError, match=rf"a\.fits: is compressed by {name}, expected FITS, .*: unpack it"):
        read_first_image(path)


@pytest.mark.parametrize("keyword", ["BLANK", "ZBLANK"])
def test_a_blank_of_integer_tiles_is_nan_under_either_keyword(tmp_path, keyword):
    data = np.arange(1920, dtype=np.int16).reshape(40, 48)
    data[3, 4:9] = -32768
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="RICE_1")]).writeto(path)
    with fits.open(path, disable_image_compression=True, mode="update") as hdus:
        hdus[1].header[keyword] = -32768
    values = pixels_of(read_first_image(path))
    assert np.isnan(values[3, 4:9]).all()
    assert np.isnan(values).sum() == 5
    assert values[39, 47] == 1919


def test_the_image_of_a_frame_is_the_only_one_or_the_named_one(tmp_path):
    first = fits.PrimaryHDU(None, fits.Header({"INSTRUME": "SOXS"}))
    guide, science = np.zeros((3, 4), np.int16), np.ones((5, 6), np.uint16)
    table, spectrum, cube = fits.BinTableHDU(name="LOG"), fits.ImageHDU(np.ones(9)), fits.ImageHDU(np.ones((2, 3, 4)))

    def images_of(*hdus):
        fits.HDUList(list(hdus)).writeto(tmp_path / "a.fits", overwrite=True)
        return tuple(image_hdus(tmp_path / "a.fits"))

    def choose(images, name=None):
        return frame_image(images, name, "a.fits", "the key")

    alone = images_of(first, table, spectrum, fits.ImageHDU(science, name="SCI"))
    assert choose(alone) is alone[0]
    assert choose(alone, "sci") is alone[0]
    several = images_of(first, fits.ImageHDU(guide, name="GUIDE"), fits.ImageHDU(science, name="SCI"))
    assert choose(several, "sci").shape == (5, 6)
    unnamed = images_of(fits.PrimaryHDU(science))
    assert choose(unnamed, "SCI") is unnamed[0]
    primary = fits.PrimaryHDU(guide, fits.Header({"INSTRUME": "SOXS", "BZERO": 7.0}))
    chosen = choose(images_of(primary, fits.ImageHDU(science.astype(np.int16), name="SCI")), "SCI")
    assert (chosen.header["INSTRUME"], chosen.header.get("BZERO"), chosen.shape) == ("SOXS", None, (5, 6))
    np.testing.assert_array_equal(pixels_of(chosen), science)

    for images, name, found in (
        (several, None, "2 images, GUIDE (4 x 3), SCI (6 x 5), expected one image"),
        (several, "DATA", "2 images, GUIDE (4 x 3), SCI (6 x 5), expected one image 'DATA'"),
        (alone, "DATA", "SCI (6 x 5), expected one image 'DATA'"),
        (
            images_of(primary, fits.ImageHDU(science)),
            None,
            "2 images, the primary image (4 x 3), HDU 1 (6 x 5), expect",
        ),
        (images_of(first, *[fits.ImageHDU(guide, name="A")] * 2), "A", "2 images, A (4 x 3), A (4 x 3), expected one"),
        (images_of(primary, cube), None, "2 images, the primary image (4 x 3), HDU 1 (4 x 3 x 2), expected one image"),
    ):
        with pytest.raises(FrameError) as caught:
            choose(images, name)
        assert str(caught.value).startswith(f"a.fits: holds {found}")
        assert str(caught.value).endswith(": name the right one as the key, or leave it out")


# ---- headers


def test_odd_cards_are_read_without_a_warning(tmp_path):
    cards = [
        "OBJECT  = '<script>alert(1)</script>'",
        "LONG    = 'one &'",
        "CONTINUE  'two &'",
        "CONTINUE  'three' / long",
        "UNDEF   =",
        "HIERARCH ESO NONE =",
        "HIERARCH ESO Odd low = 1.5d3 / lower case",
        "BAD     = not a value",
        "HIERARCH ESO BAD = (nor this",
        "NAN     = NaN",
        "no card at all, but words",
        "ESC     = '\x1b[31mred\x07\n'",
        "LATIN   = 'caf\xe9'",
        "WHAT?*  = 5",
        "INT     = 5",
        "CONTINUE  'that was no text'",
        "HIERARCH ESO (x... = 6",
        "EXPTIME = 300.",
        "HIERARCH  = 3",
        "",
    ]
    path = tmp_path / "a.fits"
    path.write_bytes(block(primary(16, (3, 2), *cards)) + b"\0" * 2880)
    header = read_first_image(path).header
    assert header["OBJECT"] == "<script>alert(1)</script>"
    assert header["LONG"] == "one two three"
    assert header.get("UNDEF") is None or isinstance(header["UNDEF"], fits.card.Undefined)
    assert header["ESO ODD LOW"] == 1500.0
    assert header["BAD"] == "not a value"
    assert header["ESO BAD"] == "(nor this"
    assert header["NAN"] == "NaN"
    assert header["ESC"] == "?[31mred??"
    assert header["LATIN"] == "caf?"
    assert header["EXPTIME"] == 300.0
    assert "no card at all, but words" in str(header["COMMENT"])
    # without a warning (they are errors here) everything in it can be looked up, copied and written
    copy = header.copy()
    assert [copy[card.keyword] for card in copy.cards if card.keyword].count(6) == 0
    assert fits.Header.fromstring(copy.tostring()) == copy


def test_a_header_is_parsed_once_and_stored_as_text(make_frame):
    image = read_first_image(make_frame("a.fits"))
    assert image.header is image.header
    assert isinstance(image.cards, str)


def test_a_frame_with_ten_thousand_plain_cards(tmp_path):
    cards = [f"HIERARCH ESO A{i} = {i}" for i in range(10_000)]
    path = tmp_path / "a.fits"
    path.write_bytes(block(primary(16, (3, 2), *cards)) + b"\0" * 2880)
    assert read_first_image(path).header["ESO A9999"] == 9999


def test_limits_are_for_a_file_not_an_hdu(tmp_path, monkeypatch):
    monkeypatch.setattr(images_module, "HEADER_LIMIT", 3 * 2880)
    path = tmp_path / "a.fits"
    path.write_bytes(image_of(16, (3, 2)) + block(["XTENSION= 'IMAGE'", *primary(8, ())[1:]]) * 2)
    assert read_first_image(path).shape == (2, 3)
    path.write_bytes(image_of(16, (3, 2)) + block(["XTENSION= 'IMAGE'", *primary(8, ())[1:]]) * 3)
    with pytest.raises(FrameError, match="bytes of header"):
        read_first_image(path)


def test_escape():
    assert escape("Größe 光 x.fits") == "Größe 光 x.fits"
    assert escape("a\x1b[31m\n\r\t\x00") == r"a\x1b[31m\n\r\t\x00"
    assert escape("\u202e\udcff\u2028\xa0") == r"\u202e\udcff\u2028\xa0"
    assert escape(300.0) == "300.0"


# ---- copies


def test_same_pixels(make_frame, pack):
    rng = np.random.default_rng(5)
    data = rng.integers(0, 9, (40, 48)).astype(np.float32)
    data[3, 3] = np.nan
    other = data.copy()
    other[39, 47] += 1
    paths = [make_frame(f"{i}.fits", data=values) for i, values in enumerate((data, data, other, data[:-1]))]
    with PixelReader([read_first_image(path) for path in paths] + [read_first_image(pack(paths[0], "gz"))]) as reader:
        assert same_pixels(reader, 0, 1)
        assert same_pixels(reader, 0, 4)
        assert not same_pixels(reader, 0, 2)
        assert not same_pixels(reader, 0, 3)


def test_inputs_are_opened_read_only(make_frame, pack, monkeypatch):
    plain = make_frame("a.fits")
    paths = [plain, *(pack(plain, how) for how in ("gz", "Z", "fz"))]
    for path in paths:
        path.chmod(0o444)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    flags = []
    opened = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flag, *a, **k: flags.append((path, flag)) or opened(path, flag, *a, **k)
    )
    for path in paths:
        pixels_of(read_first_image(path))
    assert all(flag & (os.O_WRONLY | os.O_RDWR) == 0 for path, flag in flags if Path(path) in paths)
    assert {Path(path) for path, _ in flags} >= set(paths)
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_a_file_with_holes_promises_no_more_than_any_other(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(block(primary(16, (10**6, 10**6))))
    os.truncate(path, 2880 + 2 * 10**12 + 2880)
    with pytest.raises(FrameError, match="promises 2000000000000 bytes of pixels, expected at most 1073741824"):
        read_first_image(path)
