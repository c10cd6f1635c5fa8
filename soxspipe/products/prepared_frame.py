"""One raw frame in electrons, trimmed and turned as the products are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..exceptions import SetOfFilesError
from ..inputs.collect import InputFiles
from ..inputs.frame_kinds import MASTER_BIAS, MASTER_DARK, PREPARED, STATIC_MAP, FrameKind
from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet, collect_frames
from ..parallel import default_workers, row_bands
from ..pixel_codes import PixelCode
from ..settings import Settings
from ..stacking.dark_subtraction import FrameImages, signal_charge
from .headers import plain_header, record_calibrations, set_card
from .pixel_cards import set_geometry, set_level

if TYPE_CHECKING:
    from .frames import Frame

__all__ = ["ANY_FRAME", "PreparedImages", "collect_frame", "prepare_frame"]

#: Rows that are read at once.
BAND_ROWS = 256
#: A raw frame of any type with an exposure, and its calibrations.
ANY_FRAME = FrameKind(
    tag="FRAME", dpr_type="", noun="frame", exposure="positive", calibrations=(MASTER_DARK, MASTER_BIAS, STATIC_MAP)
)


class PreparedImages:
    """A raw frame in electrons, in product orientation.

    Attributes
    ----------
    images : FrameImages
        Samples and codes: saturated, static, no data.
    pedestal : str
        Subtracted levels; see `PreparedFrames`.
    warnings : tuple of str
        Warnings about the samples.
    levels_e : ndarray of float32, shape (ny, nx), electron
        Level of the pedestal that the samples hold: the median of each amplifier, 0 where it is subtracted.
    """

    def __init__(self, frames: FrameSet, workers: int, *, common_mode: bool = False) -> None:
        if frames.is_prepared:
            self._read_prepared(frames)
        else:
            self._prepare(frames, workers, common_mode)

    def _read_prepared(self, frames: FrameSet) -> None:
        from .frames import read

        frame, bias = read(frames.frames[0].path), frames.calibrations.get(MASTER_BIAS)
        bias_error = None if bias is None else read(bias.path).uncertainty.array
        self.images = FrameImages(frame.data, frame.flags, frames.ndit, bias_error)
        self.levels_e = np.zeros_like(frame.data)
        self.warnings: tuple[str, ...] = ()
        self.pedestal = str(frame.header.get("ESO QC PEDESTAL"))

    def _prepare(self, frames: FrameSet, workers: int, common_mode: bool) -> None:
        with PreparedFrames(frames, workers, common_mode=common_mode) as prepared:
            data = np.empty(prepared.shape, np.float32)
            codes = np.zeros(prepared.shape, np.int32)
            for start, stop in row_bands([(0, prepared.shape[0])], BAND_ROWS):
                saturated = prepared.read(0, start, stop, data[start:stop])
                if saturated is not None:
                    codes[start:stop][saturated] |= PixelCode.SATURATED.value
        for code, pixels in prepared.codes.items():
            codes[pixels] |= code.value
        codes[~np.isfinite(data)] |= PixelCode.NO_DATA.value
        levels_e = np.zeros_like(data)
        if prepared.pedestal == "nothing":
            for rows, columns in prepared.regions:
                levels_e[rows, columns] = np.nanmedian(data[rows, columns])
        turn = frames.geometry.to_product
        bias_error = None if prepared.common_error is None else turn(prepared.common_error)
        self.images = FrameImages(turn(data), turn(codes), frames.ndit, bias_error)
        self.levels_e = turn(levels_e)
        self.pedestal, self.warnings = prepared.pedestal, prepared.warnings
        if prepared.bias_has_pedestal and prepared.pedestal.startswith("overscan"):
            self.warnings += (
                "the master bias holds the pedestal: the level of this frame's overscan since then is not subtracted",
            )


def collect_frame(input_files: InputFiles, settings: Settings, workers: int = 1) -> FrameSet:
    """Collect one raw frame of any type with its calibrations.

    Parameters
    ----------
    input_files : path-like or iterable of path-like
        The frame, and products that go with it.
    settings : Settings
        Instrument table, and whether wrong check sums are refused.
    workers : int
        Threads that verify these sums.

    Returns
    -------
    FrameSet

    Raises
    ------
    InputError
        See `SetCollector.collect`; also where there are several frames.
    """
    frames = collect_frames(
        input_files,
        ANY_FRAME,
        minimum_frames=1,
        extra_table=settings.instruments.table,
        strict_checksums=settings.input.verify_checksums == "strict",
        workers=workers,
    )
    if len(frames.frames) > 1:
        names = ", ".join(frame.label for frame in frames.frames[:3])
        raise SetOfFilesError(f"{names}: {len(frames.frames)} frames, expected 1: give one frame at a time")
    return frames


def prepare_frame(
    frame: str | os.PathLike[str],
    *,
    bias: str | os.PathLike[str] | None = None,
    static_map: str | os.PathLike[str] | None = None,
    settings: str | os.PathLike[str] | dict[str, object] | Settings | None = None,
    workers: int | None = None,
) -> Frame:
    """Return a raw frame in electrons, trimmed and turned as the products are.

    Parameters
    ----------
    frame : str or path-like
        A raw frame of any type with an exposure.
    bias : str or path-like, optional
        A master bias to subtract.
    static_map : str or path-like, optional
        A static bad-pixel map.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents: the instrument table, and whether wrong check sums are refused.
    workers : int, optional
        Threads that unpack and verify files; see `~soxspipe.recipes.recipe.Recipe`.

    Returns
    -------
    Frame
        A CCDData in electron. Its error holds read noise, shot noise of the signal, and the error of the master bias.
        Its flags are the codes saturated, static and no data; its mask any of them. Its header is the raw one, with
        TRIMSEC, ROT90, LTMi_j and LTVi, and what was subtracted (``ESO QC PEDESTAL``).

    Raises
    ------
    InputError
        When the frame has a fault, or the bias is of another read-out.

    Notes
    -----
    Overscan level and conversion factor are those of `~soxspipe.recipes.soxs_mdark`: of the frame's own overscan
    columns where the detector has some, and of the header or the instrument table. Where no pedestal is subtracted, the
    signal counts from the median of each amplifier.
    """
    checked, workers = Settings.load(settings), default_workers() if workers is None else workers
    given = [path for path in (frame, bias, static_map) if path is not None]
    frames = collect_frame(given, checked, workers)
    return prepared_frame(frames, PreparedImages(frames, workers))


def prepared_frame(frames: FrameSet, prepared: PreparedImages) -> Frame:
    """Return a prepared frame with errors and header."""
    from .frames import frame_of

    images = prepared.images
    read_noise_e = frames.stated_read_noise[0] / np.sqrt(frames.ndit)
    error = frame_error(images, prepared.levels_e, read_noise_e)
    header = plain_header(frames.frames[0].header)
    set_card(header, "BUNIT", "electron", "unit of the pixels")
    set_card(header, "EXPTIME", frames.exptime_s, "[s] exposure time")
    set_card(header, "ESO PRO CATG", f"{PREPARED.category}_{frames.arm}", "category of this product")
    level = "signal" if prepared.pedestal != "nothing" else "pedestal + signal"
    set_level(header, frames, prepared.pedestal, level)
    set_geometry(header, frames.geometry)
    record_calibrations(header, frames.calibrations.values())
    return frame_of(images.data, error, images.codes, header)


def frame_error(images: FrameImages, levels_e: NDArray[np.float32], read_noise_e: float) -> NDArray[np.float32]:
    """Return the error of each pixel: read noise, shot noise of the signal above a level, error of the bias."""
    noise = np.full(images.data.shape, read_noise_e, np.float32)
    charge = np.maximum(signal_charge(images.data - levels_e, noise), 0) / np.float32(images.ndit)
    bias_variance = 0 if images.bias_error is None else np.square(images.bias_error)
    error: NDArray[np.float32] = np.sqrt(noise**2 + charge + bias_variance).astype(np.float32)
    return error
