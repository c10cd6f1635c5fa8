"""Small raw frames, compressed in every way that the reader knows."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

COMMON: dict[str, Any] = {
    "INSTRUME": "SOXS",
    "EXPTIME": 300.0,
    "ESO DPR CATG": "CALIB",
    "ESO DPR TECH": "IMAGE",
    "ESO DPR TYPE": "DARK",
    "ESO DET READ CURID": 1,
}
CARDS: dict[str, dict[str, Any]] = {
    "NIR": COMMON | {"ESO SEQ ARM": "NIR", "ESO DET DIT": 300.0, "ESO DET NDIT": 1},
    "VIS": COMMON
    | {
        "ESO SEQ ARM": "VIS",
        "ESO DET BINX": 1,
        "ESO DET BINY": 1,
        "ESO DET OUT1 CONAD": 0.6,
        "ESO DET OUT1 GAIN": 1.6667,
    },
}
SHAPES = {"NIR": (40, 48), "VIS": (40, 140)}


def header_of(cards: dict[str, Any]) -> fits.Header:
    """Turn keywords into a header; None leaves a keyword out."""
    header = fits.Header()
    for keyword, value in cards.items():
        if value is not None:
            header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    return header


def pack_lzw(data: bytes) -> bytes:
    """Pack as compress(1) does, with literals only; clear codes keep all codes at nine bits."""
    bits = []
    for start in range(0, len(data), 248):
        codes = ([256] + [0] * 7 if start else []) + list(data[start : start + 248])
        bits.append((np.array(codes)[:, None] >> np.arange(9)) & 1)
    return b"\x1f\x9d\x90" + np.packbits(np.concatenate(bits).astype(np.uint8), bitorder="little").tobytes()


def pack_tiles(path: Path, **options: Any) -> bytes:
    """Pack the primary image into tiles, as fpack does: its keywords move to an extension."""
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        tiled = fits.CompImageHDU(hdus[0].data, hdus[0].header, **options)
        for keyword in ("BZERO", "BSCALE", "BLANK"):
            if keyword in hdus[0].header:
                tiled.header[keyword] = hdus[0].header[keyword]
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), tiled]).writeto(buffer)
        return buffer.getvalue()


@pytest.fixture
def pack() -> Callable[..., Path]:
    """Return a function that packs a file as ``gz``, ``bz2``, ``Z`` or ``fz`` in its folder."""

    def packed(path: Path, how: str, name: str | None = None, **options: Any) -> Path:
        if how == "fz":
            data = pack_tiles(path, **options)
        else:
            data = {"gz": gzip.compress, "bz2": bz2.compress, "Z": pack_lzw}[how](path.read_bytes())
        target = path.with_name(name or f"{path.name}.{how}")
        target.write_bytes(data)
        return target

    return packed


@pytest.fixture
def make_frame(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a raw dark; its name decides its pixels, ``cards`` changes keywords."""

    def make(name: str, cards: dict[str, Any] | None = None, arm: str = "NIR", data: Any = None) -> Path:
        number = int.from_bytes(name.encode()[:4], "big")
        if data is None:
            data = np.random.default_rng(number).integers(900, 1100, SHAPES[arm], dtype=np.uint16)
        path = tmp_path / name
        keywords = CARDS[arm] | {"MJD-OBS": 61100.0 + number / 2**32} | (cards or {})
        fits.PrimaryHDU(data, header_of(keywords)).writeto(path)
        return path

    return make
