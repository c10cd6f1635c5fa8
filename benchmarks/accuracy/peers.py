"""Another version of soxspipe, run as a program of its own on files of the same frames."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode
from soxspipe.simulation import SimulatedDetector, simulate_darks

from .reductions import Reduction
from .scenes import Darks

#: The version that is compared with, and how to get it.
PEER_VERSION = "0.17.4"
INSTALL = (
    "python -m venv peer && peer/bin/pip install soxspipe==0.17.4, "
    "then python -m benchmarks.accuracy --peer-python peer/bin/python"
)
#: What runs it with the settings that it ships.
RUN = """
import sys, pathlib, soxspipe
from soxspipe.cli.command_line import main
sys.argv[0] = "soxspipe"
sys.argv += ["-s", str(pathlib.Path(soxspipe.__file__).parent / "soxs_default_settings.yaml")]
main()
"""
#: Longest that a reduction may take, second.
TIME_LIMIT = 900.0


def peer_version(python: str) -> str | None:
    """Return the version of soxspipe in an environment, None when there is none."""
    script = "from importlib.metadata import version; print(version('soxspipe'))"
    try:
        # isolated: what was installed from this folder may have left its version here
        done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def with_soxspipe(python: str) -> str | None:
    """Return the absolute path of a Python that has soxspipe, None when it has none: it will run in other folders.

    A link is not followed, as it tells Python its environment.
    """
    return os.path.abspath(shutil.which(python) or python) if peer_version(python) else None


def by_peer(darks: Darks, python: str) -> Reduction | None:
    """Make a master dark with the soxspipe of another environment; None, and a message, when it fails."""
    version = peer_version(python)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = simulate_darks(folder / "raw", darks.scene.simulation)
        # it wants a list named as its own are, with absolute names, its settings said, and a home to write to
        listed = folder / "2026.03.01T10.00.00.0000_DARK.sof"
        listed.write_text("".join(f"{path} DARK_{darks.scene.simulation.arm}\n" for path in raw.frames))
        command = [python, "-c", RUN, "mdark", listed.name, "-o", str(folder), "-x"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HOME": name}
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
            )
        except (OSError, subprocess.SubprocessError) as fault:
            print(f"soxspipe {version}: {darks.scene.name}: {type(fault).__name__}, left out", file=sys.stderr)
            return None
        seconds = time.perf_counter() - started
        for path in sorted(folder.rglob("*.fits"), key=lambda path: path.stat().st_mtime, reverse=True):
            if raw.truth.parent not in path.parents and (planes := _planes(path, darks)) is not None:
                return Reduction(f"soxspipe {version}", *planes, len(raw.frames), seconds, {})
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    print(f"soxspipe {version}: {darks.scene.name}: no product, left out: {' '.join(last)}", file=sys.stderr)
    return None


def _planes(path: Path, darks: Darks) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]] | None:
    """Read value, error and codes of a product, turned to the orientation of the raw frames."""
    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus]
        if not {"FLUX", "ERRS", "QUAL"} <= set(names):
            return None
        value, error, bad = (np.asarray(hdus[name].data) for name in ("FLUX", "ERRS", "QUAL"))
    # which way a version turns its frames is not said in the product: the hot pixels tell
    truth = darks.truth
    bright = np.flatnonzero(truth.hot_e > 100 * truth.sigma_e)
    window = SimulatedDetector(darks.scene.simulation).geometry.science
    inside = slice(window.y0, window.y1), slice(window.x0, window.x1)
    best: tuple[float, list[NDArray[np.float32]]] | None = None
    for turn in range(8):
        planes = [np.rot90(plane[::-1] if turn >= 4 else plane, turn % 4) for plane in (value, error, bad)]
        if planes[0].shape != truth.codes.shape:
            planes = [plane[inside] for plane in planes]
        if planes[0].shape == truth.codes.shape:
            score = float(np.median(planes[0].ravel()[bright]))
            if best is None or score > best[0]:
                best = score, planes
    if best is None:
        return None
    turned = best[1]
    codes = np.where(turned[2] != 0, PixelCode.HOT.value, 0).astype(np.int32)
    return turned[0].astype(np.float32), turned[1].astype(np.float32), codes
