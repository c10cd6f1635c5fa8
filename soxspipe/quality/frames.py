"""Figures of the single frames of a stack, for JSON and reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stacking.clip_and_stack import StackResult
from ..stacking.frame_verdicts import FrameVetting
from ..text import rounded

__all__ = ["frame_records"]


def frame_records(
    frames: Sequence[tuple[str, str]],
    stack: StackResult,
    vetting: FrameVetting | None,
    pedestals_e: NDArray[np.float64] | None = None,
) -> list[dict[str, Any]]:
    """Return the figures of every frame as dictionaries that JSON can hold.

    Parameters
    ----------
    frames : sequence of (str, str)
        Name and start, UTC, of each frame of the set.
    stack : StackResult
        The stacked frames: all of the set, or all but the one that the vetting left out.
    vetting : FrameVetting or None
        Verdicts of all frames of the set.
    pedestals_e : ndarray, shape (frames,), electron, optional
        Overscan level that was subtracted from each frame of the stack.

    Returns
    -------
    list of dict
        ``start``; ``level_e`` (mean level), ``pedestal_e``, ``scatter_e`` (clipped standard deviation of the pixels of
        the frame), ``noise_e`` (temporal noise), ``rejected`` and ``rejected_beside`` (samples that the clip rejected,
        and those beside them); then the verdict of the frame. A frame that was left out has null for the figures of the
        stack.
    """
    n_frames, model = stack.n_frames, stack.noise_model
    unknown = np.full(n_frames, math.nan)
    figures = stack.frame_figures
    columns = {
        "level_e": model.frame_level_e,
        "pedestal_e": unknown if pedestals_e is None else pedestals_e,
        "scatter_e": model.frame_scatter_e,
        "noise_e": unknown if figures is None else figures.noise * model.mean_read_noise_e,
    }
    counts = {
        name: np.bincount(samples[:, 0], minlength=n_frames).tolist()
        for name, samples in (("rejected", stack.rejected), ("rejected_beside", stack.neighbours))
    }
    verdicts = [{} for _ in frames] if vetting is None else [verdict.record() for verdict in vetting.frames]
    records, i = [], 0
    for (name, start), verdict in zip(frames, verdicts, strict=True):
        record: dict[str, Any] = {"name": name, "start": start} | dict.fromkeys([*columns, *counts])
        if not verdict.get("excluded"):
            record |= {key: rounded(float(values[i]), 7) for key, values in columns.items()}
            record |= {key: values[i] for key, values in counts.items()}
            i += 1
        records.append(record | verdict)
    return records
