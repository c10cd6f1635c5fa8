"""Simulated detectors: the truth of a detector, and frames drawn from it.

A sample is pedestal + drift + row noise + Poisson(dark + glow + hot) + cosmic rays + telegraph step + read noise, in
electrons, then rounded and clipped in ADU. Each random part has its own stream of random numbers: frame 3 is the same
in a set of 5 and in a set of 50, and the bias frames of a detector fit its darks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from .parameters import KINDS, DarkSimulation

__all__ = ["SimulatedDetector"]

BLOCK_SIDE = 9  # pixels; a cluster of this width could hide in a local background
TRACK_STEP = 0.5  # pixels between the points of a track
SPOT_RADIUS = 40  # pixels of a spot of persistence or of a light leak
PERSISTENCE_FRAMES = 2  # frames in which persistence fades by e
OWN_SHARE = 1 / 3  # of the common 1/f noise: that of each amplifier alone

# a new name goes to the end, as their order decides the random numbers
_STREAMS = (
    "pattern", "defects", "levels", "cosmic rays", "frame", "dark current", "fixed levels", "warm columns", "spots",
    "snowballs", "outputs",
)  # fmt: skip


def _generator(seed: int, stream: str, *indices: int) -> np.random.Generator:
    """Return the random generator of one part of the simulation."""
    key = (_STREAMS.index(stream), *indices)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _log_uniform(rng: np.random.Generator, low: float, high: float, number: int) -> NDArray[np.float64]:
    return np.asarray(low * (high / low) ** rng.random(number))


class SimulatedDetector:
    """The arrays of a simulation: the truth, which is drawn once, and frames, which are drawn one at a time.

    Images have the shape and orientation of a raw frame; the truth is read-only.

    Parameters
    ----------
    simulation : DarkSimulation
        What to simulate.

    Attributes
    ----------
    physics : types.SimpleNamespace
        The values in use, see `DarkSimulation.physics`.
    geometry : soxspipe.instruments.detectors.Geometry
        Places of the light-sensitive pixels and the overscan columns.
    dark_e : ndarray of float32
        Expected signal of one integration without pedestal, electron: dark, glow, excess of hot pixels.
    hot_e : ndarray of float32
        Excess of hot pixels alone; its range is ``hot_range_e``.
    pedestal_e : ndarray of float32
        Pedestal with its fixed pattern, electron; cold and dead pixels are low in it.
    read_noise_e : ndarray of float32
        Read noise of one integration, electron.
    codes : ndarray of int32
        256 hot, 512 cold or dead, 1024 noisy; codes add up.
    faults : list of tuple
        What else was planted: name, number of the frame from 0 (-1: all), row and column (-1: all), amplitude in
        electron (of ``noisier`` the factor).
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
        self.faults: list[tuple[Any, ...]] = []
        self._draw_defects()
        self._draw_faults()
        for truth in (self.pedestal_e, self.read_noise_e, self.dark_e, self.hot_e, self.codes, self.defects):
            truth.setflags(write=False)

    def _draw_electronics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw pedestal and read noise; the borders have them too, as the same electronics read them."""
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
        fixed, (ny, nx) = _generator(self._seed, "fixed levels"), pedestal.shape
        for scatter_e, levels in (
            (self.simulation.column_pattern_e, fixed.standard_normal(nx)),
            (self.simulation.row_pattern_e, fixed.standard_normal((ny, 1))),
        ):
            if scatter_e:
                pedestal += np.float32(scatter_e) * levels.astype(np.float32)
        return pedestal, noise

    def _smooth_dark(self) -> NDArray[np.float32]:
        """Return dark current and glow of the light-sensitive pixels; borders and overscan columns have neither."""
        dark = np.zeros(self.geometry.raw_shape, np.float32)
        if self.simulation.kind == "DARK":
            y, x = (np.linspace(0, 1, length) for length in self.geometry.shape)
            # the amplifiers lie along the first rows and glow in the corners; the scale is a tenth of the detector
            to_corner = np.hypot(np.minimum(y, 1 - y)[:, np.newaxis], np.minimum(x, 1 - x))
            glow = 0.5 * np.exp(-y / 0.1)[:, np.newaxis] + 0.5 * np.exp(-to_corner / 0.1)
            current: Any = self.physics.dark_current_e_per_s * self.physics.exposure_s
            if sigma := self.simulation.dsnu:
                normal = _generator(self._seed, "dark current").standard_normal(self.geometry.shape)
                current = current * np.exp(sigma * normal - 0.5 * sigma**2)
            dark[self._science] = np.prod(self.simulation.binning) * (current + self.physics.glow_e * glow)
        return dark

    def _draw_defects(self) -> None:
        """Draw bad pixels and their amplitudes; only blocks and columns overlap with others."""
        rng, physics, simulation = _generator(self._seed, "defects"), self.physics, self.simulation
        inside = np.arange(self.dark_e.size).reshape(self.dark_e.shape)[self._science]
        names = ("hot_fraction", "cold_fraction", "dead_fraction", "telegraph_fraction")
        numbers = [round(getattr(physics, name) * inside.size) for name in names]
        chosen = inside.ravel()[rng.choice(inside.size, sum(numbers), replace=False)]
        hot, cold, dead, telegraph = np.split(chosen, np.cumsum(numbers)[:-1])
        dark, hot_e, pedestal = self.dark_e.ravel(), self.hot_e.ravel(), self.pedestal_e.ravel()  # views

        # hot pixels of a bias are drawn, to keep the order of the random numbers, and dropped
        exposure_s = physics.exposure_s or 1.0
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
        self._add_warm_pixels(inside)
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

    def _add_warm_pixels(self, inside: NDArray[np.intp]) -> None:
        """Add warm columns, and the exponential tail of the dark current."""
        simulation, hot_e = self.simulation, self.hot_e.ravel()  # a view
        rng = _generator(self._seed, "warm columns")
        for x in rng.choice(inside.shape[1], simulation.warm_columns, replace=False):
            hot_e[inside[:, x]] += simulation.warm_excess_e
            self.faults.append(("warm column", -1, -1, int(x) + self.geometry.science.x0, simulation.warm_excess_e))
        tail = rng.choice(inside.ravel(), round(simulation.dsnu_tail * inside.size), replace=False)
        current_e = self.physics.dark_current_e_per_s * self.physics.exposure_s * np.prod(simulation.binning)
        hot_e[tail] += rng.exponential(3 * current_e, tail.size)

    def _draw_faults(self) -> None:
        """Note what is planted in the frames, apart from snowballs."""
        simulation, window = self.simulation, self.geometry.science
        rng = _generator(self._seed, "spots")
        places = rng.integers(window.shape, size=(2, 2)) + (window.y0, window.x0)
        persistent, bright = (tuple(map(int, place)) for place in places)
        self.faults += [
            ("persistence", index, *persistent, simulation.persistence_e * float(np.exp(-index / PERSISTENCE_FRAMES)))
            for index in range(simulation.frames)
            if simulation.persistence_e and simulation.kind == "DARK"
        ]
        odd = simulation.odd_frame - 1
        if simulation.leak_e and simulation.kind == "DARK":
            place = bright if simulation.leak_shape == "spot" else (-1, -1)
            self.faults.append((f"leak, {simulation.leak_shape}", odd, *place, simulation.leak_e))
        if simulation.noisier != 1:
            self.faults.append(("noisier", odd, -1, -1, simulation.noisier))

    def added_e(self, index: int) -> NDArray[np.float32]:
        """Return the expected signal of persistence and light leak in a frame, electron in one integration."""
        image = np.zeros(self.codes.shape, np.float32)
        nx = self.geometry.shape[1]
        for name, frame, y, x, amplitude_e in self.faults:
            if frame == index and name == "leak, gradient":
                image[self._science] += np.linspace(0, amplitude_e, nx, dtype=np.float32)
            elif frame == index and y >= 0:
                distance = np.hypot(np.arange(len(image))[:, np.newaxis] - y, np.arange(image.shape[1]) - x)
                # the edge of persistence is sharp, that of a leak is not
                spot = distance < SPOT_RADIUS if name == "persistence" else np.exp(-0.5 * (distance / SPOT_RADIUS) ** 2)
                image[self._science] += (np.float32(amplitude_e) * spot).astype(np.float32)[self._science]
        return image

    def snowballs(self, index: int) -> list[tuple[int, int, float, float]]:
        """Return row, column, radius (pixels) and charge of a core pixel (electron) of the snowballs of a frame."""
        if not self.simulation.snowballs:
            return []
        rng, window = _generator(self.simulation.seed, "snowballs", self._kind, index), self.geometry.science
        number = rng.poisson(self.simulation.snowballs)
        places = rng.integers(window.shape, size=(number, 2)) + (window.y0, window.x0)
        radii, charges = _log_uniform(rng, 4, 12, number), _log_uniform(rng, 3e3, 3e4, number)
        return [(int(y), int(x), float(r), float(e)) for (y, x), r, e in zip(places, radii, charges, strict=True)]

    def _snowball_charges(self, index: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return pixels and charges of the snowballs: a core, and a halo of 0.3 % that fades with half its radius."""
        pixels, charges = [np.empty(0, np.intp)], [np.empty(0)]
        window, nx = self.geometry.science, self.codes.shape[1]
        for y, x, radius, core_e in self.snowballs(index):
            reach = int(3 * radius)
            rows = np.arange(max(y - reach, window.y0), min(y + reach + 1, window.y1))[:, np.newaxis]
            columns = np.arange(max(x - reach, window.x0), min(x + reach + 1, window.x1))
            distance = np.hypot(rows - y, columns - x)
            charge = np.where(distance <= radius, core_e, 3e-3 * core_e * np.exp(-2 * (distance - radius) / radius))
            pixels.append((rows * nx + columns).ravel())
            charges.append(charge.ravel())
        return np.concatenate(pixels), np.concatenate(charges)

    def level_e(self, index: int) -> float:
        """Return the drift of the level of a frame, electron."""
        rng = _generator(self.simulation.seed, "levels", self._kind, index)
        return float(self.physics.drift_e * rng.standard_normal())

    def cosmic_rays(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return pixels and charges of the cosmic rays in a frame, snowballs included.

        Parameters
        ----------
        index : int
            Number of the frame, from 0.

        Returns
        -------
        pixels : ndarray of int
            Hit pixels, each once, as indices into the flattened image.
        charge_e : ndarray of float
            Their charge, electron; in a frame of NDIT integrations the average.

        Notes
        -----
        Muons cross the layer that collects charge on straight lines. Their directions follow the squared cosine of
        the angle to the normal. Moyal's distribution, -ln z^2 of a normal z, stands for Landau's energy loss.
        """
        physics, simulation = self.physics, self.simulation
        rng = _generator(simulation.seed, "cosmic rays", self._kind, index)
        ny, nx = self.geometry.shape
        side_y_um, side_x_um = simulation.detector.pixel_size_um * np.array(simulation.binning)
        area_cm2 = ny * side_y_um * nx * side_x_um * 1e-8
        rays = rng.poisson(physics.cosmic_rays_per_cm2_s * area_cm2 * physics.exposure_s * simulation.ndit)
        y, x, azimuth = (rng.uniform(0, end, rays) for end in (ny, nx, 2 * np.pi))
        cosine = np.maximum(rng.random(rays) ** 0.25, 0.05)  # the flux through a surface has one power more
        length_um = physics.cosmic_depth_um * np.sqrt(cosine**-2 - 1) * (simulation.cosmic_shape == "tracks")
        points = np.maximum(1, np.ceil(length_um / (TRACK_STEP * side_y_um))).astype(int)
        ray = np.repeat(np.arange(rays), points)
        step = np.arange(ray.size) - np.repeat(np.cumsum(points) - points, points)
        along_um = length_um[ray] * (step + 0.5) / points[ray]
        loss = 1 - 0.2 * np.log(np.maximum(rng.standard_normal(ray.size) ** 2, 1e-30))
        charge = physics.cosmic_e_per_um * (physics.cosmic_depth_um / cosine / points)[ray] * np.maximum(loss, 0.1)
        if simulation.cosmic_shape == "pixels" and simulation.cosmic_range_e is not None:
            charge = _log_uniform(rng, *simulation.cosmic_range_e, rays)
        rows = np.floor(y[ray] + along_um * np.sin(azimuth[ray]) / side_y_um).astype(int)
        columns = np.floor(x[ray] + along_um * np.cos(azimuth[ray]) / side_x_um).astype(int)
        seen = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        window = self.geometry.science
        hits = (rows[seen] + window.y0) * self.codes.shape[1] + columns[seen] + window.x0
        snow, snow_e = self._snowball_charges(index)
        pixels, inverse = np.unique(np.concatenate([hits, snow]), return_inverse=True)
        alive = ~np.isin(pixels, self._dead)
        total_e = np.bincount(inverse, np.concatenate([charge[seen], snow_e]), pixels.size)
        return pixels[alive], total_e[alive] / simulation.ndit

    def frame(self, index: int) -> NDArray[Any]:
        """Draw a raw frame.

        Parameters
        ----------
        index : int
            Number of the frame, from 0; the number of frames has no influence on it.

        Returns
        -------
        ndarray
            ADU; uint16, int32 where a pixel saturates above 65535 ADU, or float32 where not quantised.
        """
        simulation, physics = self.simulation, self.physics
        rng = _generator(simulation.seed, "frame", self._kind, index)
        image = rng.standard_normal(self.codes.shape, np.float32)
        image *= self.read_noise_e
        if simulation.noisier != 1 and index == simulation.odd_frame - 1:
            image *= np.float32(simulation.noisier)
        if simulation.common_noise_e:
            image += self._output_noise(index)
        if physics.row_noise_e:
            image += physics.row_noise_e * _pink(rng, len(image))[:, np.newaxis]
        image /= np.sqrt(simulation.ndit)
        image += self.pedestal_e
        image += self.level_e(index)
        signal_e = self.dark_e
        if any(frame == index for _, frame, *_ in self.faults):
            signal_e = signal_e + self.added_e(index)
        image += (rng.poisson(signal_e * simulation.ndit) / simulation.ndit).astype(np.float32)
        flat = image.ravel()  # a view
        flat[self._telegraph] += self._step_e * (rng.random(self._telegraph.size) < self._duty)
        pixels, charge_e = self.cosmic_rays(index)
        flat[pixels] += charge_e
        image /= physics.conad_e_per_adu
        if not simulation.quantise:
            return image
        count_adu = np.float32(simulation.detector.adu_per_count)
        image /= count_adu
        np.rint(image, out=image)
        image *= count_adu
        np.clip(image, 0, physics.ceiling_adu, out=image)
        return image.astype(np.uint16 if physics.ceiling_adu <= 65535 else np.int32)

    def _output_noise(self, index: int) -> NDArray[np.float32]:
        """Draw the 1/f noise of the amplifiers, of which they share a part: they read at the same time."""
        rng = _generator(self.simulation.seed, "outputs", self._kind, index)
        detector, bin_x = self.simulation.detector, self.simulation.binning[1]
        ny, nx = self.codes.shape
        width = max(region.x1 - region.x0 for region in detector.amplifiers) // bin_x
        common = _pink(rng, ny * width)
        noise = np.zeros((ny, nx), np.float32)
        for number, region in enumerate(detector.amplifiers):
            series = (common + OWN_SHARE * _pink(rng, ny * width)).reshape(ny, width)
            if detector.output_scan == "alternating" and number % 2:
                series = series[:, ::-1]
            columns = noise[:, region.x0 // bin_x : region.x1 // bin_x]  # a view
            columns += np.float32(self.simulation.common_noise_e) * series[:, : columns.shape[1]]
        return noise


def _pink(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    """Draw a series with a 1/f spectrum, mean 0 and rms 1."""
    frequency = np.arange(length // 2 + 1)
    real, imaginary = rng.standard_normal((2, frequency.size)) / np.sqrt(np.maximum(frequency, 1))
    real[0] = imaginary[0] = 0.0
    series = np.fft.irfft(real + 1j * imaginary, length)
    return (series / series.std()).astype(np.float32)
