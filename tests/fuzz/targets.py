"""Targets for hostile bytes, and the rules that hold for all of them."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.exceptions import SoxspipeError
from soxspipe.fits_files.images import read_image_hdus
from soxspipe.fits_files.pixel_reader import PixelReader
from soxspipe.inputs.raw_frames import collect_frames
from soxspipe.inputs.set_of_files import list_files, parse_sof
from soxspipe.instruments import keywords
from soxspipe.instruments.first_table import first_table
from soxspipe.recipes import soxs_mdark
from soxspipe.settings import Settings, default_settings_text
from tests.raw_frames import CARDS, header_of, pack_lzw

__all__ = ["TARGETS", "check", "frame", "reduced", "seeds", "tiled"]

SHAPE = 40, 48
#: No fault in a message is longer.
LONGEST_FAULT = 50_000
#: In seeds where an input might be executed: an audit finds it then.
CANARY = "c4n4ry"


def frame(number: int = 0, **cards: Any) -> bytes:
    """Return a raw dark as a file holds it; ``cards`` are keywords with ``__`` for a space."""
    pixels = np.random.default_rng(number).integers(900, 1100, SHAPE, dtype=np.uint16)
    changed = {keyword.replace("__", " "): value for keyword, value in cards.items()}
    header = header_of(CARDS["NIR"] | {"MJD-OBS": 61100.0 + 0.01 * number, "OBJECT": CANARY} | changed)
    file = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(file)
    return file.getvalue()


def tiled(number: int = 0, **options: Any) -> bytes:
    """Return a raw dark in compressed tiles."""
    with fits.open(io.BytesIO(frame(number)), do_not_scale_image_data=True) as hdus:
        image = fits.CompImageHDU(hdus[0].data, hdus[0].header, **options)
        image.header["BZERO"], image.header["BSCALE"] = 32768, 1
        file = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(file)
    return file.getvalue()


def product() -> bytes:
    """Return a file of several images and a table."""
    planes = [fits.PrimaryHDU(np.ones((4, 5), np.float32)), fits.ImageHDU(np.ones((4, 5), np.int32), name="QUAL")]
    file = io.BytesIO()
    fits.HDUList([*planes, fits.BinTableHDU(name="T"), fits.ImageHDU(np.ones((4, 5)), name="ERRS")]).writeto(file)
    return file.getvalue()


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Let errors of soxspipe pass; their lines must be short, and harmless on a terminal."""
    try:
        yield
    except SoxspipeError as error:
        assert error.faults  # noqa: PT017 - either is right
        for line in error.faults:
            assert line.isprintable(), line
            assert len(line) <= LONGEST_FAULT, len(line)


def sof(data: bytes, folder: Path) -> None:
    """Read a set of files."""
    path = folder / "darks.sof"
    path.write_bytes(data)
    with refusals():
        entries = parse_sof(path)
        assert entries
        assert all(entry.label.isprintable() for entry in entries)
        assert list_files(path).entries == entries


def settings(data: bytes, folder: Path) -> None:
    """Read an instrument table, then settings."""
    path = folder / "my.yaml"
    path.write_bytes(data)
    with refusals():
        keywords.load_instrument(path)
    with refusals():
        assert isinstance(Settings.load(path), Settings)


def header(data: bytes, folder: Path) -> None:
    """Verify a frame among good ones, and read its pixels."""
    path = folder / "x.fits"
    path.write_bytes(data)
    with refusals():
        collect_frames([*_good(folder), path], soxs_mdark.kind, minimum_frames=2)
    with refusals():
        _pixels(path)
    with refusals():
        table = first_table(path)
        assert all(question.isprintable() for question in table.questions)
        (folder / "first.yaml").write_text(table.text, encoding="utf-8")
        try:
            keywords.load_instrument(folder / "first.yaml")
        except SoxspipeError as error:
            raise AssertionError(table.text) from error


def packed(data: bytes, folder: Path) -> None:
    """Unpack a file: the first byte is the compression of the others."""
    wrap = {ord("g"): gzip.compress, ord("z"): pack_lzw}.get(data[0] if data else 0)
    path = folder / "x.fits.any"
    path.write_bytes(wrap(data[1:]) if wrap and data[1:] else data[1:])
    with refusals():
        _pixels(path)


def reduction(data: bytes, folder: Path) -> None:
    """Reduce a frame among good ones from the command line: there must be a product or a refusal."""
    path = folder / "x.fits"
    path.write_bytes(data)
    reduced([*_good(folder), path], folder / "out")


