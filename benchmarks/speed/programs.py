"""What is measured: this package and its peers, each as a program from raw frames to a product on disk."""

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

from benchmarks.accuracy.peers import PEER_VERSION, RUN, peer_version

from .samples import Sample

#: Sigmas of every peer's clip.
SIGMA = 3
#: Where this package is run from.
ROOT = Path(__file__).parents[2]
#: Detectors in one file of HAWK-I.
CHIPS = (1, 2, 4, 3)

OURS, ONE_PROCESS, THREE_SIGMA = "soxspipe mdark", "soxspipe mdark, one process", "soxspipe mdark, 3 sigma"
PEER, SIRIL, TUNED = f"soxspipe {PEER_VERSION} mdark", "Siril", "ccdproc, tuned"
HOW_TO_PEER = (
    f"with Python 3.12, python -m venv peer && peer/bin/pip install soxspipe=={PEER_VERSION} six, "
    "then --peer-python=peer/bin/python"
)
#: Debian packages of the peers that are no Python.
PACKAGES = {
    SIRIL: "siril",
    "Gnuastro sigclip-mean": "gnuastro",
    "IRAF imcombine": "iraf",
    "hawki_cal_dark": "esorex cpl-plugin-hawki",
}


@dataclass(frozen=True)
class Job:
    """A command that makes a product, ready to run.

    Attributes
    ----------
    command : list of str
        Program and arguments.
    folder : Path
        Where it runs, and what it may fill.
    product : str
        Pattern of the product, from that folder.
    environment : dict
        Variables beside those of this process; an empty value takes one away.
    """

    command: Sequence[str | Path]
    folder: Path
    product: str = "master.fits"
    environment: dict[str, str] = field(default_factory=dict)

    def variables(self, home: Path) -> dict[str, str]:
        """Return the environment of the command, with a home that it may write to."""
        merged = {**os.environ, "HOME": str(home), **self.environment}
        # a package that was installed was compiled; one in its folder is compiled by the first run
        merged.pop("PYTHONDONTWRITEBYTECODE", None)
        return {name: value for name, value in merged.items() if value}


@dataclass(frozen=True)
class Program:
    """A program that reduces darks.

    Attributes
    ----------
    name : str
        What the table calls it.
    version : str
        Its version.
    does, lacks : str
        What its product holds, and what it lacks beside a master dark of this package.
    job : callable
        Called as ``job(sample, folder)`` with an empty folder; makes what the command needs, and the command.
    scale : float
        Unit of the product, where it is not ADU.
    detectors : int
        Detectors of the same size that it reduces at once: time is told for one.
    most : int
        Most frames that it is measured with.
    """

    name: str
    version: str
    does: str
    lacks: str
    job: Callable[[Sample, Path], Job]
    scale: float = 1.0
    detectors: int = 1
    most: int = 10**6

    def fault(self, job: Job, sample: Sample) -> str:
        """Say what is wrong with a product: whether it is there, and the level that it should have."""
        products = sorted(job.folder.glob(job.product), key=lambda path: path.stat().st_size, reverse=True)
        if not products:
            return "no product"
        with fits.open(products[0]) as hdus:
            image = next((np.asarray(hdu.data) for hdu in hdus if hdu.data is not None), np.array([np.nan]))
        if not np.isfinite(image).any():
            return "an empty product"
        if sample.arm != "NIR":  # overscan columns are subtracted by some, and not by others
            return ""
        found, raw = float(np.nanmedian(image)), float(np.median(fits.getdata(sample.frames[0]))) * self.scale
        return "" if abs(found / raw - 1) < 0.05 else f"a product of the level {found:.1f}, expected about {raw:.1f}"


def conad(sample: Sample) -> float:
    """Conversion factor of the frames, electron/ADU."""
    return float(fits.getval(sample.frames[0], "ESO DET OUT1 CONAD"))


