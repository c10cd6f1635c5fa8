"""astropy warns of odd files; filters of warnings belong to the whole process, so nothing here may change them."""

import contextlib
import gc
import threading
import warnings

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import FrameError
from soxspipe.fits_files.images import read_image_hdus
from soxspipe.fits_files.pixel_reader import PixelReader
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks
from tests.raw_frames import pack_tiles

#: Cards that astropy warns of, or repairs with a warning.
ODD_CARDS = [
    "ESO.BAD = not a value",
    "HIERARCH ESO Odd low = 1.5d3 / lower case",
    "BAD     = (nor this",
    "no card at all",
    "INT     = 5",
    "CONTINUE  'this does not continue a text'",
]


def with_odd_cards(data):
    """Return a file with odd cards at the end of its last header."""
    end = data.rindex(b"END" + b" " * 77)
    text = "".join(f"{card:80}" for card in [*ODD_CARDS, "END"]).encode()
    block_end = -(-(end + 80) // 2880) * 2880
    return data[:end] + text + b" " * (-(end + len(text)) % 2880) + data[block_end:]


@contextlib.contextmanager
def without_catching():
    """Forbid to catch warnings: that changes the filters of all threads."""

    class Forbidden(warnings.catch_warnings):  # a module that is imported here may define a subclass
        def __enter__(self):
            raise AssertionError("warnings are caught")

    original, warnings.catch_warnings = warnings.catch_warnings, Forbidden
    try:
        yield
    finally:
        warnings.catch_warnings = original


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_tiles_with_odd_cards(make_frame, kind):
    plain = make_frame("a.fits")
    packed = plain.with_name("b.fits.fz")
    packed.write_bytes(with_odd_cards(pack_tiles(plain, compression_type=kind)))
    with without_catching(), PixelReader([*read_image_hdus(packed)]) as reader:
        np.testing.assert_array_equal(reader.read_rows(0, 0, 40), fits.getdata(plain))
    assert reader.images[0].header["ESO ODD LOW"] == 1500.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ZCMPTYPE= 'RICE_1  '", "ZCMPTYPE= 'LZW     '"),
        ("TTYPE1  = 'COMPRESSED_DATA'", "TTYPE1  = 'COMPRESSED+DATA'"),
        ("TFORM1  = '1PB(", "TFORM1  = '1XX("),
    ],
)
def test_damaged_tables_of_tiles_are_refused(make_frame, old, new):
    plain = make_frame("a.fits")
    data = pack_tiles(plain)
    assert old.encode() in data
    plain.write_bytes(data.replace(old.encode(), new.encode()))
    refusal = pytest.raises(FrameError, match=r"a\.fits: damaged \(")
    with without_catching(), PixelReader([*read_image_hdus(plain)]) as reader, refusal:
        reader.read_rows(0, 0, 40)
    gc.collect()  # a buffer that is still in use would print a message here


def test_two_reductions_at_once_leave_the_filters_alone(tmp_path):
    """In two threads, of plain and tile-compressed frames with odd cards; a warning would be an error here."""
    products = {}

    def reduce(name, sof):
        products[name] = soxs_mdark(sof, output_dir=tmp_path / name).produce_product()

    threads = []
    for name in ("plain", "tiles"):
        made = simulate_darks(tmp_path / f"raw-{name}", DarkSimulation(shape=(64, 64), frames=4))
        for path in made.frames:
            path.write_bytes(with_odd_cards(path.read_bytes() if name == "plain" else pack_tiles(path)))
        threads.append(threading.Thread(target=reduce, args=(name, made.sof)))
    reduce("warm", made.sof)  # imports may set filters
    before = list(warnings.filters)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    np.testing.assert_array_equal(products["plain"].frame.data, products["tiles"].frame.data)
