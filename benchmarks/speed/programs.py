"""The programs to measure: this package and others, each from raw frames to a product on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks.accuracy.upstream import UPSTREAM_SCRIPT, UPSTREAM_VERSION, upstream_version

from .samples import Sample

#: Clip of every other program, sigma.
SIGMA = 3
#: Root of this project.
ROOT = Path(__file__).parents[2]
#: Detectors in one file of HAWK-I.
CHIPS = (1, 2, 4, 3)
#: Workers of this package, which are its default.
WORKERS = 2

OURS, ONE_WORKER, THREE_SIGMA = "soxspipe mdark", "soxspipe mdark, 1 worker", "soxspipe mdark, 3 sigma"
UPSTREAM, SIRIL, TUNED = f"upstream soxspipe {UPSTREAM_VERSION}", "Siril", "ccdproc, tuned"
INSTALL_UPSTREAM = (
    f"with Python 3.12, python -m venv peer && peer/bin/pip install soxspipe=={UPSTREAM_VERSION} six, "
    "then --peer-python=peer/bin/python"
)
#: Debian packages of the programs that are not in Python.
PACKAGES = {
    SIRIL: "siril",
    "Gnuastro sigclip-mean": "gnuastro",
    "IRAF imcombine": "iraf",
    "hawki_cal_dark": "esorex cpl-plugin-hawki",
}


@dataclass(frozen=True)
class Command:
    """A command that is ready to run.

    Attributes
    ----------
    arguments : sequence of (str or Path)
        Program and arguments.
    folder : Path
        Working directory, for the product and temporary files.
    product : str
        Pattern of the product's name in that folder.
    environment : dict
        Additional environment variables; an empty value removes a variable.
    """

    arguments: Sequence[str | Path]
    folder: Path
    product: str = "master.fits"
    environment: dict[str, str] = field(default_factory=dict)

    def variables(self, home: Path) -> dict[str, str]:
        """Return the environment of the command, with a writable home directory."""
        merged = {**os.environ, "HOME": str(home), **self.environment}
        # installed packages have their byte code; one in its source folder writes it in its first run
        merged.pop("PYTHONDONTWRITEBYTECODE", None)
        return {name: value for name, value in merged.items() if value}


@dataclass(frozen=True)
class Program:
    """A program that reduces darks.

    Attributes
    ----------
    name : str
        Name in the tables.
    version : str
        Its version.
    makes, lacks : str
        Contents of its product, and contents of a master dark of this package that it lacks.
    command : callable
        Called as ``command(sample, folder)`` with an empty folder; returns a `Command`.
    scale : float
        Unit of the product, ADU in that unit.
    detectors : int
        Detectors of the same size that it reduces at once; times are divided by their number.
    most_frames : int
        Largest number of frames to measure it with.
    """

    name: str
    version: str
    makes: str
    lacks: str
    command: Callable[[Sample, Path], Command]
    scale: float = 1.0
    detectors: int = 1
    most_frames: int = 10**6

    def product_fault(self, command: Command, sample: Sample) -> str:
        """Return the fault of a product: it is missing or has the wrong level; an empty string when it has none."""
        products = sorted(command.folder.glob(command.product), key=lambda path: path.stat().st_size, reverse=True)
        if not products:
            return "no product"
        with fits.open(products[0]) as hdus:
            image = next((np.asarray(hdu.data) for hdu in hdus if hdu.data is not None), np.array([np.nan]))
        if not np.isfinite(image).any():
            return "an empty product"
        if sample.arm != "NIR":  # only some programs subtract the overscan
            return ""
        level, expected = float(np.nanmedian(image)), float(np.median(fits.getdata(sample.frames[0]))) * self.scale
        return "" if abs(level / expected - 1) < 0.05 else f"a product of level {level:.1f}, expected {expected:.1f}"


def conversion_factor(sample: Sample) -> float:
    """Return the conversion factor of the frames, electron/ADU."""
    return float(fits.getval(sample.frames[0], "ESO DET OUT1 CONAD"))


def soxspipe_command(inputs: Sequence[str | Path], workers: int = WORKERS) -> list[str | Path]:
    """Return the command that reduces sets with this package."""
    return [sys.executable, "-m", "soxspipe", "mdark", *inputs, "--output=.", f"--workers={workers}"]


def soxspipe_environment() -> dict[str, str]:
    """Return the variables with which a program in any folder imports this package."""
    return {"PYTHONPATH": str(ROOT)}


def _ours(workers: int = WORKERS, sigma: float | None = None) -> Callable[[Sample, Path], Command]:
    def command(sample: Sample, folder: Path) -> Command:
        arguments = soxspipe_command([sample.sof(folder / "darks.sof")], workers)
        if sigma is not None:
            settings = folder / "settings.yaml"
            settings.write_text(f"soxs-mdark:\n  stacked-clipping-sigma: {sigma}\n")
            arguments.append("--settings=settings.yaml")
        return Command(arguments, folder, "*MDARK*.fits", soxspipe_environment())

    return command


def _python(name: str) -> Callable[[Sample, Path], Command]:
    script = Path(__file__).with_name("python_peers.py")
    return lambda sample, folder: Command([sys.executable, script, name, "master.fits", *sample.frames], folder)


def _upstream(python: str) -> Callable[[Sample, Path], Command]:
    def command(sample: Sample, folder: Path) -> Command:
        # the name of the list must follow its own pattern
        sof = sample.sof(folder / "2026.03.01T10.00.00.0000_DARK.sof")
        # it reads the settings of a workspace when it ends
        (folder / "soxspipe.yaml").write_text("version: 1\n", encoding="utf-8")
        arguments = [python, "-c", UPSTREAM_SCRIPT, "mdark", sof.name, "-o", str(folder), "-x"]
        return Command(arguments, folder, "**/*.fits", {"PYTHONPATH": ""})

    return command


def _siril(sample: Sample, folder: Path) -> Command:
    for i, frame in enumerate(sample.frames, 1):
        (folder / f"dark_{i:05}.fits").symlink_to(frame)
    script = folder / "stack.ssf"
    script.write_text(
        f"requires 1.0.0\nsetext fits\nstack dark_ rej s {SIGMA} {SIGMA} -nonorm -out=master\nclose\n", encoding="utf-8"
    )
    return Command(["siril-cli", "-d", folder, "-s", script], folder)


def _gnuastro(sample: Sample, folder: Path) -> Command:
    clip = [str(sample.n), str(SIGMA), "5", "sigclip-mean"]
    return Command(["astarithmetic", "--quiet", "--globalhdu=0", *sample.frames, *clip, "--output=master.fits"], folder)


def _iraf(sample: Sample, folder: Path) -> Command:
    (folder / "darks.list").write_text("".join(f"{frame}\n" for frame in sample.frames), encoding="utf-8")
    (folder / "stack.cl").write_text(
        'images\nimmatch\nimcombine ("@darks.list", "master.fits", combine="average", reject="sigclip", '
        f'lsigma={SIGMA}., hsigma={SIGMA}., mclip=yes, outtype="real", logfile="")\nlogout\n',
        encoding="utf-8",
    )
    return Command(["irafcl", "-f", "stack.cl"], folder)


def _hawki(recipe: str, *options: str) -> Callable[[Sample, Path], Command]:
    def command(sample: Sample, folder: Path) -> Command:
        # each file has four detectors with the same pixels
        data = sample.frames[0].parents[1] / "hawki"
        data.mkdir(exist_ok=True)
        lines = []
        for i, frame in enumerate(sample.frames):
            path = data / f"{i}.fits"
            if not path.exists():
                _as_hawki(frame, i).writeto(path)
            lines.append(f"{path} DARK\n")
        (folder / "darks.sof").write_text("".join(lines), encoding="utf-8")
        return Command(["esorex", "--log-dir=.", "--output-dir=.", recipe, *options, "darks.sof"], folder, "*.fits")

    return command


def _as_hawki(frame: Path, number: int) -> fits.HDUList:
    """Return a frame as a file of HAWK-I, with the same image for each detector."""
    image = fits.getdata(frame)
    primary = fits.PrimaryHDU()
    cards = {
        "INSTRUME": "HAWKI", "EXPTIME": 300.0, "MJD-OBS": 61000.0 + 0.01 * number, "ESO DET DIT": 300.0,
        "ESO DET NDIT": 1, "ESO DET NDSAMPLES": 16, "ESO DET RSPEED": 1, "ESO DET NCORRS NAME": "NonDest",
        "ESO DPR CATG": "CALIB", "ESO DPR TYPE": "DARK", "ESO DPR TECH": "IMAGE", "ESO TPL ID": "HAWKI_gen_cal_darks",
    }  # fmt: skip
    for keyword, value in cards.items():
        primary.header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    chips = [fits.ImageHDU(image, name=f"CHIP{chip}.INT1") for chip in CHIPS]
    for chip, hdu in zip(CHIPS, chips, strict=True):
        hdu.header["HIERARCH ESO DET CHIP NO"] = chip
    return fits.HDUList([primary, *chips])


def _version(*command: str) -> str:
    """Return the last word of the first line that a command prints; empty when it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    words = (done.stdout or done.stderr).split("\n", 1)[0].split()
    return words[-1] if words else "?"


