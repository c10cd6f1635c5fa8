"""Simulated raw frames as files, with their truth: for tests, the demo and the benchmarks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..parallel import Progress, tracked
from ..products.atomic_files import AtomicFiles
from .detector import SimulatedDetector
from .headers import frame_header, make_header, match_cards
from .parameters import DarkSimulation

__all__ = ["SimulatedDarks", "simulate_darks", "truth_hdus"]


@dataclass(frozen=True)
class SimulatedDarks:
    """Paths of the files of a simulation."""

    sof: Path  #: Set of files, with relative names.
    frames: tuple[Path, ...]  #: Raw frames in order of time.
    truth: Path  #: The truth, as FITS.


def simulate_darks(
    directory: str | Path,
    simulation: DarkSimulation | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SimulatedDarks:
    """Write simulated raw frames, their set of files (darks.sof or bias.sof) and truth.fits; all or none of them.

    Parameters
    ----------
    directory : path
        Output folder; made when it does not exist.
    simulation : DarkSimulation, optional
        What to simulate; default: ten full NIR darks of SOXS.
    overwrite : bool
        Whether older files of these names may be replaced.
    progress : callable, optional
        Called as ``progress(done, total)`` after each frame.

    Returns
    -------
    SimulatedDarks

    Raises
    ------
    ProductExistsError
        When one of the files exists and ``overwrite`` is False; nothing is written then.
    ProductError
        When a file cannot be written, or another run wrote one of them in the meantime.
    """
    simulation = simulation or DarkSimulation()
    directory = Path(directory)
    frames = [simulation.name_of(index) for index in range(simulation.frames)]
    sof, truth = "darks.sof" if simulation.kind == "DARK" else "bias.sof", "truth.fits"
    with AtomicFiles(directory, [sof, truth, *frames], overwrite=overwrite) as files:
        detector = SimulatedDetector(simulation)
        for index, name in enumerate(tracked(frames, progress)):
            hdu = fits.PrimaryHDU(detector.frame(index), frame_header(simulation, index))
            files.write(name, [_bytes_of(fits.HDUList([hdu]))])
        files.write(truth, [_bytes_of(truth_hdus(detector))])
        files.write(sof, [f"{name} {simulation.kind}_{simulation.arm}\n".encode() for name in frames])
        files.commit()
    return SimulatedDarks(directory / sof, tuple(directory / name for name in frames), directory / truth)


def truth_hdus(detector: SimulatedDetector) -> fits.HDUList:
    """Return the truth as FITS: images, bad pixels, other faults, levels, and in the first header all parameters.

    A fault without FRAME is in all frames; Y or X -1 stands for a whole column or frame.
    """
    simulation, frames = detector.simulation, range(detector.simulation.frames)
    cards: dict[str, Any] = match_cards(simulation.table) | {"ESO SIM ORIENT": "RAW"}
    parameters = dict(simulation) | {"shape": detector.geometry.raw_shape}
    if parameters.pop("instrument_table") is not None:
        cards["ESO SIM INSTRUMENT TABLE"] = str(simulation.instrument_table)
    for name, value in parameters.items():
        value = getattr(detector.physics, name, value)
        is_plain = isinstance(value, str | bool | int | float)
        cards[f"ESO SIM {name.upper().replace('_', ' ')}"] = value if is_plain else str(value)
    cards["ESO SIM HOT MIN E"], cards["ESO SIM HOT MAX E"] = detector.hot_range_e
    hits = np.zeros(detector.codes.shape, np.int16)
    for index in frames:
        hits.ravel()[detector.cosmic_rays(index)[0]] += 1
    images: dict[str, NDArray[Any]] = {
        "DARK": detector.dark_e, "PEDESTAL": detector.pedestal_e, "RON": detector.read_noise_e,
        "HOTAMP": detector.hot_e, "CODES": detector.codes, "COSMIC": hits,
    }  # fmt: skip
    hdus = [fits.PrimaryHDU(header=make_header(cards, "Images are of shape and orientation of the raw frames."))]
    for name, image in images.items():
        unit = {"BUNIT": "electron"} if image.dtype == np.float32 else {}
        hdus.append(fits.ImageHDU(image, fits.Header(unit), name=name))
    y, x = np.unravel_index(detector.defects["pixel"], detector.codes.shape)
    rows = list(zip(y, x, detector.defects["code"], detector.defects["amplitude_e"], strict=True))
    defects = np.array(rows, [("Y", "i4"), ("X", "i4"), ("CODE", "i4"), ("AMPLITUDE", "f4")])
    hdus.append(fits.BinTableHDU(defects, name="DEFECTS"))
    faults = [(name, "" if frame < 0 else simulation.name_of(frame), *place) for name, frame, *place in detector.faults]
    faults += [("snowball", simulation.name_of(i), y, x, e) for i in frames for y, x, _, e in detector.snowballs(i)]
    planted = np.array(faults, [("FAULT", "U20"), ("FRAME", "U40"), ("Y", "i4"), ("X", "i4"), ("AMPLITUDE", "f4")])
    hdus.append(fits.BinTableHDU(planted, name="FAULTS"))
    levels = [(simulation.name_of(index), detector.level_e(index)) for index in frames]
    hdus.append(fits.BinTableHDU(np.array(levels, [("FRAME", "U40"), ("LEVEL", "f8")]), name="LEVELS"))
    return fits.HDUList(hdus)


def _bytes_of(hdus: fits.HDUList) -> bytes:
    for hdu in hdus:
        hdu.add_checksum(when="of this unit")  # the default comment, the time of day, would change the bytes
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()