def _ours(*options: str, sigma: float | None = None) -> Callable[[Sample, Path], Job]:
    def job(sample: Sample, folder: Path) -> Job:
        command = [sys.executable, "-m", "soxspipe", "mdark", str(sample.sof(folder / "darks.sof")), "--output=."]
        if sigma is not None:
            settings = folder / "settings.yaml"
            settings.write_text(f"soxs-mdark:\n  stacked-clipping-sigma: {sigma}\n")
            command.append("--settings=settings.yaml")
        return Job([*command, *options], folder, "*MDARK*.fits", ours_environment())

    return job


def ours_environment() -> dict[str, str]:
    """Return what lets a program in any folder find this package and not another."""
    return {"PYTHONPATH": str(ROOT)}


def _python(name: str) -> Callable[[Sample, Path], Job]:
    script = Path(__file__).with_name("python_peers.py")
    return lambda sample, folder: Job([sys.executable, script, name, "master.fits", *sample.frames], folder)


def _soxspipe_peer(python: str) -> Callable[[Sample, Path], Job]:
    def job(sample: Sample, folder: Path) -> Job:
        # it wants a list named as its own are, with absolute names
        listed = sample.sof(folder / "2026.03.01T10.00.00.0000_DARK.sof")
        # when it is done it asks for the settings of a workspace, which this is not
        (folder / "soxspipe.yaml").write_text("version: 1\n", encoding="utf-8")
        command = [python, "-c", RUN, "mdark", listed.name, "-o", str(folder), "-x"]
        return Job(command, folder, "**/*.fits", {"PYTHONPATH": ""})

    return job


def _siril(sample: Sample, folder: Path) -> Job:
    for i, frame in enumerate(sample.frames, 1):
        (folder / f"dark_{i:05}.fits").symlink_to(frame)
    script = folder / "stack.ssf"
    script.write_text(
        f"requires 1.0.0\nsetext fits\nstack dark_ rej s {SIGMA} {SIGMA} -nonorm -out=master\nclose\n", encoding="utf-8"
    )
    return Job(["siril-cli", "-d", folder, "-s", script], folder)


def _gnuastro(sample: Sample, folder: Path) -> Job:
    clip = [str(sample.n), str(SIGMA), "5", "sigclip-mean"]
    return Job(["astarithmetic", "--quiet", "--globalhdu=0", *sample.frames, *clip, "--output=master.fits"], folder)


def _iraf(sample: Sample, folder: Path) -> Job:
    (folder / "darks.list").write_text("".join(f"{frame}\n" for frame in sample.frames), encoding="utf-8")
    (folder / "stack.cl").write_text(
        'images\nimmatch\nimcombine ("@darks.list", "master.fits", combine="average", reject="sigclip", '
        f'lsigma={SIGMA}., hsigma={SIGMA}., mclip=yes, outtype="real", logfile="")\nlogout\n',
        encoding="utf-8",
    )
    return Job(["irafcl", "-f", "stack.cl"], folder)


def _hawki(recipe: str, *options: str) -> Callable[[Sample, Path], Job]:
    def job(sample: Sample, folder: Path) -> Job:
        # four detectors in a file, all with the same pixels
        made = sample.frames[0].parents[1] / "hawki"
        made.mkdir(exist_ok=True)
        lines = []
        for i, frame in enumerate(sample.frames):
            path = made / f"{i}.fits"
            if not path.exists():
                _as_hawki(frame, i).writeto(path)
            lines.append(f"{path} DARK\n")
        (folder / "darks.sof").write_text("".join(lines), encoding="utf-8")
        return Job(["esorex", "--log-dir=.", "--output-dir=.", recipe, *options, "darks.sof"], folder, "*.fits")

    return job


def _as_hawki(frame: Path, number: int) -> fits.HDUList:
    image = fits.getdata(frame)
    main = fits.PrimaryHDU()
    cards = {
        "INSTRUME": "HAWKI", "EXPTIME": 300.0, "MJD-OBS": 61000.0 + 0.01 * number, "ESO DET DIT": 300.0,
        "ESO DET NDIT": 1, "ESO DET NDSAMPLES": 16, "ESO DET RSPEED": 1, "ESO DET NCORRS NAME": "NonDest",
        "ESO DPR CATG": "CALIB", "ESO DPR TYPE": "DARK", "ESO DPR TECH": "IMAGE", "ESO TPL ID": "HAWKI_gen_cal_darks",
    }  # fmt: skip
    for keyword, value in cards.items():
        main.header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    chips = [fits.ImageHDU(image, name=f"CHIP{chip}.INT1") for chip in CHIPS]
    for chip, hdu in zip(CHIPS, chips, strict=True):
        hdu.header["HIERARCH ESO DET CHIP NO"] = chip
    return fits.HDUList([main, *chips])