def installed_programs(sample: Sample, peer_python: str | None) -> tuple[list[Program], list[str]]:
    """Return the installed programs, this package first, and a line for each program that is missing.

    Parameters
    ----------
    sample : Sample
        NIR frames, for their conversion factor.
    peer_python : str or None
        Python of an environment with upstream soxspipe.
    """
    from importlib.metadata import version

    from soxspipe import __version__

    electron = conversion_factor(sample)
    full = "mean, error, noise, counts, bad-pixel map, QC, log"
    programs = [
        Program(OURS, __version__, f"{full}; clip at 5 sigma, {WORKERS} workers", "", _ours(), electron),
        Program(ONE_WORKER, __version__, "the same, 1 worker", "", _ours(workers=1), electron),
        Program(THREE_SIGMA, __version__, "the same, clip at 3 sigma", "", _ours(sigma=3.0), electron),
    ]
    missing = []
    upstream = None if peer_python is None else upstream_version(peer_python)
    if peer_python is not None and upstream is not None:
        programs.append(
            Program(UPSTREAM, upstream, "mean, error, mask, QC", "noise, counts, kinds of bad pixels",
                    _upstream(peer_python), electron)
        )  # fmt: skip
    else:
        missing.append(f"{UPSTREAM}: {INSTALL_UPSTREAM}")
    no_more = "errors, counts, map, QC"
    if siril := _version("siril-cli", "--version"):
        programs.append(Program(SIRIL, siril, "clipped mean, all cores", no_more, _siril, 1 / 65535))
    if gnuastro := _version("astarithmetic", "--version"):
        programs.append(Program("Gnuastro sigclip-mean", gnuastro, "clipped mean, all cores", no_more, _gnuastro))
    if iraf := _version("irafcl", "-v"):
        programs.append(Program("IRAF imcombine", iraf.strip("V"), "clipped mean", no_more, _iraf))
    errors = "clipped mean, scatter as error, mask"
    ccdproc = version("ccdproc")
    programs += [
        Program("astropy sigma_clip", version("astropy"), "clipped mean", no_more, _python("astropy_clip")),
        Program(TUNED, ccdproc, f"{errors}; float32", "counts, map, QC", _python("ccdproc_tuned")),
        Program("ccdproc, default", ccdproc, f"{errors}; clip about the mean", "counts, map, QC",
                _python("ccdproc_default")),
    ]  # fmt: skip
    if hawki := _hawki_version():
        programs += [
            Program("hawki_cal_dark", hawki, "mean, map of hot pixels, read noise; four detectors",
                    "clip, errors, counts", _hawki("hawki_cal_dark"), 1 / 300.0, 4, 10),
            Program("hawki_dark_combine", hawki, "clipped mean, QC in part; four detectors",
                    "errors, counts, map",
                    _hawki("hawki_dark_combine", "--combtype=mean", f"--thresh={SIGMA}", "--scaletype=none"), 1.0, 4,
                    10),
        ]  # fmt: skip
    names = {program.name for program in programs}
    missing += [f"{name}: apt-get install {package}" for name, package in PACKAGES.items() if name not in names]
    return programs, missing


def _hawki_version() -> str:
    """Return the version of HAWK-I's recipes; empty when they are not installed."""
    if shutil.which("esorex") is None:
        return ""
    command = ["esorex", "--man-page", "hawki_cal_dark"]
    with tempfile.TemporaryDirectory() as folder:  # it writes a log into its working directory
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r"hawki_cal_dark -- version (\S+)", done.stdout)
    return found[1] if found else ""
