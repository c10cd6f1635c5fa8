"""Seeded raw darks of every arm, with the truth beside them: for tests, the demo and the benchmarks.

`DarkSimulation` says what to simulate, `SimulatedDetector` makes arrays, `simulate_darks` writes files. A sample
is pedestal + drift + row noise + Poisson(dark + glow + hot) + cosmic rays + telegraph step + read noise, in
electrons, then rounded and clipped in ADU. Each random part draws from a stream of its own: frame 3 is the same
in a set of 5 and in a set of 50, and the bias frames of a detector fit its darks.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import ProductExistsError
from ..pixel_codes import PixelCode
from ..products.product_files import storage_fault
from .parameters import KINDS, DarkSimulation

__all__ = ["DarkSimulation", "SimulatedDarks", "SimulatedDetector", "simulate_darks"]

BLOCK_SIDE = 9  # pixels; as wide as a local background, so that a cluster could hide in it
TRACK_STEP = 0.5  # pixels; a track is drawn as points at this distance

_TEMPERATURE_K = {("SOXS", "NIR"): 40.1, ("SOXS", "VIS"): 153.1}
# which of its keywords an arm uses for a meaning, where that is not the first
_PLACES = {
    ("SOXS", "ACQ"): {"arm": 1, "exptime": 1},
    ("XSHOOTER", "NIR"): {"read_mode": 1},
}

_STREAMS = ("pattern", "defects", "levels", "cosmic rays", "frame")


def _generator(seed: int, stream: str, *which: int) -> np.random.Generator:
    """Return a generator that no other part of the simulation draws from."""
    key = (_STREAMS.index(stream), *which)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=key))


def _log_uniform(rng: np.random.Generator, low: float, high: float, number: int) -> NDArray[np.float64]:
    return np.asarray(low * (high / low) ** rng.random(number))


class SimulatedDetector:
    """The arrays of a simulation: the truth, made once, and frames drawn from it one at a time.

    Images have the shape and orientation of a raw frame; those of the truth are read-only.

    Parameters
    ----------
    simulation : DarkSimulation
        What to simulate.

    Attributes
    ----------
    physics : types.SimpleNamespace
        The values in use, see `DarkSimulation.physics`.
    geometry : soxspipe.instruments.detectors.Geometry
        Where light-sensitive pixels and overscan columns lie.
    dark_e : ndarray of float32
        Expected signal of one integration without pedestal, electron: dark, glow, excess of hot pixels.
    hot_e : ndarray of float32
        That excess alone; its range is ``hot_range_e``.
    pedestal_e : ndarray of float32
        Pedestal with its fixed pattern, electron; cold and dead pixels are low in it.
    read_noise_e : ndarray of float32
        Read noise of one integration, electron.
    codes : ndarray of int32
        256 hot, 512 cold or dead, 1024 noisy; codes add up.
    defects : ndarray
        For each code of each bad pixel ``pixel`` (index into the flattened image), ``code``, ``amplitude_e``
        (excess of a hot, deficit of a cold or dead, step of a telegraph pixel).

    Raises
    ------
    FrameError
        When fewer than 32 x 32 light-sensitive pixels would remain.
    """

    def __init__(self, simulation: DarkSimulation) -> None:
        self.simulation, self.physics = simulation, simulation.physics()
        full_ny, full_nx = simulation.detector.raw_shape
        bin_y, bin_x = simulation.binning
        ny, nx = simulation.shape or (full_ny // bin_y, full_nx // bin_x)
        self.geometry = simulation.detector.geometry((ny, nx), (bin_y, bin_x), "simulation")
        window = self.geometry.science
        self._science = slice(window.y0, window.y1), slice(window.x0, window.x1)
        self._kind = KINDS.index(simulation.kind)
        self._seed = simulation.seed if simulation.detector_seed is None else simulation.detector_seed
        self.pedestal_e, self.read_noise_e = self._draw_electronics()
        self.dark_e, self.hot_e = self._smooth_dark(), np.zeros((ny, nx), np.float32)
        self.codes = np.zeros((ny, nx), np.int32)
        self._draw_defects()
        for truth in (self.pedestal_e, self.read_noise_e, self.dark_e, self.hot_e, self.codes, self.defects):
            truth.setflags(write=False)

    def _draw_electronics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw pedestal and read noise, of the borders too: the same electronics read them."""
        rng, physics = _generator(self._seed, "pattern"), self.physics
        detector, (bin_y, bin_x) = self.simulation.detector, self.simulation.binning
        noise = np.full(self.geometry.raw_shape, physics.read_noise_e, np.float32)
        if physics.read_noise_spread:
            noise *= 1 + physics.read_noise_spread * rng.standard_normal(noise.shape, np.float32)
            np.maximum(noise, 0.2 * physics.read_noise_e, out=noise)
        pedestal = np.full(self.geometry.raw_shape, physics.pedestal_e, np.float32)
        for region in detector.amplifiers:
            rows = slice(region.y0 // bin_y, region.y1 // bin_y)
            channel = pedestal[rows, region.x0 // bin_x : region.x1 // bin_x]  # a view
            columns = rng.standard_normal(2 if detector.column_parity else channel.shape[1])
            channel += physics.channel_e * rng.standard_normal()
            channel += physics.column_e * np.resize(columns, channel.shape[1])
        return pedestal, noise

    def _smooth_dark(self) -> NDArray[np.float32]:
        """Return dark current and glow where light falls; borders and overscan columns have neither."""
        dark = np.zeros(self.geometry.raw_shape, np.float32)
        if self.simulation.kind == "DARK":
            y, x = (np.linspace(0, 1, side) for side in self.geometry.shape)
            # the amplifiers lie along the first rows and light the corners; both reach a tenth of the detector
            to_corner = np.hypot(np.minimum(y, 1 - y)[:, np.newaxis], np.minimum(x, 1 - x))
            glow = 0.5 * np.exp(-y / 0.1)[:, np.newaxis] + 0.5 * np.exp(-to_corner / 0.1)
            current = self.physics.dark_current_e_per_s * self.physics.exposure_s
            dark[self._science] = np.prod(self.simulation.binning) * (current + self.physics.glow_e * glow)
        return dark

    def _draw_defects(self) -> None:
        """Choose bad pixels and their amplitudes; only blocks and columns overlap with others."""
        rng, physics, simulation = _generator(self._seed, "defects"), self.physics, self.simulation
        inside = np.arange(self.dark_e.size).reshape(self.dark_e.shape)[self._science]
        names = ("hot_fraction", "cold_fraction", "dead_fraction", "telegraph_fraction")
        numbers = [round(getattr(physics, name) * inside.size) for name in names]
        chosen = inside.ravel()[rng.choice(inside.size, sum(numbers), replace=False)]
        hot, cold, dead, telegraph = np.split(chosen, np.cumsum(numbers)[:-1])
        dark, hot_e, pedestal = self.dark_e.ravel(), self.hot_e.ravel(), self.pedestal_e.ravel()  # views

        exposure_s = physics.exposure_s or 1.0  # hot pixels of a bias are drawn, to keep the order, and dropped
        variance = physics.read_noise_e**2 + physics.dark_current_e_per_s * exposure_s
        faint = max(3 * np.sqrt(variance / simulation.ndit / 10), 0.1)
        ceiling = physics.ceiling_adu * physics.conad_e_per_adu - physics.pedestal_e
        self.hot_range_e = (float(faint), float(max(faint, ceiling)))
        if simulation.hot_range_e_per_s is not None:
            low, high = simulation.hot_range_e_per_s
            self.hot_range_e = (low * exposure_s, high * exposure_s)
        hot_e[hot] = _log_uniform(rng, *self.hot_range_e, hot.size)
        just_cold = max(3 * physics.read_noise_e / np.sqrt(10), 0.1)
        cold_e = _log_uniform(rng, just_cold, max(just_cold, 0.5 * physics.pedestal_e), cold.size)
        pedestal[cold] -= cold_e
        dead_e = physics.pedestal_e * rng.uniform(0.5, 0.95, dead.size)
        pedestal[dead] = physics.pedestal_e - dead_e
        self._telegraph, self._duty = telegraph, rng.uniform(*simulation.telegraph_duty, telegraph.size)
        self._step_e = _log_uniform(rng, 5, 50, telegraph.size) * max(physics.read_noise_e, 0.1)

        clusters = [inside[:, x] for x in rng.integers(inside.shape[1], size=simulation.bad_columns)]
        for y, x in rng.integers(np.array(inside.shape) - BLOCK_SIDE, size=(simulation.hot_blocks, 2)):
            clusters.append(inside[y : y + BLOCK_SIDE, x : x + BLOCK_SIDE].ravel())
        for cluster, excess in zip(clusters, _log_uniform(rng, *self.hot_range_e, len(clusters)), strict=True):
            hot_e[cluster] = np.maximum(hot_e[cluster], excess)
        self._dead = dead
        dark[dead] = hot_e[dead] = 0.0
        hot_e *= physics.exposure_s > 0
        dark += hot_e

        hot = np.flatnonzero(hot_e)
        groups = [
            (hot, PixelCode.HOT.value, hot_e[hot]),
            (cold, PixelCode.COLD.value, cold_e),
            (dead, PixelCode.COLD.value, dead_e),
            (telegraph, PixelCode.NOISY.value, self._step_e),
        ]
        rows = [row for pixels, code, e in groups for row in zip(pixels, [code] * pixels.size, e, strict=True)]
        self.defects = np.array(rows, [("pixel", "i8"), ("code", "i4"), ("amplitude_e", "f4")])
        np.bitwise_or.at(self.codes.ravel(), self.defects["pixel"], self.defects["code"])

    def level_e(self, index: int) -> float:
        """Return by how much the level of a whole frame has drifted, electron."""
        rng = _generator(self.simulation.seed, "levels", self._kind, index)
        return float(self.physics.drift_e * rng.standard_normal())

    def cosmic_rays(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return what cosmic rays leave in a frame.

        Parameters
        ----------
        index : int
            Which frame, from 0.

        Returns
        -------
        pixels : ndarray of int
            Pixels hit, each once, as indices into the flattened image.
        charge_e : ndarray of float
            Charge in them, electron; in a frame of NDIT integrations the average.

        Notes
        -----
        Muons, whose directions go as the squared cosine of the angle to the normal, cross the layer that collects
        charge on straight lines. Moyal's law, -ln z^2 of a normal z, stands for the tail of Landau's energy loss.
        """
        physics, simulation = self.physics, self.simulation
        rng = _generator(simulation.seed, "cosmic rays", self._kind, index)
        ny, nx = self.geometry.shape
        side_y_um, side_x_um = simulation.detector.pixel_size_um * np.array(simulation.binning)
        area_cm2 = ny * side_y_um * nx * side_x_um * 1e-8
        rays = rng.poisson(physics.cosmic_rays_per_cm2_s * area_cm2 * physics.exposure_s * simulation.ndit)
        y, x, turn = (rng.uniform(0, end, rays) for end in (ny, nx, 2 * np.pi))
        cosine = np.maximum(rng.random(rays) ** 0.25, 0.05)  # of rays through a surface: one power more
        length_um = physics.cosmic_depth_um * np.sqrt(cosine**-2 - 1) * (simulation.cosmic_shape == "tracks")
        points = np.maximum(1, np.ceil(length_um / (TRACK_STEP * side_y_um))).astype(int)
        ray = np.repeat(np.arange(rays), points)
        place = np.arange(ray.size) - np.repeat(np.cumsum(points) - points, points)
        along_um = length_um[ray] * (place + 0.5) / points[ray]
        loss = 1 - 0.2 * np.log(np.maximum(rng.standard_normal(ray.size) ** 2, 1e-30))
        charge = physics.cosmic_e_per_um * (physics.cosmic_depth_um / cosine / points)[ray] * np.maximum(loss, 0.1)
        if simulation.cosmic_shape == "pixels" and simulation.cosmic_range_e is not None:
            charge = _log_uniform(rng, *simulation.cosmic_range_e, rays)
        rows = np.floor(y[ray] + along_um * np.sin(turn[ray]) / side_y_um).astype(int)
        columns = np.floor(x[ray] + along_um * np.cos(turn[ray]) / side_x_um).astype(int)
        seen = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        window = self.geometry.science
        hit = (rows[seen] + window.y0) * self.codes.shape[1] + columns[seen] + window.x0
        pixels, inverse = np.unique(hit, return_inverse=True)
        alive = ~np.isin(pixels, self._dead)
        return pixels[alive], np.bincount(inverse, charge[seen], pixels.size)[alive] / simulation.ndit

    def frame(self, index: int) -> NDArray[Any]:
        """Draw a raw frame.

        Parameters
        ----------
        index : int
            Which frame, from 0; it does not depend on how many there are.

        Returns
        -------
        ndarray
            ADU; uint16, int32 where a pixel saturates above 65535 ADU, or float32 where not quantised.
        """
        simulation, physics = self.simulation, self.physics
        rng = _generator(simulation.seed, "frame", self._kind, index)
        image = rng.standard_normal(self.codes.shape, np.float32)
        image *= self.read_noise_e
        if physics.row_noise_e:
            image += physics.row_noise_e * _pink(rng, len(image))[:, np.newaxis]
        image /= np.sqrt(simulation.ndit)
        image += self.pedestal_e
        image += self.level_e(index)
        image += (rng.poisson(self.dark_e * simulation.ndit) / simulation.ndit).astype(np.float32)
        flat = image.ravel()  # a view
        flat[self._telegraph] += self._step_e * (rng.random(self._telegraph.size) < self._duty)
        pixels, charge_e = self.cosmic_rays(index)
        flat[pixels] += charge_e
        image /= physics.conad_e_per_adu
        if not simulation.quantise:
            return image
        np.clip(np.rint(image, out=image), 0, physics.ceiling_adu, out=image)
        return image.astype(np.uint16 if physics.ceiling_adu <= 65535 else np.int32)

    def header(self, index: int) -> fits.Header:
        """Return the header of a frame, with every keyword that the arm's raw frames carry."""
        simulation, physics, table = self.simulation, self.physics, self.simulation.table
        pair, soxs, conad = (table.name, simulation.arm), table.name == "SOXS", physics.conad_e_per_adu
        start, first = (simulation.start_of(n).isoformat(timespec="milliseconds") for n in (index, 0))
        kind, size_um = simulation.kind.capitalize(), simulation.detector.pixel_size_um
        template = "SOXS_img_cal_" if pair == ("SOXS", "ACQ") else f"{table.name}_gen_cal_{simulation.arm * soxs}"
        days = (simulation.start_of(index) - datetime(1858, 11, 17)) / timedelta(days=1)
        meanings: dict[str, Any] = {
            "exptime": physics.exposure_s, "mjd": round(days, 8), "date": start,
            "archive_name": simulation.name_of(index, ":"), "category": "CALIB", "technique": "IMAGE",
            "type": simulation.kind, "arm": simulation.arm, "template": template + kind, "conad": conad,
            "gain": 1 / conad, "read_noise": physics.read_noise_e, "chip": f"{simulation.detector.name} (sim)",
        }  # fmt: skip
        if simulation.is_ccd:
            read_mode = f"1pt/{'400k/lg' if conad > 1 else '100k/hg'}"
            meanings |= {"biny": simulation.binning[0], "binx": simulation.binning[1]}
        else:
            read_mode = "Double"
            meanings |= {"dit": physics.exposure_s, "ndit": simulation.ndit}
        meanings["read_mode"] = 1 if soxs else read_mode
        if soxs:
            meanings["read_mode_name"] = "Default" if simulation.is_ccd else "Nondest"
        site = ("ESO-LASILLA", "ESO-NTT") if soxs else ("ESO-PARANAL", "ESO-VLT-U3")
        cards: dict[str, Any] = {
            "ORIGIN": site[0],
            "TELESCOP": site[1],
            "INSTRUME": table.instrume[0],
            "OBJECT": simulation.kind,
        }
        for meaning, value in meanings.items():
            keywords = table.keywords[meaning]
            cards[keywords[_PLACES.get(pair, {}).get(meaning, 0)]] = value
            if not soxs and meaning in ("binx", "biny", "read_noise"):  # X-shooter says these twice
                cards[keywords[1]] = value
        chip = "ESO DET CHIP" if soxs else "ESO DET CHIP1"
        cards |= {f"{chip} PSZX": size_um, f"{chip} PSZY": size_um}
        cards |= {"ESO INS TEMP301 VAL": 11.7} if soxs else {}
        if simulation.detector.temperature_keyword:
            cards[simulation.detector.temperature_keyword] = _TEMPERATURE_K[pair]
        if soxs and simulation.arm != "ACQ":
            cards["ESO INS VISE SWSIM" if simulation.is_ccd else "ESO INS NISE SWSIM"] = False
        cards |= {
            "ESO TPL NAME": f"{kind} frames", "ESO TPL START": first, "ESO TPL NEXP": simulation.frames,
            "ESO TPL EXPNO": index + 1, "ESO OBS ID": 200000001, "ESO OBS NAME": template + kind,
            "ESO OBS START": first,
        }  # fmt: skip
        return _header(cards, f"Simulated by soxspipe, seed {simulation.seed}: not an observation")

    def truth(self) -> fits.HDUList:
        """Return the truth as FITS: images, bad pixels, levels, and in the first header all parameters."""
        simulation, frames = self.simulation, range(self.simulation.frames)
        cards: dict[str, Any] = {"INSTRUME": simulation.table.instrume[0], "ESO SIM ORIENT": "RAW"}
        for name in (field.name for field in fields(simulation)):
            value = self.geometry.raw_shape if name == "shape" else getattr(simulation, name)
            value = getattr(self.physics, name, value)
            plain = isinstance(value, str | bool | int | float)
            cards[f"ESO SIM {name.upper().replace('_', ' ')}"] = value if plain else str(value)
        cards["ESO SIM HOT MIN E"], cards["ESO SIM HOT MAX E"] = self.hot_range_e
        hits = np.zeros(self.codes.shape, np.int16)
        for index in frames:
            hits.ravel()[self.cosmic_rays(index)[0]] += 1
        images: dict[str, NDArray[Any]] = {
            "DARK": self.dark_e, "PEDESTAL": self.pedestal_e, "RON": self.read_noise_e, "HOTAMP": self.hot_e,
            "CODES": self.codes, "COSMIC": hits,
        }  # fmt: skip
        hdus = [fits.PrimaryHDU(header=_header(cards, "Images are of shape and orientation of the raw frames."))]
        for name, image in images.items():
            unit = {"BUNIT": "electron"} if image.dtype == np.float32 else {}
            hdus.append(fits.ImageHDU(image, fits.Header(unit), name=name))
        y, x = np.unravel_index(self.defects["pixel"], self.codes.shape)
        rows = list(zip(y, x, self.defects["code"], self.defects["amplitude_e"], strict=True))
        defects = np.array(rows, [("Y", "i4"), ("X", "i4"), ("CODE", "i4"), ("AMPLITUDE", "f4")])
        hdus.append(fits.BinTableHDU(defects, name="DEFECTS"))
        levels = [(simulation.name_of(index), self.level_e(index)) for index in frames]
        hdus.append(fits.BinTableHDU(np.array(levels, [("FRAME", "U40"), ("LEVEL", "f8")]), name="LEVELS"))
        return fits.HDUList(hdus)


def _pink(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    """Draw a series with a 1/f spectrum, mean 0 and rms 1."""
    frequency = np.arange(length // 2 + 1)
    real, imaginary = rng.standard_normal((2, frequency.size)) / np.sqrt(np.maximum(frequency, 1))
    real[0] = imaginary[0] = 0.0
    series = np.fft.irfft(real + 1j * imaginary, length)
    return (series / series.std()).astype(np.float32)


def _header(cards: dict[str, Any], comment: str) -> fits.Header:
    header = fits.Header()
    for keyword, value in cards.items():
        header[f"HIERARCH {keyword}" if " " in keyword else keyword] = value
    header["COMMENT"] = comment
    return header


@dataclass(frozen=True)
class SimulatedDarks:
    """Where the files of a simulation are."""

    sof: Path  #: Set of files, with relative names.
    frames: tuple[Path, ...]  #: Raw frames in order of time.
    truth: Path  #: The truth, as FITS.


def simulate_darks(
    directory: str | Path,
    simulation: DarkSimulation | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SimulatedDarks:
    """Write simulated raw frames, their set of files (darks.sof or bias.sof) and truth.fits.

    Parameters
    ----------
    directory : path
        Where to; made when missing.
    simulation : DarkSimulation, optional
        What to simulate; by default ten full NIR darks of SOXS.
    overwrite : bool
        Whether files that are there may be replaced; of a run that fails then, nothing of theirs comes back.
    progress : callable, optional
        Called as ``progress(done, total)`` after each frame.

    Returns
    -------
    SimulatedDarks
        Paths of what was written.

    Raises
    ------
    ProductExistsError
        When one of the files is there and ``overwrite`` is False; nothing is written then.
    ProductError
        When a file cannot be written.
    """
    simulation = simulation or DarkSimulation()
    directory = Path(directory)
    names = [simulation.name_of(index) for index in range(simulation.frames)]
    sof = directory / ("darks.sof" if simulation.kind == "DARK" else "bias.sof")
    made = SimulatedDarks(sof, tuple(directory / name for name in names), directory / "truth.fits")
    for path in (made.sof, made.truth, *made.frames):
        if path.exists() and not overwrite:
            raise ProductExistsError(f"{path}: exists, left alone: choose another folder, or --overwrite")
    detector = SimulatedDetector(simulation)
    with _Files(directory, overwrite=overwrite) as files:
        for index, path in enumerate(made.frames):
            frame = fits.HDUList([fits.PrimaryHDU(detector.frame(index), detector.header(index))])
            files.write(path, _bytes_of(frame))
            if progress is not None:
                progress(index + 1, simulation.frames)
        files.write(made.truth, _bytes_of(detector.truth()))
        files.write(made.sof, "".join(f"{name} {simulation.kind}_{simulation.arm}\n" for name in names).encode())
    return made


class _Files:
    """Files of one run in a folder: each is whole when it has its name, and all go where not all can be written."""

    def __init__(self, folder: Path, *, overwrite: bool) -> None:
        self._folder = folder
        self._overwrite = overwrite
        self._written: list[Path] = []
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]

    def write(self, path: Path, content: bytes) -> None:
        """Write a file, which must not have come in the meantime unless it may be replaced."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(content)
                if not self._overwrite and path.exists():
                    raise ProductExistsError(f"{path}: another run wrote it in the meantime: choose another folder")
                self._written.append(path)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ProductExistsError(
                f"{self._folder}: a file stands where the folder should be: choose another folder"
            ) from error
        except OSError as error:
            raise storage_fault(path, error, "choose another folder") from error

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        if fault is not None:
            for path in self._written:
                with contextlib.suppress(OSError):
                    path.unlink()
            for folder in self._made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _bytes_of(hdus: fits.HDUList) -> bytes:
    for hdu in hdus:
        hdu.add_checksum(when="of this unit")  # the default comment, the time of day, would change the bytes
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()