def reduced(paths: list[Path], output: Path) -> str:
    """Reduce frames from the command line, and return the messages."""
    messages, results = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(results), warnings.catch_warnings():
        warnings.simplefilter("default")  # as the command has it
        # alone: what a forked process found out comes back as a pickle, and input never does
        code = command_line.main(
            ["mdark", *map(str, paths), f"--output={output}", "--no-report", "--overwrite", "--workers=1"]
        )
    assert code in (0, 2), messages.getvalue()
    assert all(line.isprintable() for line in messages.getvalue().splitlines())
    names = sorted(os.listdir(output)) if output.is_dir() else []
    assert not [name for name in names if name.startswith(".")]
    assert bool(results.getvalue()) == (code == 0)
    if code == 0:
        product = Path(results.getvalue().removesuffix("\n"))
        log = product.with_suffix(".log").read_text(encoding="utf-8")
        assert all(line.isprintable() for line in log.split("\n"))
        with fits.open(product) as hdus:
            for name in ("FLUX", "ERRS"):
                assert np.isfinite(hdus[name].data).sum() >= (hdus["QUAL"].data == 0).sum()
    for name in names:
        (output / name).unlink()
    return messages.getvalue()


def _good(folder: Path) -> list[Path]:
    paths = [folder / f"good{number}.fits" for number in (1, 2, 3)]
    for number, path in enumerate(paths, 1):
        if not path.exists():
            path.write_bytes(frame(number))
    return paths


def _pixels(path: Path) -> None:
    images = read_image_hdus(path)
    assert all(image.extname.isprintable() for image in images)
    with PixelReader(images) as reader:
        for index, image in enumerate(images):
            assert image.header is not None
            for start in range(0, image.shape[0], 16):
                stop = min(start + 16, image.shape[0])
                rows = reader.read_rows(index, start, stop)
                assert (rows.shape, rows.dtype) == ((stop - start, image.shape[1]), image.dtype)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "sof": sof, "settings": settings, "header": header, "packed": packed, "reduction": reduction,
}  # fmt: skip


_watch: dict[str, bool] = {}


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watch.get("on"):
        return
    if event == "subprocess.Popen" and list(arguments[1]) != ["gzip", "-dc"]:
        raise AssertionError(f"started {arguments[1]}")
    if event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class"):
        raise AssertionError(f"{event} {arguments}")
    if event == "compile" and CANARY in str(arguments[0]):
        raise AssertionError(f"compiled {arguments}")


def check(target: str, data: bytes, folder: Path) -> None:
    """Give bytes to a target, which may start no program and reach neither network nor interpreter."""
    if not _watch:
        sys.addaudithook(_forbid)  # an audit hook cannot be removed
    _watch["on"] = True
    try:
        TARGETS[target](data, folder)
    finally:
        _watch["on"] = False


@functools.cache
def seeds(target: str) -> list[bytes]:
    """Return the first inputs of a target."""
    tables = [path.read_bytes() for path in sorted(Path(keywords.__file__).parent.rglob("*.yaml"))]
    return {
        "sof": [
            b"darks.sof DARK_NIR\n'my.yaml' DARK # x\n\n\"$HOME/a b.fits\" MASTER_BIAS_VIS\r\n~/x.fits\n",
            f"$({CANARY}) `{CANARY}`\n${{HOME}}\n\xe9\u202e\n".encode(),
        ],
        "settings": [
            default_settings_text().encode(),
            b"soxs-mdark: {minimum-frames: 4, NIR: {frame-clipping-sigma: 1.5e1}}\n",
            f"instruments: {{table: '{CANARY}.yaml'}}\nquality: {{PULL STD: [null, 2.0]}}\n".encode(),
            f"database settings: {{host: {CANARY}}}\n".encode(),
            f"logging: &a [!!python/object/apply:os.system ['{CANARY}'], *a]".encode(),
            *tables,
        ],
        "header": [frame(7), frame(7, EXPTIME=1e-9, ESO__INS__X="y" * 200), product(), tiled(7)],
        "packed": [
            b"g" + frame(7),
            b"z" + frame(7),
            *(b"r" + pack(frame(7)) for pack in (gzip.compress, pack_lzw)),
            *(b"r" + tiled(7, compression_type=f"{kind}_1") for kind in ("RICE", "GZIP", "HCOMPRESS")),
            b"r" + tiled(7, compression_type="GZIP_2", tile_shape=(7, 13)),
        ],
        "reduction": [frame(7), frame(7, BLANK=1000, OBJECT="x" * 60), tiled(7), gzip.compress(frame(7))],
    }[target]
