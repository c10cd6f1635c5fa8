"""From raw counts to electrons, row by row: trim, pedestal, master bias, conversion factor."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError
from ..fits_files.pixel_reader import FitsImage, PixelReader
from ..instruments.detectors import Window
from ..run_log import get_logger
from ..stacking.frame_stack import Regions
from ..stacking.noise_model import clipped_moments
from ..text import escape
from .collect import CalibrationFile, FrameSet

__all__ = ["PreparedFrames"]

log = get_logger(__name__)

#: No detector holds so many electrons in a pixel: what does is no data, and its square no number.
NO_SIGNAL_E = 1e12
#: Rows read at once where overscan columns are measured.
LEVEL_ROWS = 256


@dataclass(frozen=True)
class _Bias:
    """A master bias in raw orientation, electron."""

    level: NDArray[np.float32]
    error: NDArray[np.float32]


class PreparedFrames:
    """The darks of a set as a stack of trimmed frames in electrons; see `FrameStack`.

    Rows are read, trimmed and converted when asked for; the frames stay in the raw orientation, in which
    rows are contiguous on disk and amplifiers are columns. Use as a context manager.

    Parameters
    ----------
    frames : FrameSet
        A verified set of darks.
    workers : int
        Processes that unpack compressed frames.

    Attributes
    ----------
    names : tuple of str
        Names of the files.
    shape : tuple of int
        Rows and columns of the trimmed frames, raw orientation.
    step_e : float
        Quantisation step: electrons per ADU of integer frames, 0 of others.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    pedestal : str
        What was taken from the frames: ``'overscan'``, ``'master bias'``, ``'overscan, master
        bias'`` or ``'nothing'``; in the last case the level of the master is pedestal + dark.
    pedestal_e : ndarray, shape (frames,), electron
        Level of each frame's overscan columns; NaN where the detector has none.
    bias_tells_level : bool
        Whether the mean pedestal is that of the master bias, which was taken at another time.
    static_bad : ndarray of bool, shape (ny, nx), or None
        Pixels of the static bad-pixel map.
    bias_error : ndarray of float32, shape (ny, nx), electron, or None
        One-sigma error of the subtracted master bias.
    """

    def __init__(self, frames: FrameSet, workers: int = 1) -> None:
        self.names = tuple(dark.name for dark in frames.darks)
        self.shape = frames.geometry.shape
        self._conad = np.float32(frames.conad_e_per_adu)
        self.step_e = frames.conad_e_per_adu if all(dark.unit.bitpix > 0 for dark in frames.darks) else 0.0
        self.regions: Regions = tuple(
            (slice(window.y0, window.y1), slice(window.x0, window.x1)) for window in frames.geometry.amplifiers
        )
        self._window: Window = frames.geometry.science
        self._saturation_adu = _saturation_adu(frames)
        self._reader = PixelReader([dark.unit for dark in frames.darks])
        try:
            self._reader.unpack(workers)
            self.pedestal_e = self._measure_pedestals(frames)
            bias = None if frames.master_bias is None else _read_bias(frames.master_bias, frames)
            self.static_bad = None if frames.static_map is None else _read_static_map(frames.static_map, frames)
        except BaseException:
            self._reader.close()
            raise
        self.bias_error = None if bias is None else bias.error
        self._bias = None if bias is None else bias.level
        self.bias_tells_level = self._bias is not None
        self._subtract_e, self.pedestal = self._plan_levels()

    def _plan_levels(self) -> tuple[NDArray[np.float64], str]:
        """Decide what is subtracted from each frame beside the master bias.

        A master bias that holds the pedestal itself leaves only the frames' drift to the overscan columns;
        one made from frames whose overscan columns were subtracted leaves them the whole.
        """
        has_columns = bool(np.isfinite(self.pedestal_e).all())
        if not has_columns:
            return np.zeros(len(self.names)), "nothing" if self._bias is None else "master bias"
        if self._bias is None:
            return self.pedestal_e, "overscan"
        bias_level = clipped_moments(self._bias[::4].ravel())[0]
        self.bias_tells_level = abs(bias_level) > 0.5 * abs(float(self.pedestal_e.mean()))
        log.info("the master bias %s the pedestal", "holds" if self.bias_tells_level else "does not hold")
        mean = self.pedestal_e.mean() if self.bias_tells_level else 0.0
        return self.pedestal_e - mean, "overscan, master bias"

    def _measure_pedestals(self, frames: FrameSet) -> NDArray[np.float64]:
        """Clipped mean of each frame's overscan columns, electron."""
        columns = frames.geometry.overscan_columns
        levels = np.full(len(self.names), np.nan)
        if not columns:
            return levels
        ny = frames.geometry.raw_shape[0]
        for i in range(len(levels)):
            pieces = []
            for start in range(0, ny, LEVEL_ROWS):
                raw = self._reader.read_rows(i, start, min(start + LEVEL_ROWS, ny))
                pieces += [np.asarray(raw[:, first:end], np.float32).ravel() for first, end in columns]
            levels[i] = clipped_moments(np.concatenate(pieces), 1.0)[0] * frames.conad_e_per_adu
            if not np.isfinite(levels[i]):
                raise FrameError(f"{self.names[i]}: the overscan columns hold no data: leave this frame out")
        log.info("pedestal from the overscan columns: %s electron", ", ".join(f"{level:.2f}" for level in levels))
        return levels

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one trimmed frame into ``out``, electron; see `FrameStack.read`."""
        window = self._window
        raw = self._reader.read_rows(frame, window.y0 + start, window.y0 + stop)[:, window.x0 : window.x1]
        highest = raw.max() if raw.dtype.kind in "iu" else np.fmax.reduce(raw, axis=None)
        saturated = raw >= self._saturation_adu if highest >= self._saturation_adu else None
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all numbers is no data
            out[...] = raw
            out *= self._conad
        if raw.dtype.kind == "f" or raw.dtype.itemsize > 4:
            out[~(np.abs(out) < NO_SIGNAL_E)] = np.nan
        if self._subtract_e[frame] != 0.0:
            out -= np.float32(self._subtract_e[frame])
        if self._bias is not None:
            out -= self._bias[start:stop]
        return saturated

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> PreparedFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _saturation_adu(frames: FrameSet) -> float:
    """Level of a saturated sample: the detector's, else the highest that 16 bits of the converter hold."""
    if frames.detector.saturation_adu is not None:
        return frames.detector.saturation_adu
    unit = frames.darks[0].unit
    return unit.bzero + unit.bscale * 32767 if unit.bitpix == 16 else np.inf


