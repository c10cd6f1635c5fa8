"""From raw counts to electrons in bands of rows: trim, pedestal, master bias, conversion factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError
from ..fits_files.images import FitsImage
from ..fits_files.pixel_reader import PixelReader, read_images
from ..fits_files.streams import Closing
from ..instruments.detectors import Window
from ..pixel_codes import PixelCode
from ..run_log import get_logger
from ..stacking.frame_stack import Regions, check_regions
from ..stacking.readout_levels import FEWEST_OUTPUTS, CommonMode, OverscanLevels, measure_overscan
from ..stacking.robust import clipped_moments
from ..text import escape
from .frame_kinds import MASTER_BIAS, STATIC_MAP
from .raw_frames import CalibrationFile, FrameSet
from .sample_checks import check_samples, full_scale_adu

__all__ = ["PreparedFrames", "require_usable", "usable_samples"]

log = get_logger(__name__)

#: No pixel holds so many electrons: a larger sample is no data, and its square would overflow.
LARGEST_SIGNAL_E = 1e12
#: Rows read at once where a whole frame is measured.
BLOCK_ROWS = 256
#: Overscan columns beside the light-sensitive part that are left out: charge that trails behind it ends up there.
TRAILING_COLUMNS = 4
#: No error of a master is smaller: its weight would be infinite.
SMALLEST_ERROR_E = 1e-6


class PreparedFrames(Closing):
    """The frames of a set as a stack of trimmed frames in electrons; see `FrameStack`.

    Rows are read, trimmed and converted on request. The frames stay in raw orientation: rows are contiguous on disk,
    and amplifiers are ranges of columns. Use it as a context manager.

    Parameters
    ----------
    frames : FrameSet
        A verified set.
    workers : int
        Threads that unpack compressed frames.
    common_mode : bool
        Whether the noise that the amplifiers share is removed; not where a detector has fewer than eight.

    Attributes
    ----------
    names : tuple of str
        Names of the files.
    shape : tuple of int
        Rows and columns of the trimmed frames, raw orientation.
    step_e : float
        Quantisation step of the samples, electron; 0 where one frame is continuous.
    warnings : tuple of str
        Oddities of the samples; see `check_samples`.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    shot_scale : float
        Variance per electron of signal.
    column_parity : bool
        Whether odd and even columns have different levels.
    pedestal : str
        Subtracted levels: ``'overscan'``, ``'master bias'``, ``'overscan, master bias'`` or ``'nothing'``; in the
        last case the level of the master is pedestal + dark.
    pedestals_e : ndarray, shape (frames,), electron, or None
        Mean level of each frame's overscan columns; None where the detector has none.
    overscan_noise_e : ndarray, shape (frames,), electron, or None
        Standard deviation of their samples.
    warnings : tuple of str
        Warnings about the samples and the overscan columns, one line each.
    bias_has_pedestal : bool
        True if the pedestal was taken from the master bias.
    static_bad : ndarray of bool, shape (ny, nx), or None
        Pixels of the static bad-pixel map.
    common_error : ndarray of float32, shape (ny, nx), electron, or None
        One-sigma error of the subtracted master bias, which all frames share.
    subtracted_e : ndarray, shape (frames, rows), electron, or None
        Overscan level that is subtracted from each row of each frame; None where there is none.
    """

    def __init__(self, frames: FrameSet, workers: int = 1, *, common_mode: bool = False) -> None:
        self.names = tuple(frame.name for frame in frames.frames)
        self.shape = frames.geometry.shape
        self.regions: Regions = check_regions(frames.geometry.regions, self.shape)
        self.shot_scale = frames.shot_scale
        self.column_parity = frames.detector.column_parity
        self._e_per_sample = np.float32(frames.e_per_sample)
        self._window = frames.geometry.science
        self._saturation = _saturation(frames)
        self._reader = PixelReader([frame.image for frame in frames.frames])
        master_bias, static_map = frames.calibrations.get(MASTER_BIAS), frames.calibrations.get(STATIC_MAP)
        self._bias = self.common_error = self.static_bad = None
        self.warnings: tuple[str, ...] = ()
        self._common: CommonMode | None = None
        self.overscan_noise_e: NDArray[np.float64] | None = None
        try:
            self._reader.unpack(workers)
            scale_adu = frames.detector.scale_adu
            checks = check_samples(self._reader, self.names, self._window, scale_adu=scale_adu, unit=frames.unit)
            self.step_e, self.warnings = frames.e_per_sample * checks.step_adu, checks.warnings
            if common_mode:
                self._measure_common_mode(frames)
            rows_e = self._measure_pedestals(frames)
            if master_bias is not None:
                self._bias, self.common_error = _read_bias(master_bias, frames)
            if static_map is not None:
                self.static_bad = _read_image(next(iter(static_map.images.values())), frames) != 0
        except BaseException:
            self._reader.close()
            raise
        self.pedestals_e = None if rows_e is None else rows_e.mean(axis=1)
        self.bias_has_pedestal = self._bias is not None
        self.subtracted_e, self.pedestal = self._plan_levels(rows_e)

    def _plan_levels(self, rows_e: NDArray[np.float64] | None) -> tuple[NDArray[np.float64] | None, str]:
        """Return the level to subtract from each row of each frame in addition to the master bias, and a description.

        A master bias that holds the pedestal itself leaves only the frames' drift to the overscan. One made from
        frames whose overscan was subtracted leaves the whole pedestal to it.
        """
        if rows_e is None:
            return None, "nothing" if self._bias is None else "master bias"
        if self._bias is None:
            return rows_e, "overscan"
        bias_level = clipped_moments(self._bias[::4].ravel())[0]
        self.bias_has_pedestal = abs(bias_level) > 0.5 * abs(float(rows_e.mean()))
        log.info("the master bias %s the pedestal", "holds" if self.bias_has_pedestal else "does not hold")
        # a fixed pattern of rows is in that bias too
        return rows_e - rows_e.mean(axis=0) if self.bias_has_pedestal else rows_e, "overscan, master bias"

    def _measure_pedestals(self, frames: FrameSet) -> NDArray[np.float64] | None:
        """Return the level of each light-sensitive row of each frame, electron; None without overscan columns."""
        spans = [_without_trail(span, self._window) for span in frames.geometry.overscan_columns]
        if not spans:
            return None
        ny, conad = frames.geometry.raw_shape[0], frames.e_per_sample
        measured = []
        for i, name in enumerate(self.names):
            pieces: list[list[NDArray[np.float32]]] = [[] for _ in spans]
            for start in range(0, ny, BLOCK_ROWS):
                raw = self._reader.read_rows(i, start, min(start + BLOCK_ROWS, ny))
                for piece, (first, end) in zip(pieces, spans, strict=True):
                    piece.append(np.asarray(raw[:, first:end], np.float32))
            measured.append(measure_overscan([np.concatenate(piece) for piece in pieces], 1.0))
            if not np.isfinite(measured[-1].mean):
                raise FrameError(f"{name}: the overscan columns hold no data: leave this frame out")
        for name, levels in zip(self.names, measured, strict=True):
            mean, wander, error = (conad * value for value in (levels.mean, levels.wander, levels.row_error))
            log.info("%s: overscan %.2f electron, wander %.2f, error of a row %.3f", name, mean, wander, error)
        self.overscan_noise_e = conad * np.array([levels.noise for levels in measured])
        self.warnings += tuple(_uneven(self.names, measured, spans, conad))
        return conad * np.array([levels.rows for levels in measured])[:, self._window.y0 : self._window.y1]

    def _measure_common_mode(self, frames: FrameSet) -> None:
        """Measure the levels of all frames from which the common mode of the amplifiers counts."""
        nx, first, end = frames.geometry.raw_shape[1], self._window.y0, self._window.y1
        columns = [(region.x0, min(region.x1, nx)) for region in frames.detector.amplifiers if region.x0 < nx]
        if len(columns) < FEWEST_OUTPUTS:
            log.info("common-mode: %d simultaneous amplifiers, at least %d are needed", len(columns), FEWEST_OUTPUTS)
            return

        def image(frame: int) -> NDArray[np.float32]:
            blocks = [self._reader.read_rows(frame, y, min(y + BLOCK_ROWS, end)) for y in range(first, end, BLOCK_ROWS)]
            return np.concatenate(blocks).astype(np.float32)

        images = map(image, range(len(self.names)))
        self._common = CommonMode(images, columns, alternating=frames.detector.output_scan == "alternating")

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one trimmed frame into ``out``, electron; see `FrameStack.read`."""
        window = self._window
        rows = self._reader.read_rows(frame, window.y0 + start, window.y0 + stop)
        raw = rows[:, window.x0 : window.x1]
        highest = raw.max() if raw.dtype.kind in "iu" else np.fmax.reduce(raw, axis=None)
        saturation = self._saturation[frame]
        saturated = raw >= saturation if highest >= saturation else None
        with np.errstate(over="ignore", invalid="ignore"):  # a value beyond float32 becomes no data below
            if self._common is None:
                out[...] = raw
            else:
                rows = rows.astype(np.float32)
                self._common.remove(frame, start, rows)
                out[...] = rows[:, window.x0 : window.x1]
            out *= self._e_per_sample
        if raw.dtype.kind == "f" or raw.dtype.itemsize > 4:
            out[~(np.abs(out) < LARGEST_SIGNAL_E)] = np.nan
        if self.subtracted_e is not None:
            out -= self.subtracted_e[frame, start:stop, np.newaxis].astype(np.float32)
        if self._bias is not None:
            out -= self._bias[start:stop]
        return saturated

    @property
    def codes(self) -> dict[PixelCode, NDArray[np.bool_]]:
        """Pixels of the code that the static bad-pixel map decides."""
        return {} if self.static_bad is None else {PixelCode.STATIC: self.static_bad}

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


