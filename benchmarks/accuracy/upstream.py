"""Master darks by upstream soxspipe, the older package of the same name, run as a program on files."""

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

#: The version to compare with, and how to install it.
UPSTREAM_VERSION = "0.17.4"
INSTALL = (
    f"python -m venv peer && peer/bin/pip install soxspipe=={UPSTREAM_VERSION}, "
    "then python -m benchmarks.accuracy --peer-python peer/bin/python"
)
#: Script that runs it with the settings that it ships.
UPSTREAM_SCRIPT = """
import sys, pathlib, soxspipe
from soxspipe.cl_utils import main
sys.argv[0] = "soxspipe"
sys.argv += ["-s", str(pathlib.Path(soxspipe.__file__).parent / "soxs_default_settings.yaml")]
main()
"""
#: Time limit of a reduction, second.
TIME_LIMIT = 900.0


def upstream_version(python: str) -> str | None:
    """Return the version of soxspipe in an environment, or None when it has none."""
    script = "from importlib.metadata import version; print(version('soxspipe'))"
    try:
        # -I: the metadata of this package in the working directory must not count
        done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def python_with_soxspipe(python: str) -> str | None:
    """Return the absolute path of a Python, or None when its environment has no soxspipe.

    Links are not followed, because Python finds its environment by the path of the link.
    """
    return os.path.abspath(shutil.which(python) or python) if upstream_version(python) else None


def by_upstream(darks: Darks, python: str) -> Reduction | None:
    """Make a master dark with the soxspipe of another environment; return None, and print why, when it fails."""
    version = upstream_version(python)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = simulate_darks(folder / "raw", darks.scene.simulation)
        # it needs a list whose name follows its pattern, absolute paths, a settings file and a writable home
        sof = folder / "2026.03.01T10.00.00.0000_DARK.sof"
        sof.write_text("".join(f"{path} DARK_{darks.scene.simulation.arm}\n" for path in raw.frames))
        command = [python, "-c", UPSTREAM_SCRIPT, "mdark", sof.name, "-o", str(folder), "-x"]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HOME": name}
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(f"soxspipe {version}: {darks.scene.name}: {type(error).__name__}, left out", file=sys.stderr)
            return None
        seconds = time.perf_counter() - started
        for path in sorted(folder.rglob("*.fits"), key=lambda path: path.stat().st_mtime, reverse=True):
            if raw.truth.parent not in path.parents and (planes := _planes(path, darks)) is not None:
                return Reduction(f"upstream soxspipe {version}", *planes, len(raw.frames), seconds, {})
    last_line = (done.stderr or done.stdout).strip().splitlines()[-1:]
    print(f"soxspipe {version}: {darks.scene.name}: no product, left out: {' '.join(last_line)}", file=sys.stderr)
    return None


def _planes(path: Path, darks: Darks) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]] | None:
    """Read value, error and codes of a product, in the orientation of the raw frames; None for another file."""
    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus]
        if not {"FLUX", "ERRS", "QUAL"} <= set(names):
            return None
        value, error, bad = (np.asarray(hdus[name].data) for name in ("FLUX", "ERRS", "QUAL"))
    # the product does not state its orientation: it is the one in which the hot pixels are bright
    truth = darks.truth
    bright = np.flatnonzero(truth.hot_e > 100 * truth.sigma_e)
    window = SimulatedDetector(darks.scene.simulation).geometry.science
    inside = slice(window.y0, window.y1), slice(window.x0, window.x1)
    best: tuple[float, list[NDArray[np.float32]]] | None = None
    for orientation in range(8):
        planes = [
            np.rot90(plane[::-1] if orientation >= 4 else plane, orientation % 4) for plane in (value, error, bad)
        ]
        if planes[0].shape != truth.codes.shape:
            planes = [plane[inside] for plane in planes]
        if planes[0].shape == truth.codes.shape:
            score = float(np.median(planes[0].ravel()[bright]))
            if best is None or score > best[0]:
                best = score, planes
    if best is None:
        return None
    value, error, bad = best[1]
    codes = np.where(bad != 0, PixelCode.HOT.value, 0).astype(np.int32)
    return value.astype(np.float32), error.astype(np.float32), codes