def _read_image(unit: FitsImage, frames: FrameSet) -> NDArray[np.generic]:
    """Read a whole calibration image and turn it to the raw orientation."""
    with PixelReader([unit]) as reader:
        return frames.geometry.from_product(reader.read_rows(0, 0, unit.shape[0]))


def _read_bias(bias: CalibrationFile, frames: FrameSet) -> _Bias:
    """Read level and error of a master bias; pixels without a value are left without one."""
    level = bias.units.get("FLUX") or next(iter(bias.units.values()))
    error = bias.units.get("ERRS")
    for unit in (level, error):
        stated = "electron" if unit is None else str(unit.header.get("BUNIT") or "electron").strip()
        if stated.lower() not in ("electron", "electrons", "e-"):
            raise FrameError(
                f"{bias.name}: BUNIT is '{escape(stated)}', expected electron: multiply the master bias by the "
                "conversion factor first"
            )
    if error is None:
        raise FrameError(
            f"{bias.name}: the master bias has no extension ERRS, expected its one-sigma error in electron: "
            "make it with a pipeline that propagates errors"
        )
    values, errors = (np.array(_read_image(unit, frames), np.float32) for unit in (level, error))
    values[~(np.isfinite(values) & np.isfinite(errors))] = np.nan  # without its error a level is none
    return _Bias(values, errors)


def _read_static_map(static: CalibrationFile, frames: FrameSet) -> NDArray[np.bool_]:
    """Read which pixels a static map calls bad: all that are not zero."""
    return np.asarray(_read_image(next(iter(static.units.values())), frames) != 0)
