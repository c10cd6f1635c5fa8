"""Masters in memory, as the comparison of masters reads them from products."""

from __future__ import annotations

import numpy as np

from soxspipe.comparison import MasterImages
from soxspipe.quality.noise import noise_values
from soxspipe.stacking import NoiseMap, StackResult
from soxspipe.stacking.frame_stack import ArrayStack

__all__ = ["master_images"]


def master_images(frames: ArrayStack, stack: StackResult, noise_map: NoiseMap, exposure_s: float) -> MasterImages:
    """Return a stack as the images of its master, with the QC values that a product has."""
    qc = {value.name: value.value for value in noise_values(stack, noise_map, 0.0)}
    return MasterImages(
        values_e=np.asarray(stack.master.data),
        errors_e=np.asarray(stack.master.uncertainty.array),
        noise_e=stack.noise,
        count=stack.count,
        codes=noise_map.codes,
        n_frames=stack.n_frames,
        exposure_s=exposure_s,
        regions=frames.regions,
        read_noise_e=tuple(stack.noise_model.read_noise_e.tolist()),
        correlation=float(qc["RON CORR"] or 1.0),
        row_correlation=float(qc["RON CORR ROW"] or 1.0),
        shot_scale=frames.shot_scale,
        column_parity=frames.column_parity,
    )