def _says(*command: str) -> str:
    """Return the last word of the first line that a program says of its version, empty when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    words = (done.stdout or done.stderr).split("\n", 1)[0].split()
    return words[-1] if words else "?"


def programs(sample: Sample, peer_python: str | None) -> tuple[list[Program], list[str]]:
    """Return the programs that are installed, this package's first, and a line for each that is not.

    Parameters
    ----------
    sample : Sample
        NIR frames, which tell the conversion factor.
    peer_python : str or None
        Python of an environment with another version of this package.
    """
    from importlib.metadata import version

    from soxspipe import __version__

    electron = conad(sample)
    full = "mean, error, noise, counts, bad-pixel map, QC, log"
    found = [Program(OURS, __version__, f"{full}; clip at 5 sigma", "", _ours(), electron)]
    found.append(Program(ONE_PROCESS, __version__, "the same", "", _ours("--workers=1"), electron))
    found.append(Program(THREE_SIGMA, __version__, "the same, clip at 3 sigma", "", _ours(sigma=3.0), electron))
    missing = []
    old = None if peer_python is None else peer_version(peer_python)
    if peer_python is not None and old is not None:
        found.append(
            Program(PEER, old, "mean, error, mask, QC", "noise, counts, kinds of bad pixels",
                    _soxspipe_peer(peer_python), electron)
        )  # fmt: skip
    else:
        missing.append(f"{PEER}: {HOW_TO_PEER}")
    nothing = "errors, counts, map, QC"
    if siril := _says("siril-cli", "--version"):
        found.append(Program(SIRIL, siril, "clipped mean, all cores", nothing, _siril, 1 / 65535))
    if gnuastro := _says("astarithmetic", "--version"):
        found.append(Program("Gnuastro sigclip-mean", gnuastro, "clipped mean, all cores", nothing, _gnuastro))
    if iraf := _says("irafcl", "-v"):
        found.append(Program("IRAF imcombine", iraf.strip("V"), "clipped mean", nothing, _iraf))
    astropy, ccdproc = version("astropy"), version("ccdproc")
    found.append(Program("astropy sigma_clip", astropy, "clipped mean", nothing, _python("astropy_clip")))
    errors = "clipped mean, scatter as error, mask"
    found.append(Program(TUNED, ccdproc, f"{errors}; float32", "counts, map, QC", _python("ccdproc_tuned")))
    found.append(
        Program("ccdproc, default", ccdproc, f"{errors}; clip about the mean", "counts, map, QC",
                _python("ccdproc_default"))
    )  # fmt: skip
    if hawki := _hawki_version():
        found += [
            Program("hawki_cal_dark", hawki, "mean, map of hot pixels, read noise; four detectors",
                    "clip, errors, counts", _hawki("hawki_cal_dark"), 1 / 300.0, 4, 10),
            Program("hawki_dark_combine", hawki, "clipped mean, some QC; four detectors",
                    "errors, counts, map",
                    _hawki("hawki_dark_combine", "--combtype=mean", f"--thresh={SIGMA}", "--scaletype=none"), 1.0, 4,
                    10),
        ]  # fmt: skip
    there = {program.name for program in found}
    missing += [f"{name}: apt-get install {package}" for name, package in PACKAGES.items() if name not in there]
    return found, missing


def _hawki_version() -> str:
    """Return the version of HAWK-I's recipes, empty when esorex does not have them."""
    if shutil.which("esorex") is None:
        return ""
    command = ["esorex", "--man-page", "hawki_cal_dark"]
    with tempfile.TemporaryDirectory() as folder:  # it leaves a log where it runs
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r"hawki_cal_dark -- version (\S+)", done.stdout)
    return found[1] if found else ""