def usable_samples(values: NDArray[np.float32], errors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the samples of a master that have a value and an error above zero, both finite and not huge."""
    return (np.abs(values) < LARGEST_SIGNAL_E) & (errors >= SMALLEST_ERROR_E) & (errors < LARGEST_SIGNAL_E)


def require_usable(values: NDArray[np.float32], errors: NDArray[np.float32], label: str) -> NDArray[np.bool_]:
    """Return `usable_samples` of a master; raises FrameError where it has none."""
    usable = usable_samples(values, errors)
    if not usable.any():
        raise FrameError(
            f"{label}: no pixel of FLUX has an error in ERRS from {SMALLEST_ERROR_E:g} to {LARGEST_SIGNAL_E:g} "
            "electron: make the master again"
        )
    return usable


def _without_trail(span: tuple[int, int], science: Window) -> tuple[int, int]:
    """Return overscan columns without those beside the light-sensitive part; half of a narrow span stays."""
    first, end = span
    trail = min(TRAILING_COLUMNS, (end - first) // 2)
    return (first, min(end, science.x0 - trail)) if end <= science.x0 else (max(first, science.x1 + trail), end)


def _uneven(
    names: Sequence[str], measured: Sequence[OverscanLevels], spans: Sequence[tuple[int, int]], conad: float
) -> Iterator[str]:
    """Yield a warning where prescan and overscan columns differ by more than the noise of a sample."""
    spread = [np.ptp(levels.spans) for levels in measured]
    odd = [i for i, levels in enumerate(measured) if not spread[i] <= levels.noise + 1.0]
    if odd:
        worst = max(odd, key=lambda i: spread[i])
        pairs = zip(spans, measured[worst].spans, strict=True)
        found = ", ".join(f"{conad * level:.1f} electron in columns {first} to {end}" for (first, end), level in pairs)
        yield (
            f"{names[worst]}: the overscan columns have different levels, {found}, in {len(odd)} of {len(names)} "
            "frames: light or charge reaches some of them: correct overscan_columns of the instrument table"
        )


def _saturation(frames: FrameSet) -> list[float]:
    """Return the level of a saturated sample of each frame: the detector's, else the highest that its type holds.

    Samples of another type may have been converted: their level is the lowest of the other frames.
    """
    if frames.detector.saturation_adu is not None:
        return [frames.detector.saturation_adu * frames.conad_e_per_adu / frames.e_per_sample] * len(frames.frames)
    levels = [full_scale_adu(frame.image) for frame in frames.frames]
    return [level if np.isfinite(level) else min(levels) for level in levels]


def _read_image(image: FitsImage, frames: FrameSet) -> NDArray[np.generic]:
    """Read a whole calibration image in raw orientation."""
    return frames.geometry.from_product(read_images([image])[0])


def _read_bias(bias: CalibrationFile, frames: FrameSet) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read level and one-sigma error of a master bias, electron; pixels without a value or an error are NaN."""
    level = bias.images.get("FLUX") or next(iter(bias.images.values()))
    error = bias.images.get("ERRS")
    for image in (level, error):
        unit = "electron" if image is None else str(image.header.get("BUNIT") or "electron").strip()
        if unit.lower() not in ("electron", "electrons", "e-"):
            raise FrameError(
                f"{bias.name}: BUNIT is '{escape(unit)}', expected electron: multiply the master bias by the "
                "conversion factor first"
            )
    if error is None:
        raise FrameError(
            f"{bias.name}: the master bias has no extension ERRS, expected its one-sigma error in electron: "
            "make it with 'soxspipe mbias'"
        )
    values, errors = (np.array(_read_image(image, frames), np.float32) for image in (level, error))
    values[~require_usable(values, errors, f"{bias.name}")] = np.nan
    return values, errors
