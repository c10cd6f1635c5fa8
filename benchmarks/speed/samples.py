"""Sets of frames to measure with, simulated once."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxspipe.simulation import DarkSimulation, frame_header, simulate_darks

SEED = 20260301
#: Frames of the largest set, and the simulated frames that it is made from.
THOUSAND, DISTINCT = 1000, 100
#: Pixels above this level get no further noise, ADU: they are close to the end of the converter's range.
BRIGHTEST = 60000
#: Disk space of the thousand frames, and the free space to leave, byte.
THOUSAND_BYTES, SPARE_BYTES = 8.5e9, 4e9


@dataclass(frozen=True)
class Sample:
    """Frames to reduce.

    Attributes
    ----------
    label : str
        Name in the tables.
    frames : tuple of Path
        Raw darks.
    arm : str
        Arm in their headers; NIR is that of SOXS.
    """

    label: str
    frames: tuple[Path, ...]
    arm: str = "NIR"

    @property
    def n(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def sof(self, path: Path) -> Path:
        """Write a set of files of these frames, and return its path."""
        path.write_text("".join(f"{frame} DARK_{self.arm}\n" for frame in self.frames), encoding="utf-8")
        return path

    def split(self, size: int) -> list[Sample]:
        """Return sets of ``size`` neighbouring frames; frames that do not fill a set are left out."""
        starts = range(0, self.n - size + 1, size)
        return [Sample(f"{start}-{start + size}", self.frames[start : start + size], self.arm) for start in starts]


def nir(data: Path, n: int) -> Sample:
    """Return the first ``n`` darks of the NIR detector of SOXS, 2048 x 2048 pixels."""
    return Sample(str(n), _simulated(data / "nir", DarkSimulation(frames=n, seed=SEED)))


def large(data: Path, n: int) -> Sample:
    """Return darks of X-shooter's VIS detector with overscan columns, as many pixels as 4096 x 2048."""
    simulation = DarkSimulation(instrument="XSHOOTER", arm="VIS", frames=n, seed=SEED, exptime_s=3600.0)
    return Sample(f"{n} of 4000 x 2106", _simulated(data / "large", simulation), "VIS")


def _simulated(folder: Path, simulation: DarkSimulation) -> tuple[Path, ...]:
    """Return simulated frames, made unless the folder has them; a small set is the first part of a larger one."""
    paths = tuple(folder / simulation.name_of(i) for i in range(simulation.frames))
    if not all(path.exists() for path in paths):
        print(f"simulating {simulation.frames} frames", file=sys.stderr, flush=True)
        simulate_darks(folder, simulation, overwrite=True)
    return paths


def thousand(data: Path) -> Sample | None:
    """Return a thousand darks of the NIR detector, or None when the disk has no room for them.

    A tenth of them is simulated. Each of these is used ten times with a step of noise added, because frames with the
    same pixels are refused.
    """
    base = nir(data, DISTINCT)
    simulation = DarkSimulation(frames=THOUSAND, seed=SEED)
    folder = data / "thousand"
    paths = tuple(folder / simulation.name_of(i) for i in range(THOUSAND))
    if not paths[-1].exists():
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < THOUSAND_BYTES + SPARE_BYTES:
            return None
        print(f"making {THOUSAND} frames", file=sys.stderr, flush=True)
        rng = np.random.default_rng(SEED)
        for i, path in enumerate(paths):
            image = np.array(fits.getdata(base.frames[i % DISTINCT]), np.uint16)
            image += rng.integers(0, 3, image.shape, np.uint8) * (image < BRIGHTEST)
            hdu = fits.PrimaryHDU(image, frame_header(simulation, i))
            hdu.add_checksum()
            hdu.writeto(path, overwrite=True)
    return Sample(str(THOUSAND), paths)


def refused(data: Path) -> Path:
    """Return a set of ten frames that is refused, because one has another exposure time."""
    good = nir(data, 10)
    odd = data / "odd.fits"
    with fits.open(good.frames[-1]) as hdus:
        hdus[0].header["EXPTIME"] = hdus[0].header["ESO DET DIT"] = 120.0
        hdus.writeto(odd, overwrite=True)
    return Sample("refused", (*good.frames[:-1], odd)).sof(data / "refused.sof")
