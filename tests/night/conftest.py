import gzip
import hashlib
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.simulation import DarkSimulation, simulate_darks

#: Sets of the mixed night: folder, and what is simulated into it.
SETS = {
    "nir300": {"arm": "NIR", "exptime_s": 300.0, "shape": (128, 128)},
    "nir20": {"arm": "NIR", "exptime_s": 20.0, "shape": (128, 128), "start": "2026-03-01T12:30:00"},
    "vis": {"arm": "VIS", "exptime_s": 600.0, "shape": (96, 200)},
    "bias": {"arm": "VIS", "kind": "BIAS", "shape": (96, 200), "start": "2026-03-01T09:00:00"},
    "acq": {"arm": "ACQ", "exptime_s": 10.0, "shape": (64, 64)},
    "second": {"arm": "NIR", "exptime_s": 300.0, "shape": (128, 128), "start": "2026-03-03T02:00:00"},
}


def checksums(folder: Path) -> dict[str, str]:
    """Return the check sum of each file below a folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def night(tmp_path) -> Path:
    """Make a folder of mixed raw frames: two nights, five kinds of sets, and files that belong to none."""
    folder = tmp_path / "night"
    for seed, (name, parameters) in enumerate(SETS.items()):
        simulate_darks(folder / name, DarkSimulation(frames=3, seed=seed, **parameters))
    whole = next((folder / "nir300").glob("SOXS*.fits"))
    (folder / "truncated.fits").write_bytes(whole.read_bytes()[:20_000])
    (folder / "notes.txt").write_text("windy\n")
    frame = sorted((folder / "nir20").glob("SOXS*.fits"))[0]
    frame.with_name(f"{frame.name}.gz").write_bytes(gzip.compress(frame.read_bytes()))
    frame.unlink()
    (folder / "link.fits").symlink_to(whole)
    (folder / "again").symlink_to("nir300", target_is_directory=True)
    with fits.open(whole) as hdus:
        hdus[0].header["HIERARCH ESO DPR TYPE"] = "FLAT,LAMP"
        hdus.writeto(folder / "flat.fits")
    return folder
