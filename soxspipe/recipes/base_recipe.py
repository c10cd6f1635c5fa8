"""The steps that recipes of raw frames share: collect and verify, stack, vet, and find the bad pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..inputs.frame_kinds import MASTER_BIAS, STATIC_MAP, FrameKind
from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet, collect_frames
from ..inputs.start_time import utc_text
from ..night.attach_calibrations import level_of
from ..products.provenance import Provenance
from ..quality.frames import frame_records
from ..quality.noise import pull_histogram
from ..quality.stack import StackContext
from ..quality.table import QCValue, measured
from ..run_log import get_logger
from ..settings import ArmSettings
from ..settings_sections import NightSettings
from ..stacking import NoiseMap, StackResult, clip_and_stack, create_noise_map, measure_noise
from ..stacking.frame_verdicts import FrameVetting
from ..stacking.vet_frames import judge_conditions, vet_frames
from .recipe import Recipe

__all__ = ["BaseRecipe", "StackedFrames", "calibration_quality"]

log = get_logger(__name__)

ContextT = TypeVar("ContextT", bound=StackContext)


@dataclass(frozen=True)
class StackedFrames:
    """Raw frames of a set and their stack.

    Attributes
    ----------
    frames : FrameSet
        The frames that were stacked.
    prepared : PreparedFrames
        The same frames in electron; closed.
    stack : StackResult
        The stack, without the images that only the noise map needs.
    noise_map : NoiseMap
        All pixel codes: of the stack, of saturated samples and of the static map.
    vetting : FrameVetting or None
        Verdicts of all frames of the set; None where they were not vetted.
    details : mapping of str to object
        Figures of every frame of the set, and histograms, for ``_qc.json``.
    """

    frames: FrameSet
    prepared: PreparedFrames
    stack: StackResult
    noise_map: NoiseMap
    vetting: FrameVetting | None
    details: Mapping[str, Any]

    def context(self, kind: type[ContextT], **more: Any) -> ContextT:
        """Return what the QC values need in addition to the stack; ``more`` has the fields of the recipe."""
        return kind(
            pedestals_e=self.prepared.pedestals_e,
            step_e=self.prepared.step_e,
            times_h=self.frames.times_h,
            temperatures_k=self.frames.temperatures_k,
            vetting=self.vetting,
            orient=self.frames.geometry.to_product,
            **more,
        )


class BaseRecipe(Recipe[FrameSet]):
    """A recipe of raw frames of one kind.

    A subclass declares the kind and defines ``process``. The first of its sections has ``minimum_frames``. For the
    parameters see `~soxspipe.recipes.recipe.Recipe`.
    """

    #: The kind of its raw frames, with the calibrations that the input may contain.
    kind: ClassVar[FrameKind]

    def collect(self) -> tuple[FrameSet, Provenance]:
        """Collect and verify the raw frames."""
        frames = collect_frames(
            self.input_frames,
            self.kind,
            minimum_frames=lambda arm: getattr(self.settings.for_arm(arm), self.sections[0]).minimum_frames,
            **self.collection_options,
        )
        log.info(
            "%d frames of %s %s, %g s: %s",
            len(frames.frames), frames.instrument.name, frames.arm, frames.exptime_s,
            ", ".join(frame.name for frame in frames.frames),
        )  # fmt: skip
        return frames, Provenance.of_frames(frames)

    def stack_frames(self, frames: FrameSet, settings: ArmSettings) -> StackedFrames:
        """Stack verified frames, vet them, and find the bad pixels of the stack.

        Parameters
        ----------
        frames : FrameSet
            Verified raw frames.
        settings : ArmSettings
            Of the sections, the first one has the parameters of the clip. ``vet-frames: exclude`` leaves out the frame
            that differs from the others, if it is one of five or more.

        Returns
        -------
        StackedFrames
        """
        parameters, limits = getattr(settings, self.sections[0]), settings.create_noise_map
        starts = [(frame.name, utc_text(frame.mjd)) for frame in frames.frames]
        prepared, stack = self._clip_and_stack(frames, settings)
        vetting = _vet(frames, stack, settings)
        culprit = None if vetting is None else vetting.culprit
        enough = len(frames.frames) > parameters.minimum_frames
        if vetting is not None and culprit is not None and enough and parameters.vet_frames == "exclude":
            vetting = vetting.excluding(culprit)
            frames = replace(frames, frames=frames.frames[:culprit] + frames.frames[culprit + 1 :])
            log.info("%s is left out: the other frames are stacked", prepared.names[culprit])
            del prepared, stack
            prepared, stack = self._clip_and_stack(frames, settings)
        noise_map = create_noise_map(stack, limits, workers=self.workers)
        # free the memory of images that are no longer needed, before the codes are copied
        stack = stack.without("outlier_free_noise", "background_limited_error")
        noise_map = noise_map.with_codes(stack.codes | prepared.codes)
        details = {
            "frames": frame_records(starts, stack, vetting, prepared.pedestals_e),
            "histograms": {"pulls": pull_histogram(stack, noise_map)},
        }
        stack = stack.without("ambiguous", "saturated", "dead")
        return StackedFrames(frames, prepared, stack, noise_map, vetting, details)

    def _clip_and_stack(self, frames: FrameSet, settings: ArmSettings) -> tuple[PreparedFrames, StackResult]:
        parameters = getattr(settings, self.sections[0])
        common_mode = getattr(parameters, "common_mode", False)
        with PreparedFrames(frames, self.workers, common_mode=common_mode) as prepared:
            stack = clip_and_stack(
                prepared,
                parameters,
                noise_model=measure_noise(prepared, parameters),
                background_box=settings.create_noise_map.background_box,
                workers=self.workers,
                progress=self.progress,
            )
        return prepared, stack


def _vet(frames: FrameSet, stack: StackResult, settings: ArmSettings) -> FrameVetting | None:
    """Compare the frames of a set, in their pixels and in their headers."""
    if stack.frame_figures is None:
        return None
    names = [frame.name for frame in frames.frames]
    vetting = vet_frames(names, stack.frame_figures, stack.noise_model.offsets_e)
    widest_k, longest_d = (
        math.inf if limit is None else limit
        for _, limit in (
            settings.quality.ranges.get(name, (None, None)) for name in ("DETECTOR TEMP RANGE", "TIME SPAN")
        )
    )
    temperatures = np.array([frame.temperature_k for frame in frames.frames])
    vetting = judge_conditions(vetting, temperatures, frames.times_h, widest_k, longest_d)
    for verdict in vetting.frames:
        log.info("%s", verdict.line)
    return vetting


def calibration_quality(frames: FrameSet, settings: NightSettings) -> list[QCValue]:
    """Return age and quality level of the calibrations of a set.

    Parameters
    ----------
    frames : FrameSet
        Verified raw frames with their calibrations.
    settings : NightSettings
        Ages of the quality levels.

    Returns
    -------
    list of QCValue
        Of each calibration whose header has its time.
    """
    windows = {MASTER_BIAS: ("BIAS", settings.bias_windows_days), STATIC_MAP: ("MAP", settings.map_windows_days)}
    values = []
    for kind, file in frames.calibrations.items():
        name, of_kind = windows[kind]
        mjd = file.header.get("MJD-OBS")
        if isinstance(mjd, (int, float)):
            age_days = abs(mjd - frames.frames[0].mjd)
            values += [measured(f"{name} AGE", age_days), measured(f"{name} QUALITY", level_of(age_days, of_kind))]
    return values
