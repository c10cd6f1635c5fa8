"""For every input: only exceptions of soxspipe, and nothing that disturbs a terminal or is executed.

``HYPOTHESIS_PROFILE=long pytest tests/fuzz`` tries for minutes, other examples each time.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.raw_frames import pack_lzw

from . import targets
from .mutations import ESO, KEYWORDS, VALUES, mutated

# the same examples in every run, without a time limit: a failure can be repeated
settings.register_profile(
    "quick", derandomize=True, database=None, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck)
)
settings.register_profile("long", settings.get_profile("quick"), derandomize=False, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


# ---- valid inputs with faults


@pytest.mark.parametrize("target", ["sof", "settings", "header", "packed", "reduction"])
@given(data=st.data())
def test_nearly_right(target, folder, data):
    seed = data.draw(st.sampled_from(targets.seeds(target)))
    targets.check(target, mutated(seed, random.Random(data.draw(st.integers(0, 2**32)))), folder)


@pytest.mark.parametrize("target", ["sof", "settings", "header", "packed"])
@given(data=st.binary(max_size=300))
def test_any_bytes(target, folder, data):
    targets.check(target, data, folder)


# ---- lists


WORDS = st.one_of(
    st.sampled_from(
        ["darks.sof", "good1.fits", "DARK_NIR", "'", '"', "#", "\\", "$HOME", "${", "~", "~root", "..", "/"]
    ),
    st.text(max_size=8),
)


@given(lines=st.lists(st.lists(WORDS, max_size=6), max_size=6), end=st.sampled_from(["\n", "\r\n", "\r", "\u2028"]))
def test_lines_of_a_list(folder, lines, end):
    text = end.join(random.Random(len(lines)).choice((" ", "\t", "")).join(words) for words in lines)
    targets.check("sof", text.encode("utf-8", "surrogatepass"), folder)


# ---- settings


SCALARS = st.one_of(
    st.sampled_from(
        [
            "null",
            "true",
            "1e999",
            ".nan",
            "-.inf",
            "0x1F",
            "0o17",
            "1_0",
            "1:30",
            "2026-03-01",
            "=",
            "<<",
            "|",
            ">",
            "~",
            "!!int 4",
            "!!python/object/apply:os.system [c4n4ry]",
            "!t x",
            "&a x",
            "*a",
            "{a: &a [*a]}",
            "[" * 300,
            "? x",
        ]
    ),
    st.floats().map(repr),
    st.integers().map(repr),
    st.text(max_size=6),
)
KEYS = st.sampled_from(
    ["soxs-mdark", "quality", "instruments", "table", "NIR", "minimum-frames", "PULL STD", "input", "verify-checksums",
     "clipping-iteration-count", "frame-clipping-iterations", "stacked-clipping-scale", "logging", "database settings",
     "<<", "1", "null", "[a]", "{}"]
)  # fmt: skip
YAML = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}"
        ),
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    ),
    max_leaves=8,
)


@given(pairs=st.lists(st.tuples(KEYS, YAML), max_size=4))
def test_fragments_of_yaml(folder, pairs):
    targets.check(
        "settings", "\n".join(f"{key}: {value}" for key, value in pairs).encode("utf-8", "surrogatepass"), folder
    )


# ---- headers


def card(keyword: str, value: str) -> str:
    return f"{f'{keyword:8}= {value:>20}':80.80}"


CARDS = st.one_of(
    st.tuples(st.sampled_from(KEYWORDS), st.sampled_from(VALUES)).map(lambda pair: card(*pair)),
    st.tuples(st.sampled_from(ESO), st.sampled_from(VALUES)).map(
        lambda pair: card(f"HIERARCH ESO {pair[0].replace('~', ' ')} ", pair[1])
    ),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=80).map(lambda text: f"{text:80}"),
    st.integers(20, 75).map(lambda width: f"{'HIERARCH ESO INS ' + 'A' * (width - 17)}=1".ljust(80)),
    st.just(f"{'CONTINUE':10}'{'z' * 60}&'".ljust(80)),
)


@pytest.mark.parametrize("target", ["header", "reduction"])
@given(cards=st.lists(CARDS, min_size=1, max_size=4), replaced=st.integers(0, 20))
def test_cards(target, folder, cards, replaced):
    frame = targets.seeds("header")[0]
    at = 80 * (5 + replaced)
    data = frame[:at] + "".join(cards).encode("latin-1") + frame[at + 80 * len(cards) :]
    targets.check(target, data, folder)


# ---- packed files


@given(
    wrap=st.sampled_from([gzip.compress, pack_lzw]),
    cut=st.integers(0, 10**6),
    flips=st.lists(st.integers(0, 10**6), max_size=3),
    tail=st.sampled_from([b"", b"junk", bytes(3000), gzip.compress(b"x"), b"\x1f\x8b"]),
)
def test_packed_streams(folder, wrap, cut, flips, tail):
    stream = bytearray(wrap(targets.seeds("header")[0]) + tail)
    for flip in flips:
        stream[flip % len(stream)] ^= 1 << flip % 8
    targets.check("packed", b"r" + bytes(stream[: cut % len(stream)] if cut % 3 == 0 else stream), folder)


TILES = [("ZTILE1", 48), ("ZTILE2", 40), ("ZBITPIX", 16), ("ZNAXIS2", 40), ("ZVAL1", 32), ("TFIELDS", 1), ("NAXIS1", 8)]


@given(
    kind=st.sampled_from(["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"]),
    changed=st.dictionaries(st.sampled_from([name for name, _ in TILES]), st.sampled_from(VALUES), max_size=2),
    flips=st.lists(st.integers(0, 10**6), max_size=3),
)
def test_tiles(folder, kind, changed, flips):
    content = bytearray(targets.tiled(7, compression_type=kind))
    for name, value in changed.items():
        at = content.find(f"{name:8}=".encode(), 2880)
        if at > 0:
            content[at : at + 80] = card(name, value).encode()
    table = content.rindex(b"END     ") // 2880 * 2880 + 2880
    for flip in flips:
        content[table + flip % (len(content) - table)] ^= 1 << flip % 8
    targets.check("packed", b"r" + bytes(content), folder)


# ---- bombs: they are refused by the size in their header, in little memory


def pixels(axes: tuple[int, int]) -> bytes:
    text = "".join([card("SIMPLE", "T"), card("BITPIX", "16"), card("NAXIS", "2"), card("NAXIS1", str(axes[0])),
                    card("NAXIS2", str(axes[1])), f"{'END':80}"])  # fmt: skip
    return text.ljust(2880).encode()


@pytest.mark.parametrize("how", ["gz", "Z", "fz", "header", "names"])
def test_bombs_are_refused_in_little_memory(tmp_path, how):
    path = tmp_path / "x.fits"
    promised = pixels((10**5, 10**5))
    if how == "fz":
        tiled = bytearray(targets.tiled(7))
        for name, length in (("ZNAXIS1", 30_000), ("ZNAXIS2", 30_000), ("ZTILE1", 30_000), ("ZTILE2", 30_000)):
            at = tiled.find(f"{name:8}=".encode())
            if at > 0:
                tiled[at : at + 80] = card(name, str(length)).encode()
        path.write_bytes(tiled)
    elif how == "header":  # a header without an end, a thousandth of its size on disk
        path.write_bytes(gzip.compress(promised[:400] + b"COMMENT ".ljust(80) * 10**6))
    elif how == "names":  # the name of the packed file in the header of gzip has no end
        path.write_bytes(b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 10**6)
    else:
        path.write_bytes({"gz": gzip.compress, "Z": pack_lzw}[how](promised + bytes(10**5)))
    code = (
        "import resource, sys\n"
        "from soxspipe.exceptions import FrameError\n"
        "from soxspipe.fits_files import images as reader\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "try: reader.read_image_hdus(sys.argv[1])\n"
        "except FrameError: print(used() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 * 1024  # kB; on macOS bytes, which are fewer


# ---- findings of long runs


def frames_of(images, tmp_path, **cards):
    """Write images as frames of their own values."""
    paths = [tmp_path / f"{number}.fits" for number in range(len(images))]
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        with fits.open(io.BytesIO(targets.frame(number, **cards))) as units:
            header = units[0].header.copy(strip=True)
        fits.PrimaryHDU(image, header).writeto(path)
    return paths


def test_a_start_at_the_end_of_the_calendar(folder):
    data = targets.frame(7).replace(b"MJD-OBS =             61100.07", b"DATE-OBS= '9999-12-31T23:59:59'"[:30])
    targets.check("reduction", data, folder)


@pytest.mark.parametrize("value", ["0", "'x'", "", "T"])
@pytest.mark.parametrize("place", [5, 8])
def test_a_card_that_is_called_continue(folder, value, place):
    frame = targets.seeds("header")[0]
    at = 80 * place
    targets.check("reduction", frame[:at] + card("CONTINUE", value).encode() + frame[at + 80 :], folder)


def test_frames_without_noise(tmp_path):
    rng = np.random.default_rng(1)
    images = [np.where(rng.random((40, 48)) < 0.5, np.nan, 1000).astype(np.float32) for _ in range(4)]
    messages = targets.reduced(frames_of(images, tmp_path), tmp_path / "out")
    assert messages.count("its pixels do not scatter, expected read noise") == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_more_electrons_than_any_detector_holds(tmp_path, dtype):
    images = np.random.default_rng(1).normal(0, 1e18, (4, 40, 48)).astype(dtype)
    messages = targets.reduced(frames_of(images, tmp_path), tmp_path / "out")
    assert "good pixels to measure its noise from" in messages


def test_one_sample_beyond_all_numbers(tmp_path):
    images = np.random.default_rng(1).normal(1000, 5, (5, 40, 48)).astype(np.float32)
    images[2, 20, 20] = 3e38
    assert "error" not in targets.reduced(frames_of(images, tmp_path), tmp_path / "out")


def test_a_word_that_is_too_long_for_a_file_name(tmp_path):
    images = np.random.default_rng(1).normal(1000, 5, (4, 40, 48)).astype(np.float32)
    messages = targets.reduced(frames_of(images, tmp_path, ESO__DET__READ__CURID="../" * 100), tmp_path / "out")
    assert "error" not in messages


def test_a_list_of_many_files_that_are_not_there(folder):
    targets.check("sof", b"\xf0\x9f\x9b\x91\n" * 2000 + b"x" * 4000, folder)


def test_a_table_whose_fault_shows_what_stands_there(folder):
    targets.check("settings", "soxs-mdark: {minimum-frames: 4,\u202e NIR: {2026'x'".encode(), folder)
